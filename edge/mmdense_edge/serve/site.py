"""The page's files as `mmdense serve` sends them: read once, at the start, into a table.

A request is looked up in the table and never becomes a path, so no request reaches another file.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

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
        content_type: its MIME type.
        plain: its bytes; None if only the compressed ones are kept.
        packed: the same with gzip; None where that gains nothing.
        etag: a name for the contents, without quotes.
        lasting: True if the address changes with the contents.
    """

    content_type: str
    plain: bytes | None = field(repr=False)
    packed: bytes | None = field(repr=False)
    etag: str
    lasting: bool

    def body(self, accepts_gzip: bool) -> tuple[bytes, bool]:
        """Returns the bytes to send, and whether they are compressed with gzip."""
        if self.packed is not None and (accepts_gzip or self.plain is None):
            return (self.packed, True) if accepts_gzip else (gzip.decompress(self.packed), False)
        return self.plain or b"", False


def load(folder: Path = FOLDER, models: Path = bundled.FOLDER) -> dict[str, Page]:
    """Reads the page's files.

    Args:
        folder: the built page.
        models: the folder with the model files, which appear below /models/.

    Returns:
        For each address, such as "/assets/index.js", the file. "/" is "/index.html". What ends in
        ".gz" has the address without that. Links, hidden files and unknown suffixes are left out.

    Raises:
        MMDenseError: there is no page in the folder.
    """
    pages = {}
    for path in _files(folder):
        packed = path.suffix == ".gz"
        name = path.with_suffix("") if packed else path
        address = "/" + name.relative_to(folder).as_posix()
        if name.suffix in _TYPES:
            pages[address] = _page(address, path.read_bytes(), name.suffix, packed)
    for path in _files(models):
        if path.suffix == ".tflite" and path.parent == models:
            address = f"/models/{path.name}"
            pages[address] = _page(address, path.read_bytes(), path.suffix, packed=False)
    if "/index.html" not in pages:
        raise MMDenseError(f"there is no page in {folder}: install keras_mmdense again")
    pages["/"] = pages["/index.html"]
    return pages


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def _page(address: str, data: bytes, suffix: str, packed: bool) -> Page:
    etag = hashlib.sha256(data).hexdigest()[:20]
    lasting = address.startswith(_LASTING)
    if packed:
        return Page(_TYPES[suffix], None, data, etag, lasting)
    small = gzip.compress(data, mtime=0) if suffix in _COMPRESSED_TYPES else None
    return Page(_TYPES[suffix], data, small, etag, lasting)
