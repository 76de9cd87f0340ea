"""Where a song's stems go: the template of --filename."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

from mmdense_edge.errors import UsageError

TEMPLATE = "{folder}/{track}/{stem}.{ext}"
FIELDS = ("folder", "track", "trackext", "stem", "ext", "model")

_SEPARATORS = re.compile(r"[/\\]")
_UNFIT = re.compile(r'[/\\:*?"<>|]')


def check(template: str) -> None:
    """Checks a template: fields in braces, folders parted by "/", and at the end ".{ext}".

    Args:
        template: fields are folder (where the song lay below a folder that was searched), track
            (the song's name without suffix), trackext (its suffix), stem, ext (the format's
            suffix) and model.

    Raises:
        UsageError: an unknown field, a field with a format, no ".{ext}" at the end, a path that
            leads elsewhere.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"--filename {template!r}: {error}") from error
    for _, name, form, conversion in parts:
        if name is not None and (name not in FIELDS or form or conversion):
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise UsageError(f"--filename may hold {known}, got {template!r}")
    if not template.endswith(".{ext}"):
        raise UsageError(f"--filename must end in .{{ext}}, got {template!r}")
    literal = "".join(text if name is None else text + "x" for text, name, *_ in parts)
    folders = _SEPARATORS.split(literal)
    if template.startswith(("/", "\\")) or ".." in folders or ":" in literal or "\0" in literal:
        raise UsageError(f"--filename must stay below the output folder, got {template!r}")
    if "\\" in literal:
        raise UsageError(f"--filename parts folders with /, on Windows too, got {template!r}")


def plain(name: str) -> str:
    r"""Returns a model's name as a file name has it: what parts folders becomes "_".

    The name comes with the model file, and shall lead nowhere, on Windows either.

    Example:
        >>> plain("..\\tiny/int8: 1")
        '.._tiny_int8_ 1'
    """
    return _UNFIT.sub("_", name)


def target(template: str, out: Path, **fields: str) -> Path:
    """Returns the path of one stem.

    Args:
        template: checked by `check`.
        out: the output folder.
        fields: a value for each of `FIELDS`; only folder may hold "/".

    Raises:
        UsageError: a value, such as a song called "..", gives no name.
    """
    # An empty folder leaves no part behind.
    parts = [part for part in template.format(**fields).split("/") if part]
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise UsageError(
            f"{'/'.join(parts)} names no file below the output folder: rename the song, or "
            "give another --filename"
        )
    return out.joinpath(*parts)
