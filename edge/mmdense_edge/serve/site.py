"""The page's files as `mmdense serve` sends them: read once, at the start, into a table.

A request is looked up in the table and never becomes a path, so no request reaches another file.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mmdense_edge.errors import MMDenseError
from mmdense_edge.model import bundled

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


@dataclass(frozen=True)
class Page:
    """One file of the page.

    Args:
        content_type: Its MIME type.
        plain: Its bytes; None if only the compressed ones are kept.
        packed: The same with gzip; None if that gains nothing.
        etag: A name for the contents, without quotes.
        lasting: Whether the address changes with the contents.
    """

    content_type: str
    plain: bytes | None = field(repr=False)
    packed: bytes | None = field(repr=False)
    etag: str
    lasting: bool

    def body(self, accepts_gzip: bool) -> tuple[bytes, bool]:
        """Return the bytes to send, and whether they are compressed with gzip."""
        if self.packed is not None and (accepts_gzip or self.plain is None):
            return (self.packed, True) if accepts_gzip else (gzip.decompress(self.packed), False)
        return self.plain or b"", False


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
    found = [("/" + path.relative_to(folder).as_posix(), path) for path in folder.rglob("*")]
    found += [(f"/models/{path.name}", path) for path in models.glob("*.tflite")]
    pages = {}
    for address, path in found:
        plain = address.removesuffix(".gz")
        suffix = PurePosixPath(plain).suffix
        hidden = "/." in address or path.is_symlink() or not path.is_file()
        if hidden or suffix not in _TYPES:
            continue
        data = path.read_bytes()
        contents: tuple[bytes | None, bytes | None] = (data, None)
        if plain != address:
            contents = (None, data)
        elif suffix in _COMPRESSED_TYPES:
            contents = (data, gzip.compress(data, mtime=0))
        etag = hashlib.sha256(data).hexdigest()[:20]
        pages[plain] = Page(_TYPES[suffix], *contents, etag, plain.startswith(_LASTING))
    if "/index.html" not in pages:
        raise MMDenseError(f"there is no page in {folder}: install keras_mmdense again")
    pages["/"] = pages["/index.html"]
    return pages
