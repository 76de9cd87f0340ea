"""What is published of the paper's tables, and how sure it is.

Every figure carries its grade. What has grade M is from memory: it is never shown without that.
"""

from __future__ import annotations

from dataclasses import dataclass

GRADES = {
    "A": "the authors' own text",
    "C": "computed anew from the raw files",
    "D": "derived from other published figures",
    "I": "independent public re-implementations agree",
    "M": "from memory of the paper, not checked against it",
    "Q": "quoted from the authors by others",
}


@dataclass(frozen=True)
class Figure:
    """A published size.

    Args:
        value: Millions of parameters.
        grade: A key of `GRADES`.
        source: Where it is from.
    """

    value: float
    grade: str
    source: str

    def __str__(self) -> str:
        """Return the number with its grade."""
        return f"{self.value:g} M [{self.grade}]"


@dataclass(frozen=True)
class Column:
    """A column of Table 1, best reading (grade I).

    Args:
        first: First convolution.
        dense: For each dense block what it may be: one text, or several where the print can be
            read in several ways.
    """

    first: str
    dense: tuple[tuple[str, ...], ...]


def _blocks(growth: int, num_layers: int, count: int = 7) -> tuple[tuple[str, ...], ...]:
    return ((dense(growth, num_layers),),) * count


def dense(growth: int, num_layers: int, kernel: str = "3x3") -> str:
    """Return a dense block as text.

    Example:
        >>> dense(12, 4)
        '3x3, k 12, L 4'
    """
    return f"{kernel}, k {growth}, L {num_layers}"


# arXiv 1706.09588, Table 1; time x frequency
TABLE1 = {
    "mdensenet": {"full": Column("3x4, 32 maps", _blocks(12, 4))},
    "mmdensenet": {
        "low": Column("3x4, 32 maps", (*_blocks(14, 4, 1), *_blocks(16, 4, 6))),
        "high": Column(
            "3x3, 32 maps",
            (*_blocks(10, 3, 6), (dense(16, 3), f"{dense(10, 3)}, 1x1 to 16 maps")),
        ),
        "full": Column(
            "3x4, 32 maps",
            (*_blocks(6, 2, 3), (dense(6, 4), dense(6, 2)), *_blocks(6, 2, 3)),
        ),
    },
}
FINAL_DENSE = dense(4, 2)
FINAL_CONV = "1x2, 2 maps"

# arXiv 1706.09588, Table 2: SDR in dB on the 50 test songs of DSD100
SOURCES = ("bass", "drums", "other", "vocals", "accompaniment")
SISEC = "raw score files of SiSEC 2016"
TABLE2: dict[str, tuple[tuple[float, ...], str, str]] = {
    "NUG": ((2.72, 3.89, 3.18, 4.55, 10.29), "C", SISEC),
    "FNN": ((2.54, 3.75, 2.92, 4.47, 11.12), "C", SISEC),
    "BLSTM": ((2.89, 4.00, 3.24, 4.86, 11.26), "C", SISEC),
    "BLEND": ((2.98, 4.13, 3.52, 5.23, 11.70), "C", SISEC),
    "MMDenseNet": ((3.91, 5.37, 3.81, 6.00, 12.10), "M", "arXiv 1706.09588"),
}

# Table 3
SIZES = {
    "MDenseNet": Figure(0.14, "D", "1.5 % of BLEND, arXiv 1706.09588"),
    "MMDenseNet": Figure(0.33, "Q", "arXiv 2008.05216"),
    "BLEND": Figure(9.2, "D", "MMDenseNet's 0.33 M are 3.6 % of it, arXiv 1706.09588"),
    "BLSTM, large": Figure(30.03, "Q", "arXiv 2008.05216"),
}
