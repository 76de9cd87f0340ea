"""Options of `mmdense serve`; importing this loads nothing else."""

from __future__ import annotations

import argparse

_DESCRIPTION = """
Serves a page that separates songs in the browser, on the device that opens it. Songs stay there:
nothing is sent back. Reachable from this machine alone unless --host says otherwise. To other
machines browsers give threads, microphone and offline use over https only: give a certificate.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], epilog: str) -> None:
    """Adds the command to the command line's parser."""
    serve = commands.add_parser(
        "serve",
        help="serve the page that separates in the browser",
        description=_DESCRIPTION,
        epilog=f"{epilog} Ctrl-C ends the server, with 0.",
    )
    add = serve.add_argument
    add(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="to bind to; 0.0.0.0 lets the whole network in (default: 127.0.0.1)",
    )
    add("--port", type=int, default=8765, metavar="N", help="0 takes a free one (default: 8765)")
    add("--open", action="store_true", help="open the page in this machine's browser")
    add("--certificate", metavar="FILE", help="serve https with this certificate (PEM)")
    add("--key", metavar="FILE", help="the certificate's key (PEM; default: in its file)")
