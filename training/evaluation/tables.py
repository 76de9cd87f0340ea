"""Markdown tables and the texts of their cells."""

from __future__ import annotations

from collections.abc import Sequence

from mmdense_edge.errors import printable

from training.evaluation.statistics import Interval

NOTHING = "-"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> list[str]:
    r"""Return the lines of a Markdown table.

    Args:
        header: The columns' names.
        rows: The cells.
        texts: Columns of text, to the left; numbers, to the right, follow.

    Example:
        >>> print(*table(["row", "bass"], [["a|b", "1.00"]]), sep="\n")
        | row | bass |
        |---|--:|
        | a|b | 1.00 |
    """
    lines = [_line(header), "|" + "---|" * texts + "--:|" * (len(header) - texts)]
    return lines + [_line(row) for row in rows]


def number(value: float | None, interval: Interval | None = None, sign: bool = False) -> str:
    """Return a value in dB with its interval; a dash where there is none.

    Example:
        >>> number(1.234, (1.0, 1.5)), number(0.5, sign=True), number(None)
        ('1.23 (1.00 to 1.50)', '+0.50', '-')
    """
    if value is None:
        return NOTHING
    text = _signed(value, sign)
    if interval is None:
        return text
    return f"{text} ({_signed(interval[0], sign)} to {_signed(interval[1], sign)})"


def _signed(value: float, sign: bool) -> str:
    rounded = round(value, 2) + 0.0  # no -0.00
    return f"{rounded:+.2f}" if sign else f"{rounded:.2f}"


def text(value: str) -> str:
    r"""Return a name as it may stand in Markdown, on one line.

    Example:
        >>> text("a_b*[c]")
        'a\\_b\\*\\[c\\]'
    """
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in printable(value))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
