"""Several reports against one row."""

import json
import shutil
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from test_evaluate import command, contents, copy_estimates
from trees import make_folder

from training.evaluate.__main__ import main as evaluate
from training.evaluate.compare import main


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Two reports of the same three tracks: half, most (of one name in both) and the mixture."""
    root = tmp_path_factory.mktemp("reports")
    tree = make_folder(root / "tree", num_tracks=3, seconds=0.2)
    half = copy_estimates(tree, root / "half", lambda _, x: 0.5 * x)
    most = copy_estimates(tree, root / "most", lambda _, x: 0.9 * x)
    assert evaluate(command(root, f"model={half}", "mixture", out="first")) == 0
    assert evaluate(command(root, f"model={most}", "irm", out="second", metric="usdr,sisdr")) == 0
    return root


@pytest.fixture
def change(reports, tmp_path):
    """A copy of a report whose summary is changed."""

    def changed(name, edit=lambda summary: None):
        shutil.copytree(reports / name, tmp_path / "copy", dirs_exist_ok=True)
        path = tmp_path / "copy" / "summary.json"
        summary = json.loads(path.read_text("utf-8"))
        edit(summary)
        path.write_text(json.dumps(summary))
        return tmp_path / "copy"

    return changed


def compared(out, *arguments):
    """The lines of differences.csv, and the page."""
    assert main([*map(str, arguments), "--out", str(out)]) == 0
    return pd.read_csv(out / "differences.csv"), (out / "comparison.md").read_text("utf-8")


@pytest.mark.usefixtures("pictures")
def test_rows_of_several_reports_are_paired(reports, tmp_path):
    out = tmp_path / "page"
    rows, page = compared(out, reports / "first", reports / "second")
    assert set(rows["base"]) == {"first/model"}
    assert set(rows["row"]) == {"mixture", "second/model", "irm"}
    assert set(rows["metric"]) == {"usdr"}  # the base has no other
    exact = list(rows["difference"][rows["row"] == "second/model"])
    assert exact == pytest.approx([20 * np.log10(5)] * 12, abs=1e-3)  # errors 0.5 and 0.1
    line = next(x for x in page.splitlines() if x.startswith("| second/model | bass"))
    assert "+13.98 (+13.98 to +13.98)" in line
    assert line.endswith("| 3 | 0 | 3 |")
    assert "Without values of the base: sisdr." in page
    assert {path.name for path in (out / "plots").iterdir()} == {"usdr_SDR.png", "usdr_SDR.svg"}


def test_the_base_can_be_chosen_and_the_bytes_stay(reports, tmp_path):
    arguments = [reports / "second", reports / "first", "--base", "irm"]
    rows, _ = compared(tmp_path / "a", *arguments)
    compared(tmp_path / "b", *arguments)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    found = set(zip(rows["row"], rows["metric"], strict=True))
    assert ("second/model", "sisdr") in found
    assert ("mixture", "sisdr") not in found


def test_tracks_without_both_values_are_left_out_and_a_thousandth_is_rounding(change, tmp_path):
    report = change("first")
    values = {"model": ["1.0", "5.0", ""], "mixture": ["1.001", "6.0", "1.0"]}
    lines = [
        f"{row},Song {track},bass,usdr,SDR,{value}"
        for row, of_row in values.items()
        for track, value in enumerate(of_row)
    ]
    lines += ["mixture,Song 0,drums,usdr,SDR,3.0"]
    head = (report / "scores.csv").read_text().splitlines()[0]
    (report / "scores.csv").write_text("\n".join([head, *lines]) + "\n")
    rows, page = compared(tmp_path / "page", report)
    assert list(rows["track"]) == ["Song 0", "Song 1"]
    assert list(rows["difference"]) == pytest.approx([0.001, 1.0])
    line = next(x for x in page.splitlines() if x.startswith("| mixture | bass"))
    assert "| +0.50 (+0.00 to +1.00) |" in line
    assert line.endswith("| 1 | 0 | 2 |")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/first", "--base", "nobody"], "received 'nobody'"),
        (["{}/first", "{}/first"], "given once"),
        (["{}"], "must be a folder with summary.json"),
        (["{}/first", "--out", "{}"], "new or empty folder"),
    ],
)
def test_what_cannot_be_compared_is_refused(reports, tmp_path, capsys, arguments, message):
    before = contents(reports)
    options = ["--out", str(tmp_path / "page"), *(a.format(reports) for a in arguments)]
    assert main(options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "page").exists()
    assert contents(reports) == before


@pytest.mark.parametrize(("error", "code"), [(OSError(28, "full"), 1), (KeyboardInterrupt(), 130)])
def test_nothing_half_written_is_left(reports, tmp_path, capsys, monkeypatch, error, code):
    out = tmp_path / "new" / "page"
    monkeypatch.setattr("training.evaluate.compare.page", Mock(side_effect=error))
    assert main([str(reports / "first"), "--out", str(out)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; nothing was written")
    assert list(out.parent.iterdir()) == []
    monkeypatch.undo()
    out.mkdir()  # an empty folder is as good as none
    compared(out, reports / "first")
    assert [path.name for path in out.parent.iterdir()] == ["page"]


def test_rows_with_other_sources_or_tracks_are_reported(reports, change, tmp_path):
    report = change("first", lambda s: s["rows"][1].update(sources=["other", "vocals"]))
    assert "Rows with other sources than the base: mixture." in compared(tmp_path / "a", report)[1]
    make_folder(tmp_path / "tree", num_tracks=4, seconds=0.2)
    assert evaluate(command(tmp_path, "mixture", "ibm", tracks="Song 3")) == 0
    rows, page = compared(tmp_path / "b", reports / "first", tmp_path / "report")
    assert "left out: report/mixture, ibm." in page
    assert set(rows["row"]) == {"first/mixture"}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s["metrics"]["usdr"].update(title="another"), "title of usdr, "),
        (lambda s: s["data"]["tracks"][0].update(num_samples=1), "audio of Song 0, 8833 samples"),
        (lambda s: s["rows"][0].update(accompaniment="its own estimate"), "accompaniment of usdr"),
    ],
)
def test_scores_that_mean_different_things_are_refused(
    reports, change, tmp_path, capsys, edit, message
):
    arguments = [reports / "first", change("second", edit), "--out", tmp_path / "page"]
    assert main(list(map(str, arguments))) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["summary.json", "scores.csv"])
@pytest.mark.parametrize(
    "damage",
    [
        b"{}", b"\xff\xfe", b"row,track\n1,2\n", b"[" * 100000,
        b"row,track,source,metric,measure,value\n" + 2 * b"mixture,a,bass,usdr,SDR,1\n",
        b'{"format": "mmdense-evaluation", "version": 1, "metrics": [1], "rows": [{"name": "a"}]}',
    ],
)  # fmt: skip
def test_damaged_reports_are_refused(change, tmp_path, capsys, name, damage):
    report = change("second")
    (report / name).write_bytes(damage)
    assert main([str(report), "--out", str(tmp_path / "page")]) == 2
    assert "must be a folder with" in capsys.readouterr().err
