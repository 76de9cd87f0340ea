"""Griffe extension: the docstrings' sections as griffe names them.

Griffe knows the section "Examples"; the singular, which these docstrings have, would be a note
whose `>>>` lines are quotations.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)


class Sections(griffe.Extension):
    """Renames the sections when an object has been read."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Renames the sections of one docstring."""
        if not obj.is_alias and obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
