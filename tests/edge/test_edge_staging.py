"""All files of a song or none: publishing, undoing, and folders that cannot be written."""

import os
import types
from pathlib import Path

import pytest
from command_runs import contents
from mmdense_edge.errors import AudioError
from mmdense_edge.separate import staging


@pytest.fixture
def moves(tmp_path):
    """Three finished files and their places, of which one is taken."""
    aside = tmp_path / "aside"
    aside.mkdir()
    places = {}
    for index, place in enumerate(("a/b/0.wav", "a/1.wav", "c/2.wav")):
        (aside / str(index)).write_text(f"new {index}")
        places[aside / str(index)] = tmp_path / "out" / place
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "1.wav").write_text("old 1")
    (tmp_path / "out" / "a" / "notes").write_text("notes")
    return aside, places


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("fails_at", range(1, 5))
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device", "x", None, "y")]
)
def test_what_fails_in_the_middle_is_undone(moves, tmp_path, monkeypatch, fails_at, error, after):
    """Before a step is taken, or just after it."""
    aside, places = moves
    before = contents(tmp_path / "out")
    calls, replace = [], os.replace

    def failing(source: Path, target: Path) -> None:
        calls.append(source)
        fails = len(calls) == fails_at
        if after or not fails:
            replace(source, target)
        if fails:
            raise error

    monkeypatch.setattr(staging.os, "replace", failing)
    expected = AudioError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        staging.publish(places, aside, overwrite=True)
    assert contents(tmp_path / "out") == before
    if expected is AudioError:
        assert "cannot write y (No space left on device). Choose another" in str(caught.value)


def test_nothing_is_replaced_unasked(moves, tmp_path):
    aside, places = moves
    before = contents(tmp_path / "out")
    with pytest.raises(AudioError, match=r"a/1.wav exists. Choose another folder"):
        staging.publish(places, aside, overwrite=False)
    assert contents(tmp_path / "out") == before
    (tmp_path / "out" / "c").write_text("a file in the place of a folder")
    with pytest.raises(AudioError, match="out/c"):
        staging.publish(places, aside, overwrite=True)
    assert contents(tmp_path / "out") == {**before, "c": b"a file in the place of a folder"}


def test_a_link_that_leads_nowhere_is_a_result(tmp_path):
    os.symlink("nowhere", tmp_path / "link")
    with pytest.raises(AudioError, match="link exists"):
        staging.check_targets([tmp_path / "link"], overwrite=False)
    staging.check_targets([tmp_path / "new", tmp_path / "link"], overwrite=True)


def test_space_is_that_of_the_nearest_folder(tmp_path, monkeypatch):
    free = {tmp_path: 10}
    usage = lambda place: types.SimpleNamespace(free=free[place.resolve()])  # noqa: E731
    monkeypatch.setattr(staging.shutil, "disk_usage", usage)
    monkeypatch.chdir(tmp_path)
    for out in (tmp_path / "a" / "b", Path("x")):
        staging.check_space(out, 10)
        with pytest.raises(AudioError, match="the stems need 0 MB"):
            staging.check_space(out, 11)
