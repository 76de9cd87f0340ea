"""Which songs a command line names, and what they are called in the results."""

from __future__ import annotations

import io
import os
import resource
import signal
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from mmdense_edge.errors import AudioError, UsageError
from mmdense_edge.separate.inputs import Song, find_songs, spool
from mmdense_edge.separate.jobs import Options, plan
from mmdense_edge.separate.naming import TEMPLATE, check, target

PARTS = {"vocals": ("vocals",), "bass": ("bass",)}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder of songs and other things; the working directory is its parent."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "music/b.wav", "music/a.MP3", "music/cover.jpg", "music/Album/02.flac",
        "music/Album/01.m4a", "music/Album/._01.m4a", "music/.hidden/x.wav",
        "music/out/old/vocals.wav", "music/[x].ogg",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def names(found) -> list[tuple[str, str, str]]:
    return [(song.path.as_posix(), song.folder, song.track) for song in found.songs]


def test_a_folder_is_searched_with_all_below(tree):
    found = find_songs(["music"], Path("music/out"))
    assert names(found) == [
        ("music/[x].ogg", "", "[x]"),
        ("music/a.MP3", "", "a"),
        ("music/b.wav", "", "b"),
        ("music/Album/01.m4a", "Album", "01"),
        ("music/Album/02.flac", "Album", "02"),
    ]
    assert found.others == 2  # the picture and the hidden file
    inside = [song for song in find_songs(["music"], Path("elsewhere")).songs if song.folder]
    assert "out/old" in {song.folder for song in inside}


def test_a_file_that_is_named_is_taken_whatever_it_is(tree):
    found = find_songs(["music/cover.jpg", "none.wav", "music/[x].ogg"], Path("out"))
    assert [song.path.name for song in found.songs] == ["cover.jpg", "none.wav", "[x].ogg"]
    assert found.others == 0


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("music/*.wav", ["music/b.wav"]),
        ("music/[ab].*", ["music/a.MP3", "music/b.wav"]),
        ("music/**/0?.*", ["music/Album/01.m4a", "music/Album/02.flac"]),
        ("mus*", None),
    ],
)
def test_patterns(tree, pattern, expected):
    found = [song.path.as_posix() for song in find_songs([pattern], Path("music/out")).songs]
    whole = [song.path.as_posix() for song in find_songs(["music"], Path("music/out")).songs]
    assert found == (whole if expected is None else expected)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["music/*.xyz"], r"no file matches 'music/\*.xyz'"),
        (["-", "-"], "can be read once"),
        (["empty"], "empty holds no audio files"),
        (["music/out"], "is the output folder"),
    ],
)
def test_what_names_no_songs(tree, arguments, match):
    Path("empty").mkdir()
    with pytest.raises(UsageError, match=match):
        find_songs(arguments, Path("music/../music/out"))


def test_links_in_a_circle_end(tree):
    os.symlink("..", "music/Album/up")
    os.symlink("b.wav", "music/link.wav")
    found = find_songs(["music"], Path("music/out"))
    assert [song.path.name for song in found.songs].count("b.wav") == 1
    assert "link.wav" in {song.path.name for song in found.songs}


def test_a_folder_that_cannot_be_read_is_an_error(tree, monkeypatch):
    def scandir(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError):
        find_songs(["music"], Path("out"))


def test_stdin_is_kept_in_a_file(tmp_path):
    (song,) = find_songs(["-"], None).songs
    assert song.piped
    assert not find_songs(["./-"], None).songs[0].piped
    song = spool(io.BytesIO(b"x" * 3_000_000), tmp_path)
    assert (song.label, song.track, song.path.stat().st_size) == ("-", "stdin", 3_000_000)


def test_stdin_and_a_full_disk(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(AudioError, match="-: cannot keep the standard input"):
            spool(io.BytesIO(b"x" * 3_000_000), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        (TEMPLATE, "out/Album/song/vocals.wav"),
        ("{track} - {stem}.{ext}", "out/song - vocals.wav"),
        ("{model}/{trackext}/{stem}/{track}.{ext}", "out/tiny/mp3/vocals/song.wav"),
        ("{{{stem}}}.{ext}", "out/{vocals}.wav"),
    ],
)
def test_templates(template, path):
    check(template)
    fields = {"folder": "Album", "track": "song", "trackext": "mp3", "stem": "vocals"}
    assert target(template, Path("out"), ext="wav", model="tiny", **fields) == Path(path)


@pytest.mark.parametrize("name", ["../../x", "C:\\x", "..\\x", "/x", "a/b"])
def test_a_models_name_leads_nowhere(name):
    options = Options(filename="{model}/{stem}.{ext}")
    (job,) = plan([Song(Path("a.wav"))], Path("o"), PARTS, options, model=name)
    for path in job.targets:
        assert [len(kind(str(path)).parts) for kind in (PurePosixPath, PureWindowsPath)] == [3, 3]
        assert path.parent.parent == Path("o")


@pytest.mark.parametrize(
    ("template", "match"),
    [
        ("{stem}", "must end in"),
        ("{stem}.wav", "must end in"),
        ("", "must end in"),
        ("{artist}.{ext}", "may hold {folder}, {track}"),
        ("{}.{ext}", "may hold"),
        ("{0}.{ext}", "may hold"),
        ("{stem!r}.{ext}", "may hold"),
        ("{stem:>9}.{ext}", "may hold"),
        ("{stem.__class__}.{ext}", "may hold"),
        ("{stem[0]}.{ext}", "may hold"),
        ("{stem.{ext}", "--filename"),
        ("../{stem}.{ext}", "must stay below"),
        ("a/../../{stem}.{ext}", "must stay below"),
        ("a\\..\\{stem}.{ext}", "must stay below"),
        ("/tmp/{stem}.{ext}", "must stay below"),
        ("C:{stem}.{ext}", "must stay below"),
        ("{track}\\{stem}.{ext}", "parts folders with /"),
        ("a\0{stem}.{ext}", "must stay below"),
    ],
)
def test_templates_that_are_refused(template, match):
    with pytest.raises(UsageError, match=match):
        Options(filename=template)


def test_results_of_folders_keep_the_folders(tree):
    found = find_songs(["music"], Path("music/out"))
    jobs = plan(found.songs, Path("o"), PARTS, Options(file_format="flac", picture=True))
    assert [path.as_posix() for path in jobs[3].targets] == [
        "o/Album/01/vocals.flac",
        "o/Album/01/bass.flac",
        "o/Album/01/spectrogram.png",
    ]


@pytest.mark.parametrize(
    ("songs", "template"),
    [
        (["a/Song.wav", "b/song.mp3"], TEMPLATE),
        (["a/song.wav", "a/song.wav"], TEMPLATE),
        (["a/e\u0301.wav", "b/\u00e9.wav"], TEMPLATE),
        (["a/x.wav", "a/y.wav"], "{stem}.{ext}"),
        (["a/x.wav"], "{track}.{ext}"),
    ],
)
def test_results_that_would_collide_are_refused(songs, template):
    songs = [Song(Path(song)) for song in songs]
    with pytest.raises(UsageError, match=r"would both write to out/.*give another --filename"):
        plan(songs, Path("out"), PARTS, Options(filename=template))
    assert len(plan([Song(Path("a/x.wav")), Song(Path("a/y.wav"))], Path("out"), PARTS)) == 2


@pytest.mark.parametrize("name", ["..wav", "...wav"])
def test_a_song_that_names_no_folder_is_refused(name):
    with pytest.raises(UsageError, match="rename the song"):
        plan([Song(Path(name), track="..")], Path("out"), PARTS)


def test_results_never_replace_what_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is read and would be replaced"):
        plan([Song(tmp_path / "vocals" / "vocals.wav")], Path(), PARTS)
    references = {"vocals": tmp_path / "out" / "song" / "vocals.wav"}
    with pytest.raises(UsageError, match="is read and would be replaced"):
        plan([Song(Path("song.wav"))], Path("out"), PARTS, references=references)
    with pytest.raises(UsageError, match="references belong to one song, got 2 songs"):
        plan([Song(Path("a.wav")), Song(Path("b.wav"))], Path("out"), PARTS, references=references)
    # The same file under another name.
    (tmp_path / "out" / "song").mkdir(parents=True)
    (tmp_path / "song.wav").write_bytes(b"x")
    os.link(tmp_path / "song.wav", tmp_path / "out" / "song" / "bass.wav")
    with pytest.raises(UsageError, match=r"bass.wav is read and would be replaced"):
        plan([Song(Path("song.wav"))], Path("out"), PARTS)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"file_format": "mp3"}, "format must be one of wav, flac, ogg, got 'mp3'"),
        ({"bit_depth": "8"}, "bit depth must be one of 16, 24, 32f, got '8'"),
        ({"clip": "wrap"}, "clip rule must be one of clamp, scale, got 'wrap'"),
        ({"file_format": "ogg", "bit_depth": "16"}, "ogg files are lossy"),
        ({"file_format": "ogg", "sum_to_mixture": True}, "ogg files are lossy"),
        ({"file_format": "flac", "bit_depth": "32f"}, "flac files have no floats"),
    ],
)
def test_options_that_cannot_be(options, match):
    with pytest.raises(UsageError, match=match):
        Options(**options)
