"""The command `mmdense serve`."""

import argparse
import ipaddress
import sys
import webbrowser
from pathlib import Path
from typing import Any

from mmdense_edge.errors import refuse_if

_DESCRIPTION = """
Serve a page that separates songs in the browser, on the device that opens it. Songs stay there:
nothing is sent back. By default the page can be reached from this machine only; see --host. On
other machines, browsers allow threads, microphone and offline use over https only: give a
certificate.
"""


def add_parser(commands: Any, epilog: str) -> None:
    """Add the command to the command line's parser."""
    serve = commands.add_parser(
        "serve",
        help="serve a page that separates songs in the browser",
        description=_DESCRIPTION,
        epilog=f"{epilog} Ctrl-C ends the server with code 0.",
    )
    serve.set_defaults(run=run)
    add = serve.add_argument
    add(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to bind to; 0.0.0.0 allows the whole network (default: 127.0.0.1)",
    )
    add(
        "--port",
        type=int,
        default=8765,
        metavar="N",
        help="port; 0 picks a free one (default: 8765)",
    )
    add("--open", action="store_true", help="open the page in this machine's browser")
    add("--certificate", metavar="FILE", help="serve https with this certificate (PEM)")
    add("--key", metavar="FILE", help="the certificate's key (PEM; default: in its file)")
    add(
        "--export",
        metavar="DIR",
        help="serve nothing: write the page's files into a new folder, for any web server",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C and return the exit code; see `mmdense serve --help`."""
    from mmdense_edge.serve.server import Server, export, load, tls_context

    port = arguments.port
    refuse_if(not 0 <= port <= 65535, f"--port must be from 0 to 65535; received {port}")
    refuse_if(arguments.key and not arguments.certificate, "--key needs --certificate")
    if arguments.export is not None:
        export(load(), Path(arguments.export))
        print(f"mmdense: the page is in {arguments.export}, for any web server")
        return 0
    key = Path(arguments.key) if arguments.key else None
    tls = tls_context(Path(arguments.certificate), key) if arguments.certificate else None
    with Server(arguments.host, port, load(), tls) as server:
        bound = ipaddress.ip_address(str(server.server_address[0]))
        url = server.url(own_address() if bound.is_unspecified else None)
        print(f"mmdense: the page is at {url} (Ctrl-C ends it)", flush=True)
        if tls is None and not bound.is_loopback:
            print(
                "mmdense: over plain http, browsers on other machines allow no threads, no "
                "microphone and no offline use. Add --certificate.",
                file=sys.stderr,
            )
        if arguments.open:
            webbrowser.open(url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("mmdense: stopped", file=sys.stderr)
    return 0


def own_address() -> str:
    """Return this machine's address on the network, or the loopback address if unknown."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # No packet is sent: this only makes the system choose a route.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
