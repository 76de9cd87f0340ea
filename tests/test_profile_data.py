"""Profiling: the figures belong together, the slower part is named, errors are one line."""

import numpy as np
import pytest
import trees

from keras_mmdense import Band, Settings, Transform
from keras_mmdense.data import DatasetError, open_dataset
from training import profile_data
from training.profile_data import Speed, measure, profile, shares, table

RECIPE = """
frames = 16
batch_size = 3
[model]
sources = ["bass", "vocals"]
shared = true
bins = 256
growth_rate = 1
num_layers = 1
scales = 1
"""
SMALL = {"frames": 16, "batch_size": 2, "seconds": 0.0}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return trees.make_folder(tmp_path_factory.mktemp("tree") / "set", 2, 0.5, suffix="flac")


def settings(*sources):
    return Settings(sources, (Band("full"),), bins=256, transform=Transform(512, 256))


def test_every_part_is_measured_in_whole_examples(tree):
    dataset = open_dataset(tree)
    result = profile(dataset, settings(*dataset.sources), **SMALL)
    example = (15 * 256 + 512) / 44100
    for name, examples in (("reading", 1), ("transform", 2), ("pipeline", 2)):
        speed = result[name]
        assert speed.audio == pytest.approx(examples * example)
        assert speed.wall > 0
        assert speed.cpu > 0
        assert speed.per_second * speed.wall == pytest.approx(speed.audio)
        assert speed.per_cpu_second * speed.cpu == pytest.approx(speed.audio)
    assert sum(result["shares"].values()) == pytest.approx(1)
    assert result["shares"][result["bottleneck"]] == max(result["shares"].values())


def test_work_is_repeated_for_the_time_asked_after_one_run_that_does_not_count(monkeypatch):
    now = iter(np.arange(0.0, 100.0))
    monkeypatch.setattr(profile_data.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(profile_data.time, "process_time", iter([5.0, 7.0]).__next__)
    calls = []
    speed = measure(lambda: calls.append(1) or 0.5, 3.0)
    assert len(calls) == 1 + 3
    assert (speed.audio, speed.wall, speed.cpu) == (1.5, 4.0, 2.0)
    assert (speed.per_second, speed.per_cpu_second, speed.cores) == (0.375, 0.75, 0.5)


@pytest.mark.parametrize(
    ("cpu", "slowest"), [((5, 1), "reading"), ((1, 5), "transform"), ((1, 2), "rest")]
)
def test_the_bottleneck_is_the_largest_share(tree, monkeypatch, cpu, slowest):
    speeds = iter([Speed(1, 1, cpu[0]), Speed(1, 1, cpu[1]), Speed(1, 1, 8)])
    monkeypatch.setattr(profile_data, "measure", lambda work, seconds: next(speeds))
    dataset = open_dataset(tree)
    assert profile(dataset, settings(*dataset.sources), **SMALL)["bottleneck"] == slowest


def test_shares_follow_the_cpu_time():
    slow, fast, whole = Speed(10, 9, 5), Speed(30, 1, 3), Speed(4, 1, 4)
    one = {"reading": slow, "transform": fast, "pipeline": whole}
    assert shares(one) == pytest.approx({"reading": 0.5, "transform": 0.1, "rest": 0.4})
    text = table({**one, "shares": shares(one), "bottleneck": "reading"})
    assert text.splitlines()[1].split() == ["reading", "1.1", "2.0", "0.56", "50%"]
    assert text.splitlines()[3].split() == ["pipeline", "4.0", "1.0", "4.00", "100%"]
    assert text.splitlines()[4].split() == ["rest", "40%"]
    assert "training.prepare" in text.splitlines()[-1]
    other = table({**one, "shares": shares(one), "bottleneck": "transform"})
    assert other.splitlines()[-1].startswith("largest share: transform; it takes more cores")


def test_the_command_prints_a_table(tree, capsys):
    options = ["--seconds", "0", "--frames", "16", "--batch-size", "1"]
    assert profile_data.main([str(tree), *options]) == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert rows == ["part", "reading", "transform", "pipeline", "rest", "largest"]


def test_a_recipe_gives_the_model_and_the_batches(tree, tmp_path, capsys, monkeypatch):
    (tmp_path / "mini.toml").write_text(RECIPE)
    seen = {}
    whole = profile_data.profile

    def spy(tracks, settings, **options):
        seen.update(options, sources=settings.sources)
        return whole(tracks, settings, **options)

    monkeypatch.setattr(profile_data, "profile", spy)
    command = [str(tree), "--recipe", str(tmp_path / "mini.toml"), "--seconds", "0"]
    assert profile_data.main(command) == 0
    assert seen["sources"] == ("bass", "vocals")
    assert (seen["frames"], seen["batch_size"]) == (16, 3)
    assert profile_data.main([*command, "--batch-size", "2", "--frames", "8"]) == 0
    assert (seen["frames"], seen["batch_size"]) == (8, 2)
    assert "pipeline" in capsys.readouterr().out


def test_wrong_commands_end_in_one_line(tree, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for arguments in (
        [str(tmp_path / "empty")],
        [str(tree), "--recipe", "nothing"],
        [str(tree), "--frames", "7"],
        [str(tree), "--batch-size", "0"],
        [str(tree), "--seconds", "-1"],
        [str(tree), "--seconds", "nan"],
    ):
        assert profile_data.main(arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[-1].startswith("profile_data: ")
        assert len([line for line in lines if not line.startswith("measuring")]) == 1


def test_ctrl_c_is_no_traceback(tree, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(profile_data, "profile", interrupt)
    assert profile_data.main([str(tree)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "stopped"


def test_a_tree_without_the_sources_is_refused(tree):
    with pytest.raises(DatasetError, match="piano"):
        profile(open_dataset(tree), settings("piano"), **SMALL)
