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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmdense_edge.errors import printable

from training.evaluate import EvaluationError

if TYPE_CHECKING:
    import pandas as pd

PAGE, DIFFERENCES = "comparison.md", "differences.csv"
SMALLEST_DB = 0.01  # differences below are rounding, not a better row
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def read_report(folder: Path) -> tuple[dict[str, frozenset[str]], pd.DataFrame]:
    """Read the summary and the scores of a report.

    Returns:
        The sources of its rows; and the content of its scores.csv, with what must be the same in
        all reports that are compared: "title" of the metric, "audio", the form of the track, and
        "accompaniment", whether it was scored along.

    Raises:
        EvaluationError: The folder holds no report, or a damaged one.
    """
    import pandas as pd

    from training.evaluate.tables import FORMAT, KEYS, SCORES, SUMMARY, VERSION

    try:
        summary = json.loads((folder / SUMMARY).read_text("utf-8"))
        if (summary["format"], summary["version"]) != (FORMAT, VERSION):
            raise ValueError(f"{summary['format']} {summary['version']} is not known")
        scores = pd.read_csv(folder / SCORES, dtype=str, keep_default_na=False, index_col=False)
        if list(scores) != [*KEYS, "value"] or scores.duplicated(KEYS).any():
            raise ValueError(f"{SCORES} has other columns, or a value twice")
        titles = {name: metric["title"] for name, metric in summary["metrics"].items()}
        audio = {
            printable(t["name"]): f"{t['num_samples']} samples at {t['sample_rate']} Hz"
            for t in summary["data"]["tracks"]
        }
        scores = scores.assign(
            value=scores["value"].replace("", "nan").astype(float),
            title=scores["metric"].map(titles),
            audio=scores["track"].map(audio),
            accompaniment=any(row["accompaniment"] for row in summary["rows"]),
        )
        sources = {row["name"]: frozenset(row["sources"]) for row in summary["rows"]}
        if scores.empty or scores[["title", "audio"]].isna().any(axis=None):
            raise ValueError("it has no rows, tracks or metrics")
    except READ_ERRORS as error:
        raise EvaluationError(
            f"a report must be a folder with {SUMMARY} and {SCORES} of training.evaluate; received "
            f"{printable(folder)} ({' '.join(str(error).split())}). Evaluate first, to the end."
        ) from error
    return sources, scores


def compare(reports: Sequence[Path], base: str | None, folder: Path) -> None:
    """Pair the rows of reports with a base row by track, and write what differs.

    Args:
        reports: Folders of reports. A row whose name occurs in several is called REPORT/ROW.
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

    read = [read_report(path) for path in reports]
    names = [row for own, _ in read for row in own]
    folders = [path.resolve().name for path in reports]
    sources: dict[str, frozenset[str]] = {}
    parts = []
    for path, (own, part) in zip(reports, read, strict=True):
        name = path.resolve().name
        name = name if folders.count(name) == 1 else str(path)
        labels = {row: row if names.count(row) == 1 else f"{name}/{row}" for row in own}
        sources |= {labels[row]: own[row] for row in own}
        parts.append(part.assign(row=part["row"].map(labels)))
    if len(sources) < len(names):
        raise EvaluationError(
            f"each report must be given once; received {', '.join(map(printable, reports))}."
        )
    base = next(iter(sources)) if base is None else base
    if base not in sources or len(sources) < 2:
        raise EvaluationError(
            f"--base must be one of at least two rows; received {printable(base)} among "
            f"{printable(', '.join(sources))}."
        )
    scores = pd.concat(parts).dropna()
    for key, fact in (("metric", "title"), ("track", "audio"), ("metric", "accompaniment")):
        for name, facts in scores.groupby(key)[fact]:
            if facts.nunique() > 1:
                raise EvaluationError(
                    "reports must be of the same audio and metrics, all with or all without the "
                    f"accompaniment; received, as {fact} of {name}, "
                    f"{' and '.join(map(str, facts.unique()))}. Evaluate again, on one data set "
                    "with one version."
                )
    pairs = scores.merge(scores[scores["row"] == base], on=KEYS[1:], suffixes=("", "_base"))
    pairs = pairs[pairs["row"] != base].rename(columns={"row_base": "base"})
    pairs["difference"] = pairs["value"] - pairs["value_base"]
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
        rest = dict.fromkeys(scores["metric"][~scores["metric"].isin(pairs["metric"])])
        write_text(made / PAGE, "\n\n".join(page(pairs, base, sources, rest)) + "\n")
        if folder.exists():
            folder.rmdir()
        made.rename(folder)


def page(
    pairs: pd.DataFrame,
    base: str,
    sources: Mapping[str, frozenset[str]],
    left_out: Iterable[str],
) -> Iterator[str]:
    """Yield the paragraphs of the Markdown page.

    Args:
        pairs: The values with their differences from the base.
        base: Label of the base.
        sources: The sources of all rows, by label.
        left_out: The metrics that the base has no values of.
    """
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
            "Rows with no value on a track, source and metric of the base, left out: "
            f"{text(', '.join(unpaired))}."
        )
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
        compare([Path(path) for path in args.reports], args.base, Path(args.out))
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
