"""Compare rows of reports: `python -m training.evaluate.compare REPORT... --out FOLDER`.

Every row is compared with the base row, track by track. FOLDER will contain comparison.md,
differences.csv and plots/. Exit code 0: success; 1: a file cannot be written; 2: wrong usage or
reports; 130: stopped with Ctrl-C.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from mmdense_edge.errors import printable

from keras_mmdense.errors import SettingsError, require
from training import command, command_parser, new_folder
from training.evaluate.tables import (
    FORMAT,
    KEYS,
    PLOTS,
    SCORES,
    SUMMARY,
    VERSION,
    bootstrap,
    box_plots,
    number,
    table,
    text,
)
from training.train.run_folder import write_text

PAGE, DIFFERENCES = "comparison.md", "differences.csv"
SMALLEST_DB = 0.01  # smaller differences are rounding errors
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def read_report(folder: Path) -> tuple[dict[str, frozenset[str]], pd.DataFrame]:
    """Read the summary and the scores of a report.

    Returns:
        The sources of each row; and the content of scores.csv with three more columns, which must
        agree in all reports that are compared: "title" of the metric, "audio", the length and rate
        of the track, and "accompaniment", whether it was scored.

    Raises:
        SettingsError: The folder contains no report, or a damaged one.
    """
    try:
        summary = json.loads((folder / SUMMARY).read_text("utf-8"))
        if (summary["format"], summary["version"]) != (FORMAT, VERSION):
            raise ValueError(f"{summary['format']} {summary['version']} is not known")
        scores = pd.read_csv(folder / SCORES, dtype=str, keep_default_na=False, index_col=False)
        if list(scores) != [*KEYS, "value"] or scores.duplicated(KEYS).any():
            raise ValueError(f"{SCORES} has other columns, or a value twice")
        audio = {
            printable(t["name"]): f"{t['num_samples']} samples at {t['sample_rate']} Hz"
            for t in summary["data"]["tracks"]
        }
        scores = scores.assign(
            value=scores["value"].replace("", "nan").astype(float),
            title=scores["metric"].map({k: m["title"] for k, m in summary["metrics"].items()}),
            audio=scores["track"].map(audio),
            accompaniment=any(row["accompaniment"] for row in summary["rows"]),
        )
        if scores.empty or scores[["title", "audio"]].isna().any(axis=None):
            raise ValueError("it has no rows, tracks or metrics")
        return {row["name"]: frozenset(row["sources"]) for row in summary["rows"]}, scores
    except READ_ERRORS as error:
        raise SettingsError(
            f"a report must be a folder with {SUMMARY} and {SCORES} of training.evaluate; received "
            f"{printable(folder)} ({' '.join(str(error).split())}). Run the evaluation to its end "
            "first."
        ) from error


def compare(reports: Sequence[Path], base: str | None, folder: Path) -> None:
    """Compare the rows of reports with a base row, track by track, and write the differences.

    Args:
        reports: Folders of reports. A row whose name occurs in several is called REPORT/ROW.
        base: The row to compare with. Default: the first row of the first report.
        folder: New or empty folder for comparison.md, differences.csv and plots/.

    Raises:
        SettingsError: The base is unknown, scores of the reports have different meanings, or the
            folder is in use.
        OSError: A file cannot be written; no other file is left then.
    """
    read = [read_report(path) for path in reports]
    names = [row for own, _ in read for row in own]
    folders = [path.resolve().name for path in reports]
    sources: dict[str, frozenset[str]] = {}
    parts = []
    for path, name, (own, part) in zip(reports, folders, read, strict=True):
        prefix = name if folders.count(name) == 1 else str(path)
        labels = {row: row if names.count(row) == 1 else f"{prefix}/{row}" for row in own}
        sources |= {labels[row]: own[row] for row in own}
        parts.append(part.assign(row=part["row"].map(labels)))
    require(len(sources) == len(names), "each report must be given once", [*map(str, reports)], "")
    base = next(iter(sources)) if base is None else base
    require(
        base in sources and len(sources) > 1,
        "--base must be one of at least two rows",
        base,
        f"The rows are {printable(', '.join(sources))}.",
    )
    scores = pd.concat(parts).dropna()
    for key, fact in (("metric", "title"), ("track", "audio"), ("metric", "accompaniment")):
        for name, facts in scores.groupby(key)[fact]:
            require(
                facts.nunique() == 1,
                "reports must have the same audio and metrics, all with or all without the "
                "accompaniment",
                f"{fact} of {name}, {' and '.join(map(str, facts.unique()))}",
                "Evaluate all with one version on one data set.",
            )
    pairs = scores.merge(scores[scores["row"] == base], on=KEYS[1:], suffixes=("", "_base"))
    pairs = pairs[pairs["row"] != base].rename(columns={"row_base": "base"})
    pairs["difference"] = pairs["value"] - pairs["value_base"]
    require(
        not pairs.empty,
        f"a row must share a track, a source and a metric with the base {printable(base)}",
        "none",
        "Evaluate them on the same data.",
    )
    with new_folder(folder) as made:
        box_plots(
            pairs,
            "difference",
            made / PLOTS,
            "difference of ",
            f"less that of {printable(base)}",
            zero=True,
        )
        listed = pairs[["row", "base", *KEYS[1:], "difference"]]
        write_text(made / DIFFERENCES, listed.to_csv(index=False, lineterminator="\n"))
        unpaired = dict.fromkeys(scores["metric"][~scores["metric"].isin(pairs["metric"])])
        write_text(made / PAGE, "\n\n".join(page(pairs, base, sources, unpaired)) + "\n")


def page(
    pairs: pd.DataFrame,
    base: str,
    sources: Mapping[str, frozenset[str]],
    left_out: Iterable[str],
) -> Iterator[str]:
    """Yield the paragraphs of the Markdown page.

    Args:
        pairs: The values with their differences from the base.
        base: The base row.
        sources: The sources of all rows.
        left_out: The metrics of which the base has no values.
    """
    yield f"# Compared with {text(base)}"
    yield (
        "Differences in dB, row less base, on the tracks for which both have a value: above 0 the "
        "row is better. In brackets the 95 % interval by bootstrap over tracks. An interval that "
        "contains 0 is no evidence of a difference, and of many intervals some miss 0 by chance. "
        f"Better and worse: tracks that differ by {SMALLEST_DB} dB or more."
    )
    header = ["row", "source", "median difference", "mean difference", "better", "worse", "tracks"]
    for metric, of_metric in pairs.groupby("metric", sort=False):
        yield f"## {metric}"
        yield text(of_metric["title"].iloc[0])
        for measure, of_measure in of_metric.groupby("measure", sort=False):
            lines = []
            for (row, source), group in of_measure.groupby(["row", "source"], sort=False):
                values = group["difference"]
                averages = [
                    number(values.agg(kind), bootstrap(list(values), kind), sign="+")
                    for kind in ("median", "mean")
                ]
                counts = sum(values >= SMALLEST_DB), sum(values <= -SMALLEST_DB), len(values)
                lines.append([text(row), text(source), *averages, *map(str, counts)])
            yield f"{measure}:"
            yield table(header, lines, texts=2)
            yield f"![{metric}: {measure}, differences]({PLOTS}/{metric}_{measure}.png)"
    unlike = [row for row, own in sources.items() if own != sources[base]]
    if unlike:
        yield (
            f"Rows with other sources than the base: {text(', '.join(unlike))}. "
            "bsseval's SIR and SAR, and the windows that museval leaves out, depend on the sources "
            "scored together."
        )
    unpaired = [row for row in sources if row != base and row not in set(pairs["row"])]
    if unpaired:
        yield (
            "Rows without a value for any track, source and metric of the base, left out: "
            f"{text(', '.join(unpaired))}."
        )
    if left_out:
        yield f"Without values of the base: {', '.join(left_out)}."


@command("compare", "nothing was written")
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = command_parser("training.evaluate.compare", __doc__)
    parser.add_argument(
        "reports", metavar="REPORT", nargs="+", type=Path, help="folders of training.evaluate"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="new folder for the page"
    )
    parser.add_argument(
        "--base",
        metavar="ROW",
        help="row to compare with; default: the first of the first report. REPORT/ROW if several "
        "reports have it",
    )
    args = parser.parse_args(argv)
    compare(args.reports, args.base, args.out)
    print(f"comparison in {printable(args.out / PAGE)}")


if __name__ == "__main__":
    sys.exit(main())
