"""The server behind `mmdense serve`: a few fixed files, with the headers that threads need."""

from __future__ import annotations

import errno
import os
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
    """Answers GET and HEAD from the server's table of files."""

    protocol_version = "HTTP/1.1"
    server_version = "mmdense"
    sys_version = ""
    timeout = _TIMEOUT_SECONDS
    server: Server

    def do_GET(self) -> None:
        """Sends a file."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Sends a file's headers."""
        self._answer(with_body=False)

    def _refuse(self) -> None:
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Sends an error as one line of text and ends the connection."""
        body = f"{int(code)} {HTTPStatus(code).phrase}\n".encode()
        self.send_response(code)
        if code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def end_headers(self) -> None:
        """Adds the headers that every answer has."""
        if self.request_version != "HTTP/0.9":
            for name, value in HEADERS.items():
                self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing: the terminal is for messages that somebody has to act on."""

    def _answer(self, with_body: bool) -> None:
        page = self.server.pages.get(unquote(self.path.partition("?")[0]))
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body, packed = page.body(_accepts_gzip(self.headers.get("Accept-Encoding", "")))
        etag = f'"{page.etag}{"-gzip" if packed else ""}"'
        known = [tag.strip() for tag in self.headers.get("If-None-Match", "").split(",")]
        fresh = etag in known
        self.send_response(HTTPStatus.NOT_MODIFIED if fresh else HTTPStatus.OK)
        self._describe(page, etag)
        if not fresh:
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(body)))
            if packed:
                self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if with_body and not fresh:
            self.wfile.write(body)

    def _describe(self, page: Page, etag: str) -> None:
        lasting = f"public, max-age={_YEAR_SECONDS}, immutable"
        self.send_header("Cache-Control", lasting if page.lasting else "no-cache")
        self.send_header("ETag", etag)
        if page.packed is not None:
            self.send_header("Vary", "Accept-Encoding")


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serves the page, a thread for each connection.

    Args:
        host: the address to bind to.
        port: 0 to 65535; 0 takes a free one.
        pages: the files, from `web_site.load`.
        tls: serve https with this context; default plain http.

    Raises:
        MMDenseError: the port is taken, not allowed, or the address is not of this machine.
    """

    daemon_threads = True
    # On Windows the option would let two servers share the port.
    allow_reuse_address = os.name == "posix"

    def __init__(
        self, host: str, port: int, pages: Mapping[str, Page], tls: ssl.SSLContext | None = None
    ) -> None:
        """Binds and listens."""
        self.pages = pages
        self.host, self._scheme = host, "https" if tls else "http"
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            raise MMDenseError(_why(host, port, error)) from error
        if tls is not None:
            # The handshake then waits in the connection's own thread.
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def url(self, host: str | None = None) -> str:
        """Returns the page's address.

        Args:
            host: the name or address to put into it; default the one that was bound to.
        """
        host = self.host if host is None else host
        shown = f"[{host}]" if ":" in host else host
        return f"{self._scheme}://{shown}:{self.server_address[1]}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of clients that hang up."""


def tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Returns the context for https.

    Args:
        certificate: a PEM file with the certificate (chain).
        key: a PEM file with its key; default in the certificate's file.

    Raises:
        UsageError: the files cannot be read or do not belong together.
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


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken: give another one with --port, or 0 for a free one"
    if error.errno == errno.EACCES:
        return f"port {port} is not allowed to this user: give one from 1024 on with --port"
    told = f"cannot serve on {printable(host)}, port {port} ({error.strerror or error})"
    return f"{told}: give an address of this machine"


def _accepts_gzip(accepted: str) -> bool:
    """Tells whether an Accept-Encoding header takes gzip; a rule for gzip goes before one for *."""
    qualities = {}
    for part in accepted.lower().split(","):
        coding, _, parameters = part.partition(";")
        name, _, value = parameters.strip().partition("=")
        try:
            qualities[coding.strip()] = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            qualities[coding.strip()] = 0.0
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0
