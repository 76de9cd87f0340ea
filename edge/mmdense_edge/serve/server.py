"""The server behind `mmdense serve`: a few fixed files, with the headers that threads need."""

from __future__ import annotations

import errno
import os
import re
import socket
import socketserver
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

from mmdense_edge.errors import MMDenseError, UsageError, printable
from mmdense_edge.serve.site import Page

_TIMEOUT_SECONDS = 30
_YEAR_SECONDS = 31536000
# An Accept-Encoding that names gzip, with a quality above 0 if it has one. Sending the plain file
# to those who only say "*" is always right.
_GZIP = re.compile(r"(?:^|[\s,])gzip\s*(?:,|$|;\s*q=(?:1|0\.\d*[1-9]))")

HEADERS = {
    # Browsers lend threads (shared memory) only to pages that are isolated from other origins.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "
    "worker-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; media-src blob:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Handler(BaseHTTPRequestHandler):
    """Answer GET and HEAD from the server's table of files."""

    protocol_version = "HTTP/1.1"
    server_version = "mmdense"
    sys_version = ""
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"
    timeout = _TIMEOUT_SECONDS
    server: Server

    def do_GET(self) -> None:
        """Send a file, or its headers."""
        page = self.server.pages.get(unquote(self.path.partition("?")[0]))
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        accepted = self.headers.get("Accept-Encoding", "").lower()
        body, packed = page.body(accepts_gzip=_GZIP.search(accepted) is not None)
        etag = f'"{page.etag}{"-gzip" if packed else ""}"'
        known = [tag.strip() for tag in self.headers.get("If-None-Match", "").split(",")]
        fresh = etag in known
        self.send_response(HTTPStatus.NOT_MODIFIED if fresh else HTTPStatus.OK)
        lasting = f"public, max-age={_YEAR_SECONDS}, immutable"
        self.send_header("Cache-Control", lasting if page.lasting else "no-cache")
        self.send_header("ETag", etag)
        if page.packed is not None:
            self.send_header("Vary", "Accept-Encoding")
        if not fresh:
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(body)))
            if packed:
                self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if self.command == "GET" and not fresh:
            self.wfile.write(body)

    do_HEAD = do_GET

    def end_headers(self) -> None:
        """Add the headers that every answer has."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the terminal is for messages that somebody has to act on."""


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serve the page, a thread for each connection.

    Args:
        host: The address to bind to.
        port: 0 to 65535; 0 takes a free one.
        pages: The files, from `site.load`.
        tls: Serve https with this context; default plain http.

    Raises:
        MMDenseError: The port is taken, not allowed, or the address is not of this machine.
    """

    daemon_threads = True
    # On Windows the option would let two servers share the port.
    allow_reuse_address = os.name == "posix"

    def __init__(
        self, host: str, port: int, pages: Mapping[str, Page], tls: ssl.SSLContext | None = None
    ) -> None:
        """Bind and listen."""
        self.pages = pages
        self.host, self._scheme = host, "https" if tls else "http"
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            text = f"cannot serve on {printable(host)}, port {port} ({error.strerror or error}). "
            text += "Use an address of this machine"
            if error.errno == errno.EADDRINUSE:
                text = f"port {port} on {host} is in use. Choose another one with --port, or 0 for "
                text += "a free one"
            elif error.errno == errno.EACCES:
                text = f"port {port} is not allowed for this user. Use --port with 1024 or above"
            raise MMDenseError(text) from error
        if tls is not None:
            # The handshake then waits in the connection's own thread.
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def url(self, host: str | None = None) -> str:
        """Return the page's address.

        Args:
            host: The name or address to put into it; default the one that was bound to.
        """
        host = self.host if host is None else host
        shown = f"[{host}]" if ":" in host else host
        return f"{self._scheme}://{shown}:{self.server_address[1]}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up."""


def tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Return the context for https.

    Args:
        certificate: A PEM file with the certificate (chain).
        key: A PEM file with its key; default in the certificate's file.

    Raises:
        UsageError: The files cannot be read or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password given, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        names = f"{certificate}" if key is None else f"{certificate} and {key}"
        raise UsageError(
            f"cannot use the certificate in {names} ({error}): give PEM files that belong "
            "together, the key without a password"
        ) from error
    return context
