"""Compare rows of reports: `python -m training.evaluate.compare REPORT... --out FOLDER`.

Every row is paired with the base row, track by track. FOLDER receives comparison.md,
differences.csv and plots/. Exit code 0: done; 1: a file cannot be written; 2: wrong usage or
reports; 130: stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmdense_edge.errors import printable

from training.evaluate import EvaluationError

if TYPE_CHECKING:
    import pandas as pd

PAGE, DIFFERENCES = "comparison.md", "differences.csv"
SMALLEST_DB = 0.01  # differences below are rounding, not a better row
MAX_FILE_BYTES = 1 << 30
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Report:
    """A report as read back.

    Args:
        folder: Where it lies.
        sources: The sources of its rows.
        titles: Title by metric.
        facts: What must be the same in all reports that are compared, by what it is of.
        scores: The content of its scores.csv.
    """

    folder: Path
    sources: Mapping[str, frozenset[str]]
    titles: Mapping[str, str]
    facts: Mapping[str, object]
    scores: pd.DataFrame


def read_report(folder: Path) -> Report:
    """Read the summary and the scores of a report.

    Raises:
        EvaluationError: The folder holds no report, or a damaged one.
    """
    import pandas as pd

    from training.evaluate.tables import FORMAT, KEYS, SCORES, SUMMARY, VERSION

    try:
        for path in (folder / SUMMARY, folder / SCORES):
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ValueError(f"{path.name} has more than {MAX_FILE_BYTES} bytes")
        summary = json.loads((folder / SUMMARY).read_text("utf-8"))
        if (summary["format"], summary["version"]) != (FORMAT, VERSION):
            raise ValueError(f"{summary['format']} {summary['version']} is not known")
        scores = pd.read_csv(folder / SCORES, dtype=str, keep_default_na=False, index_col=False)
        if list(scores) != [*KEYS, "value"] or scores.duplicated(KEYS).any():
            raise ValueError(f"{SCORES} has other columns, or a value twice")
        scores["value"] = scores["value"].replace("", "nan").astype(float)
        sources = {row["name"]: frozenset(row["sources"]) for row in summary["rows"]}
        titles = {name: metric["title"] for name, metric in summary["metrics"].items()}
        tracks = {
            f"length and rate of {printable(t['name'])}": (t["num_samples"], t["sample_rate"])
            for t in summary["data"]["tracks"]
        }
        if not (sources and titles and tracks and set(scores["metric"]) <= set(titles)):
            raise ValueError("it has no rows, tracks or metrics")
        facts = {f"definition of {name}": title for name, title in titles.items()} | tracks
        facts["--accompaniment"] = any(row["accompaniment"] for row in summary["rows"])
    except READ_ERRORS as error:
        raise EvaluationError(
            f"a report must be a folder with {SUMMARY} and {SCORES} of training.evaluate; received "
            f"{printable(folder)} ({' '.join(str(error).split())}). Evaluate first, to the end."
        ) from error
    return Report(folder, sources, titles, facts, scores)


def compare(reports: Sequence[Report], base: str | None, folder: Path) -> None:
    """Pair the rows of reports with a base row by track, and write what differs.

    Args:
        reports: The reports. A row whose name stands in several is called REPORT/ROW.
        base: Label of the row to compare with; default the first row of the first report.
        folder: New or empty folder for comparison.md, differences.csv and plots/; all or nothing.

    Raises:
        EvaluationError: An unknown base, reports whose scores mean different things, or a folder
            in use.
        OSError: A file cannot be written.
    """
    import pandas as pd

    from training.evaluate.tables import KEYS, PLOTS, box_plot
    from training.train.run_folder import write_text

    facts: dict[str, object] = {}
    names = [row for report in reports for row in report.sources]
    folders = [report.folder.resolve().name for report in reports]
    sources: dict[str, frozenset[str]] = {}
    parts = []
    for report, own in zip(reports, folders, strict=True):
        for what, fact in report.facts.items():
            if facts.setdefault(what, fact) != fact:
                raise EvaluationError(
                    f"reports must be of the same audio and metrics, with or without the "
                    f"accompaniment; received, as {what}, {facts[what]!r} and {fact!r}. Evaluate "
                    "again, on one data set with one version."
                )
        own = own if folders.count(own) == 1 else str(report.folder)
        labels = {row: row if names.count(row) == 1 else f"{own}/{row}" for row in report.sources}
        sources |= {labels[row]: report.sources[row] for row in labels}
        parts.append(report.scores.assign(row=report.scores["row"].map(labels)))
    if len(sources) < len(names):
        raise EvaluationError(
            f"each report must be given once; received {', '.join(str(r.folder) for r in reports)}."
        )
    base = next(iter(sources)) if base is None else base
    if base not in sources or len(sources) < 2:
        raise EvaluationError(
            f"--base must be one of at least two rows; received {printable(base)} among "
            f"{printable(', '.join(sources))}."
        )
    scores = pd.concat(parts).dropna()
    pairs = scores.merge(scores[scores["row"] == base], on=KEYS[1:], suffixes=("", "_base"))
    pairs = pairs[pairs["row"] != base].rename(columns={"row_base": "base"})
    pairs["difference"] = pairs["value"] - pairs.pop("value_base")
    if pairs.empty:
        raise EvaluationError(
            f"the rows must share tracks, sources and a metric with the base {printable(base)}; "
            "received none that does. Evaluate them on the same data."
        )
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EvaluationError(
            f"--out must be a new or empty folder; received {printable(folder)}. Choose another."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
        made = Path(beside) / "made"
        (made / PLOTS).mkdir(parents=True)
        for (metric, measure), group in pairs.groupby(["metric", "measure"], sort=False):
            title = f"{metric}: {measure} less that of {printable(base)}"
            axis = f"difference of {measure} in dB"
            box_plot(group, "difference", axis, made / PLOTS / f"{metric}_{measure}", title, True)
        listed = pairs[["row", "base", *KEYS[1:], "difference"]]
        write_text(made / DIFFERENCES, listed.to_csv(index=False, lineterminator="\n"))
        titles = {name: title for report in reports for name, title in report.titles.items()}
        write_text(made / PAGE, "\n\n".join(page(pairs, base, sources, titles)) + "\n")
        if folder.exists():
            folder.rmdir()
        made.rename(folder)


def page(
    pairs: pd.DataFrame,
    base: str,
    sources: Mapping[str, frozenset[str]],
    titles: Mapping[str, str],
) -> Iterator[str]:
    """Yield the paragraphs of the Markdown page."""
    from training.evaluate.tables import PLOTS, bootstrap, number, table, text

    yield f"# Compared with {text(base)}"
    yield (
        "Differences in dB, row less base, on the tracks that both have a value for: above 0 the "
        "row is better. In brackets the 95 % interval by bootstrap over tracks: one that holds 0 "
        "is no evidence of a difference, and of many intervals some miss 0 by chance. Better and "
        f"worse: tracks that differ by {SMALLEST_DB} dB or more."
    )
    header = ["row", "source", "median difference", "mean difference", "better", "worse", "tracks"]
    for metric, of_metric in pairs.groupby("metric", sort=False):
        yield f"## {metric}"
        yield text(titles[metric])
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
            "Rows with no value on a track, source and metric of the base, left out: "
            f"{text(', '.join(unpaired))}."
        )
    left_out = [metric for metric in titles if metric not in set(pairs["metric"])]
    if left_out:
        yield f"Without values of the base: {', '.join(left_out)}."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("reports", metavar="REPORT", nargs="+", help="folders of training.evaluate")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="new folder for the page")
    parser.add_argument(
        "--base",
        metavar="ROW",
        help="row to compare with; default the first of the first report. REPORT/ROW if several "
        "reports have it",
    )
    args = parser.parse_args(argv)
    try:
        compare([read_report(Path(path)) for path in args.reports], args.base, Path(args.out))
    except ModuleNotFoundError as error:
        print(f"compare: {error}; pip install -e '.[train]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    except EvaluationError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    print(f"comparison in {printable(Path(args.out) / PAGE)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
