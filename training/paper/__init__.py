"""The paper's baseline networks, its table 3 and its figure 5."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Return a table of Markdown.

    Example:
        >>> print(table(["a", "b"], [[1, "x|y"]]))
        | a | b |
        |---|---|
        | 1 | x\|y |
    """
    text = ["| " + " | ".join(str(c).replace("|", "\\|") for c in cells) + " |"
            for cells in (head, *rows)]  # fmt: skip
    return "\n".join([text[0], "|" + "---|" * len(head), *text[1:]])
