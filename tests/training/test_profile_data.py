"""Profiling: the figures belong together, the slower part is named, errors are one line."""

import numpy as np
import pytest
import trees

from keras_mmdense import Band, Settings, Transform
from keras_mmdense.data import open_dataset
from training import profile_data
from training.profile_data import Speed, measure, profile, report

MODEL = 'sources = ["bass", "vocals"], shared = true, bins = 256, scales = 1'
RECIPE = f"""
frames = 16
batch_size = 3
model = {{ {MODEL}, growth_rate = 1, num_layers = 1 }}
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return trees.make_folder(tmp_path_factory.mktemp("tree") / "set", 2, 0.5, suffix="flac")


def test_every_part_is_measured_in_whole_examples(tree, monkeypatch):
    made, plain = [], profile_data.measure
    monkeypatch.setattr(
        profile_data, "measure", lambda work, seconds: made.append(work()) or plain(work, seconds)
    )
    dataset = open_dataset(tree)
    bands = (Band("full"),)
    settings = Settings(dataset.sources, bands, bins=256, transform=Transform(512, 256))
    speeds = profile(dataset, settings, frames=16, batch_size=2, seconds=0.0)
    example = (15 * 256 + 512) / 44100
    assert made == pytest.approx([example, 2 * example, 2 * example])
    assert list(speeds) == ["reading", "transform", "pipeline"]
    assert all(figure > 0 for speed in speeds.values() for figure in speed)


def test_work_is_repeated_for_the_time_asked_after_one_run_that_does_not_count(monkeypatch):
    now = iter(np.arange(0.0, 100.0))
    monkeypatch.setattr(profile_data.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(profile_data.time, "process_time", iter([5.0, 7.0]).__next__)
    calls = []
    speed = measure(lambda: calls.append(1) or 0.5, 3.0)
    assert len(calls) == 1 + 3
    assert speed == (1.5 / 4, 1.5 / 2)


@pytest.mark.parametrize(
    ("reading", "transform", "largest"),
    [(2, 10, "reading"), (10, 2, "transform"), (8, 4, "rest")],
)
def test_shares_follow_the_cpu_time(reading, transform, largest):
    speeds = {"reading": Speed(4, reading), "transform": Speed(3, transform)}
    lines = report(speeds | {"pipeline": Speed(2, 1)}).splitlines()
    shares = [line.split()[-1] for line in lines[1:5]]
    rest = 1 - 1 / reading - 1 / transform
    assert shares == [f"{share:.0%}" for share in (1 / reading, 1 / transform, 1, rest)]
    assert lines[3].split() == ["pipeline", "2.0", "1.0", "2.00", "100%"]
    assert lines[5].startswith(f"largest share: {largest}; ")


def test_a_recipe_gives_the_model_and_the_batches(tree, tmp_path, capsys, monkeypatch):
    (tmp_path / "mini.toml").write_text(RECIPE)
    seen, whole = {}, profile_data.profile

    def spy(tracks, settings, **options):
        seen.update(options, sources=settings.sources)
        return whole(tracks, settings, **options)

    monkeypatch.setattr(profile_data, "profile", spy)
    command = [str(tree), "--seconds", "0"]
    recipe = ["--recipe", str(tmp_path / "mini.toml")]
    assert profile_data.main([*command, *recipe]) == 0
    assert seen["sources"] == ("bass", "vocals")
    assert (seen["frames"], seen["batch_size"]) == (16, 3)
    capsys.readouterr()
    assert profile_data.main([*command, "--batch-size", "2", "--frames", "8"]) == 0
    assert (seen["frames"], seen["batch_size"], len(seen["sources"])) == (8, 2, 4)
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert rows == ["part", "reading", "transform", "pipeline", "rest", "largest"]


@pytest.mark.parametrize(
    "more",
    [
        ["--recipe", "nothing"],
        ["--recipe", "piano.toml"],
        ["--frames", "0"],
        ["--batch-size", "0"],
        ["--seconds", "-1"],
        ["--seconds", "nan"],
    ],
)
def test_wrong_commands_end_in_one_line(more, tree, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "piano.toml").write_text(RECIPE.replace("bass", "piano"))
    assert profile_data.main([str(tree), *more]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("profile_data: ")
    assert len([line for line in lines if not line.startswith("measuring")]) == 1


def test_ctrl_c_is_no_traceback(tree, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(profile_data, "profile", interrupt)
    assert profile_data.main([str(tree)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "stopped"
