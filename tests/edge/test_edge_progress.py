"""The line that shows how far a song is."""

from __future__ import annotations

import io

from mmdense_edge.progress import Progress


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_rewrites_its_line():
    times = iter([0.0, 0.1, 1.0, 1.1, 2.0])
    stream = Terminal()
    progress = Progress("a\nb.wav", 441000, 44100, stream, lambda: next(times))
    for done in (1, 44100, 50000, 88200):
        progress(done)
    progress.close()
    lines = stream.getvalue().split("\r\x1b[K")
    assert lines == [
        "",
        "a\\nb.wav:  10%, real-time factor 1.000, 0:09 left",
        "a\\nb.wav:  20%, real-time factor 1.000, 0:08 left",
        "",
    ]


def test_progress_elsewhere_is_plain_and_sparse():
    times = iter([0.0, 5.0, 12.0, 13.0, 30.0])
    stream = io.StringIO()
    progress = Progress("a.wav", 100, 10, stream, lambda: next(times))
    for done in (10, 20, 30, 200):
        progress(done)
    progress.close()
    assert stream.getvalue().splitlines() == [
        "a.wav:  20%, real-time factor 6.000, 0:48 left",
        "a.wav: 100%, real-time factor 1.500, 0:00 left",
    ]


def test_a_song_of_unknown_length_shows_what_is_done():
    times = iter([0.0, 20.0])
    stream = io.StringIO()
    Progress("a.aac", 0, 44100, stream, lambda: next(times))(75 * 44100)
    assert stream.getvalue() == "a.aac: 1:15 done, real-time factor 0.267\n"
