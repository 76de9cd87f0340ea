"""Which songs a command line names, and what they are called in the results."""

import io
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from unittest.mock import Mock

import pytest
from mmdense_edge.errors import AudioError, UsageError
from mmdense_edge.separate.inputs import Song, find_songs, spool
from mmdense_edge.separate.jobs import Options, plan

TEMPLATE = Options().filename
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


def test_a_folder_is_searched_with_all_below(tree):
    os.symlink("..", "music/Album/up")  # a circle
    os.symlink("b.wav", "music/link.wav")
    songs, others = find_songs(["music"], Path("music/out"))
    assert [(song.path.as_posix(), song.folder, song.path.stem) for song in songs] == [
        ("music/[x].ogg", "", "[x]"),
        ("music/a.MP3", "", "a"),
        ("music/b.wav", "", "b"),
        ("music/link.wav", "", "link"),
        ("music/Album/01.m4a", "Album", "01"),
        ("music/Album/02.flac", "Album", "02"),
    ]
    assert others == 2  # the picture and the hidden file
    inside, _ = find_songs(["music"], Path("elsewhere"))
    assert "out/old" in {song.folder for song in inside}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # A file that is named is taken whatever it is.
        (["music/cover.jpg", "none.wav"], ["music/cover.jpg", "none.wav"]),
        (["music/[x].ogg"], ["music/[x].ogg"]),
        (["music/*.wav"], ["music/b.wav"]),
        (["music/[ab].*"], ["music/a.MP3", "music/b.wav"]),
        (["music/**/0?.*"], ["music/Album/01.m4a", "music/Album/02.flac"]),
        (["mus*/Al*"], ["music/Album/01.m4a", "music/Album/02.flac"]),
    ],
)
def test_names_and_patterns(tree, arguments, expected):
    songs, _ = find_songs(arguments, Path("music/out"))
    assert [song.path.as_posix() for song in songs] == expected


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["music/*.xyz"], r"no file matches 'music/\*.xyz'"),
        (["-", "-"], "can be read only once"),
        (["empty"], "empty holds no audio files"),
        (["music/out"], "and the output folder"),
    ],
)
def test_what_names_no_songs(tree, arguments, match):
    Path("empty").mkdir()
    with pytest.raises(UsageError, match=match):
        find_songs(arguments, Path("music/../music/out"))


def test_a_folder_that_cannot_be_read_is_an_error(tree, monkeypatch):
    monkeypatch.setattr(os, "scandir", Mock(side_effect=PermissionError))
    with pytest.raises(PermissionError):
        find_songs(["music"], Path("out"))


def test_stdin_is_kept_in_a_file(tmp_path, small_disk):
    (song, file), _ = find_songs(["-", "./-"], None)
    assert (song.piped, file.piped) == (True, False)
    song = spool(io.BytesIO(b"x" * 3_000_000), tmp_path)
    assert (song.label, song.path.stem, song.path.stat().st_size) == ("-", "stdin", 3_000_000)
    with small_disk(1000), pytest.raises(AudioError, match="-: cannot store the standard input"):
        spool(io.BytesIO(b"x" * 3_000_000), tmp_path)


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
    song = Song(Path("music/Album/song.mp3"), folder="Album")
    parts = {"vocals": ("vocals",)}
    (job,) = plan([song], Path("out"), parts, Options(filename=template), model="tiny")
    assert job.targets == [Path(path)]


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
        ("{artist}.{ext}", "have no fields but {folder}, {track}"),
        ("{}.{ext}", "have no fields but"),
        ("{0}.{ext}", "have no fields but"),
        ("{stem!r}.{ext}", "have no fields but"),
        ("{stem:>9}.{ext}", "have no fields but"),
        ("{stem.__class__}.{ext}", "have no fields but"),
        ("{stem[0]}.{ext}", "have no fields but"),
        ("{stem.{ext}", "--filename"),
        ("../{stem}.{ext}", "must stay below"),
        ("a/../../{stem}.{ext}", "must stay below"),
        ("a\\..\\{stem}.{ext}", "must stay below"),
        ("/tmp/{stem}.{ext}", "must stay below"),
        ("C:{stem}.{ext}", "must stay below"),
        ("{track}\\{stem}.{ext}", "separate folders with /"),
        ("a\0{stem}.{ext}", "must stay below"),
    ],
)
def test_templates_that_are_refused(template, match):
    with pytest.raises(UsageError, match=match):
        Options(filename=template)


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


def test_a_song_that_names_no_folder_is_refused():
    with pytest.raises(UsageError, match="Rename the song"):
        plan([Song(Path("...wav"))], Path("out"), PARTS)


@pytest.mark.parametrize(
    ("songs", "out", "references"),
    [
        (["vocals/vocals.wav"], ".", {}),
        (["song.wav"], "out", {"vocals": Path("out/song/vocals.wav")}),
        (["linked.wav"], "out", {}),  # the same file as out/linked/bass.wav
    ],
)
def test_results_never_replace_what_is_read(tmp_path, monkeypatch, songs, out, references):
    monkeypatch.chdir(tmp_path)
    Path("out/linked").mkdir(parents=True)
    Path("linked.wav").write_bytes(b"x")
    os.link("linked.wav", "out/linked/bass.wav")
    with pytest.raises(
        UsageError, match=r"(vocals|bass).wav is an input file and would be replaced"
    ):
        plan(
            [Song(Path(song).resolve()) for song in songs], Path(out), PARTS, references=references
        )


def test_references_belong_to_one_song():
    with pytest.raises(UsageError, match="--reference needs exactly one song; received 2 songs"):
        plan([Song(Path("a"))] * 2, Path("out"), PARTS, references={"vocals": Path("v.wav")})
