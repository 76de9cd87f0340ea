"""The server behind `mmdense serve`: a table of files, with the headers that threads need.

The files are read once, at the start. A request is looked up in the table and never becomes a path,
so no request reaches another file.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
import socket
import socketserver
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from mmdense_edge.errors import MMDenseError, UsageError
from mmdense_edge.model import bundled
from mmdense_edge.separate.staging import PREFIX, missing_folders, remove_empty

FOLDER = Path(__file__).with_name("static")

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".tflite": "application/octet-stream",
}
_COMPRESSED_TYPES = {".html", ".js", ".css", ".json", ".webmanifest", ".svg", ".txt"}

# Folders whose files have their version in the address: a browser need not ask again.
_LASTING = ("/assets/", "/litert-", "/models/")


# An Accept-Encoding that names gzip, with a quality above 0 if it has one. Sending the plain file
# to those who only say "*" is always right.
_GZIP = re.compile(r"(?:^|[\s,])gzip\s*(?:,|$|;\s*q=(?:1|0\.\d*[1-9]))", re.I)

# Browsers lend threads (shared memory) only to pages that are isolated from other origins. Where a
# host does not send these headers, the page's service worker adds them: the build reads the file.
HEADERS: dict[str, str] = json.loads(FOLDER.with_name("headers.json").read_text("utf-8"))


@dataclass(frozen=True)
class Page:
    """One file of the page.

    Args:
        content_type: Its MIME type.
        content: Its bytes.
        packed: Whether they are compressed with gzip.
        etag: A name for the contents, without quotes.
        lasting: Whether the address changes with the contents.
    """

    content_type: str
    content: bytes = field(repr=False)
    packed: bool
    etag: str
    lasting: bool

    @property
    def plain(self) -> bytes:
        """The bytes without compression."""
        return gzip.decompress(self.content) if self.packed else self.content


def load(folder: Path = FOLDER, models: Path = bundled.FOLDER) -> dict[str, Page]:
    """Read the page's files.

    Args:
        folder: The built page.
        models: The folder with the model files, which appear below /models/.

    Returns:
        For each address, such as "/assets/index.js", the file. "/" is "/index.html". What ends in
        ".gz" has the address without that. Links, hidden files and unknown suffixes are left out.

    Raises:
        MMDenseError: There is no page in the folder.
    """
    found = {
        **{"/" + path.relative_to(folder).as_posix(): path for path in folder.rglob("*")},
        **{f"/models/{path.name}": path for path in models.glob("*.tflite")},
    }
    pages = {}
    for address, path in found.items():
        plain = address.removesuffix(".gz")
        suffix = PurePosixPath(plain).suffix
        hidden = "/." in address or path.is_symlink() or not path.is_file()
        if hidden or suffix not in _TYPES:
            continue
        data = path.read_bytes()
        packed = plain != address or suffix in _COMPRESSED_TYPES
        if packed and plain == address:
            data = gzip.compress(data, mtime=0)
        etag = hashlib.sha256(data).hexdigest()[:20]
        pages[plain] = Page(_TYPES[suffix], data, packed, etag, plain.startswith(_LASTING))
    if "/index.html" not in pages:
        raise MMDenseError(f"there is no page in {folder}: install keras_mmdense again")
    pages["/"] = pages["/index.html"]
    return pages


def export(pages: Mapping[str, Page], folder: Path) -> None:
    """Write the page's files, without compression, for another web server: all of them, or none.

    Args:
        pages: The files, from `load`.
        folder: Where they go; it may exist if it is empty.

    Raises:
        MMDenseError: Something is there already, or the folder cannot be written.
    """
    try:
        empty = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
        if os.path.lexists(folder) and not empty:
            raise MMDenseError(f"{folder} exists and is not an empty folder. Choose another one.")
        with ExitStack() as undo:
            undo.callback(remove_empty, missing_folders(folder.parent))
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder.parent) as aside:
                for address, page in pages.items():
                    path = Path(aside, "page", address[1:] or "index.html")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(page.plain)
                if empty and os.name == "nt":  # rename replaces an empty folder elsewhere
                    folder.rmdir()
                Path(aside, "page").rename(folder)
            undo.pop_all()
    except OSError as error:
        raise MMDenseError(
            f"cannot write the page to {folder} ({error.strerror}). Choose another folder."
        ) from error


class Handler(BaseHTTPRequestHandler):
    """Answer GET and HEAD from the server's table of files."""

    protocol_version = "HTTP/1.1"
    server_version = "mmdense"
    sys_version = ""
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"
    timeout = 30  # seconds
    server: Server

    def do_GET(self) -> None:
        """Send a file, or its headers."""
        page = self.server.pages.get(unquote(self.path.partition("?")[0]))
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        packed = page.packed and bool(_GZIP.search(self.headers.get("Accept-Encoding", "")))
        etag = f'"{page.etag}{"-gzip" if packed else ""}"'
        fresh = etag in map(str.strip, self.headers.get("If-None-Match", "").split(","))
        self.send_response(HTTPStatus.NOT_MODIFIED if fresh else HTTPStatus.OK)
        # A year.
        lasting = "public, max-age=31536000, immutable"
        self.send_header("Cache-Control", lasting if page.lasting else "no-cache")
        self.send_header("ETag", etag)
        if page.packed:
            self.send_header("Vary", "Accept-Encoding")
        body = b""
        if not fresh:
            body = page.content if packed else page.plain
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(body)))
            if packed:
                self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if self.command == "GET":
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
        pages: The files, from `load`.
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
        self.pages = pages
        self.host, self._scheme = host, "https" if tls else "http"
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            texts = {
                errno.EADDRINUSE: f"port {port} on {host} is in use. Choose another one with "
                "--port, or 0 for a free one",
                errno.EACCES: f"port {port} is not allowed for this user. Use --port with 1024 or "
                "above",
            }
            other = f"cannot serve on {host}, port {port} ({error.strerror or error}). "
            text = texts.get(error.errno or 0, f"{other}Use an address of this machine")
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
