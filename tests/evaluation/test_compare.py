"""Several reports against one row."""

import csv
import json
import shutil

import numpy as np
import pytest
from test_evaluate import command, contents, copy_estimates
from trees import make_folder

from training.compare import main
from training.evaluate import main as evaluate


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


def differences(folder):
    with (folder / "differences.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_of_several_reports_are_paired(reports, tmp_path, capsys):
    out = tmp_path / "page"
    arguments = [str(reports / "first"), str(reports / "second"), "--out", str(out)]
    assert main(arguments) == 0
    assert str(out / "comparison.md") in capsys.readouterr().out
    rows = differences(out)
    assert {row["base"] for row in rows} == {"first/model"}
    assert {row["row"] for row in rows} == {"mixture", "second/model", "irm"}
    assert {row["metric"] for row in rows} == {"usdr"}  # the base has no other
    exact = [float(row["difference"]) for row in rows if row["row"] == "second/model"]
    assert len(exact) == 12
    assert exact == pytest.approx([20 * np.log10(5)] * 12, abs=1e-3)  # errors 0.5 and 0.1
    page = (out / "comparison.md").read_text("utf-8")
    line = next(x for x in page.splitlines() if x.startswith("| second/model | bass"))
    assert "+13.98 (+13.98 to +13.98)" in line
    assert line.endswith("| 3 | 0 | 3 |")
    assert "Without values of the base: sisdr." in page
    assert {path.name for path in (out / "plots").iterdir()} == {"usdr_SDR.png", "usdr_SDR.svg"}


def test_the_base_can_be_chosen_and_the_bytes_stay(reports, tmp_path):
    for name in ("a", "b"):
        arguments = [str(reports / "second"), str(reports / "first"), "--base", "irm"]
        assert main([*arguments, "--out", str(tmp_path / name)]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    found = {(row["row"], row["metric"]) for row in differences(tmp_path / "a")}
    assert ("second/model", "sisdr") in found
    assert ("mixture", "sisdr") not in found


def test_one_report_is_enough(reports, tmp_path):
    assert main([str(reports / "first"), "--out", str(tmp_path / "page")]) == 0
    assert {row["row"] for row in differences(tmp_path / "page")} == {"mixture"}


def refused(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("compare: ")
    assert told.count("\n") == 1
    return told


def test_what_cannot_be_compared_is_refused(reports, tmp_path, capsys):
    first, out = reports / "first", tmp_path / "page"
    assert "received nobody" in refused(capsys, first, "--base", "nobody", "--out", out)
    assert "given once" in refused(capsys, first, first, "--out", out)
    assert "must be a folder with summary.json" in refused(capsys, tmp_path, "--out", out)
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert "new or empty folder" in refused(capsys, first, "--out", out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("error", "code"), [(OSError(28, "full"), 1), (KeyboardInterrupt(), 130)])
def test_nothing_half_written_is_left(reports, tmp_path, capsys, monkeypatch, error, code):
    def fail(*_):
        raise error

    out = tmp_path / "new" / "page"
    monkeypatch.setattr("training.evaluation.comparison.csv_text", fail)
    assert main([str(reports / "first"), "--out", str(out)]) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert list(out.parent.iterdir()) == []
    monkeypatch.undo()
    out.mkdir()  # an empty folder is as good as none
    assert main([str(reports / "first"), "--out", str(out)]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["page"]
    assert {path.name for path in out.iterdir()} == {"comparison.md", "differences.csv", "plots"}


def test_rows_with_other_sources_are_told(reports, tmp_path):
    shutil.copytree(reports / "first", tmp_path / "first")
    path = tmp_path / "first" / "summary.json"
    summary = json.loads(path.read_text("utf-8"))
    told = []
    for sources in (["vocals", "other", "drums", "bass"], ["vocals"]):
        summary["rows"][1]["sources"] = sources
        path.write_text(json.dumps(summary))
        out = tmp_path / "-".join(sources)
        assert main([str(tmp_path / "first"), "--out", str(out)]) == 0
        page = (out / "comparison.md").read_text("utf-8")
        told.append("Rows with other sources than the base: mixture." in page)
    assert told == [False, True]


def test_rows_of_other_tracks_are_told(reports, tmp_path):
    other = tmp_path / "other"
    make_folder(other / "tree", num_tracks=4, seconds=0.2)
    choice = command(other, "mixture", "ibm", tracks="Song 3")
    assert evaluate(choice) == 0
    out = tmp_path / "page"
    assert main([str(reports / "first"), str(other / "report"), "--out", str(out)]) == 0
    page = (out / "comparison.md").read_text("utf-8")
    assert "left out: report/mixture, ibm." in page
    assert {row["row"] for row in differences(out)} == {"first/mixture"}


def change_title(summary):
    summary["metrics"]["usdr"]["title"] = "another metric"


def change_length(summary):
    summary["data"]["tracks"][0]["num_samples"] += 1


def change_accompaniment(summary):
    for row in summary["rows"]:
        row["accompaniment"] = "its own estimate"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_title, "must define usdr alike"),
        (change_length, "must be of the same audio; received Song 0"),
        (change_accompaniment, "in all reports or in none"),
    ],
)
def test_scores_that_mean_different_things_are_refused(reports, tmp_path, capsys, change, message):
    shutil.copytree(reports / "second", tmp_path / "other")
    path = tmp_path / "other" / "summary.json"
    summary = json.loads(path.read_text("utf-8"))
    change(summary)
    path.write_text(json.dumps(summary))
    told = refused(capsys, reports / "first", tmp_path / "other", "--out", tmp_path / "page")
    assert message in told


@pytest.mark.parametrize("name", ["summary.json", "scores.csv"])
@pytest.mark.parametrize(
    "damage",
    [
        b"", b"{}", b"\xff\xfe", b"[1]", b"row,track\n1,2\n", b"[" * 100000,
        b"row,track,source,metric,measure,value\n" + b"x" * 200000,
        b'{"format": "mmdense-evaluation", "version": 1, "metrics": [1], "rows": [{"name": "a"}]}',
    ],
)  # fmt: skip
def test_damaged_reports_are_refused(reports, tmp_path, capsys, name, damage):
    shutil.copytree(reports / "second", tmp_path / "other")
    (tmp_path / "other" / name).write_bytes(damage)
    assert "must be a folder with" in refused(capsys, tmp_path / "other", "--out", tmp_path / "p")
