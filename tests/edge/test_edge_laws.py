"""The laws of file-to-file separation, over lengths, rates, channels, depths and block sizes.

The length is exact; stems and residual are the mixture to one step of the output depth; a stream
in any blocks is the whole track; a file is what the Python call gives, rounded. And of the
command: whatever its words, it ends in a result or in one line, and changes no file that is there.
"""

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mmdense_edge.audio import reading
from mmdense_edge.audio.mixture_sum import choose
from mmdense_edge.cli.main import main
from mmdense_edge.separate.files import separate_file
from mmdense_edge.separate.inputs import Song
from mmdense_edge.separate.jobs import Options, plan

LENGTHS = st.one_of(
    st.integers(1, 400),
    st.integers(1, 12000),
    st.sampled_from([1, 2, 95, 96, 97, 767, 768, 769, 1023, 1024, 1025, 8192, 16384, 16385]),
)
RATES = st.sampled_from([8000, 11025, 16000, 22050, 44099, 44100, 48000, 96000, 192000])
CHANNELS = st.sampled_from([1, 1, 2, 2, 2, 3, 5, 6, 8])
BITS = {"16": 16, "24": 24}

examples = settings(max_examples=25, deadline=None)


def generated(seed: int, num_samples: int, channels: int, level: float) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.clip(generator.normal(0, level, (num_samples, channels)), -1, 1 - 2**-23)


def run(separator, folder: Path, song: Path, parts, options: Options) -> dict[str, Path]:
    (job,) = plan([Song(song)], folder / "out", parts, options)
    report = separate_file(separator, job)
    return {stem.source: Path(stem.file) for stem in report.stems}


def steps(path: Path, bits: int) -> np.ndarray:
    """Returns a file's samples as whole steps."""
    return sf.read(path, dtype="int32", always_2d=True)[0].astype(np.int64) >> (32 - bits)


@examples
@given(
    model=st.sampled_from(["mono", "mono", "magnitudes"]),
    num_samples=LENGTHS,
    rate=RATES,
    channels=CHANNELS,
    bit_depth=st.sampled_from(list(BITS)),
    file_format=st.sampled_from(["wav", "flac"]),
    way=st.sampled_from(["residual", "sum_to_mixture", "two_stems"]),
    level=st.sampled_from([1e-3, 0.1, 0.4]),
    block=st.sampled_from([7, 333, 4096, 65536]),
    seed=st.integers(0, 999),
)
def test_stems_are_as_long_as_the_song_and_add_up_to_it(
    separators, model, num_samples, rate, channels, bit_depth, file_format, way, level, block, seed
):
    separator, bits = separators[model], BITS[bit_depth]
    options = Options(
        file_format=file_format, bit_depth=bit_depth, sum_to_mixture=way == "sum_to_mixture"
    )
    parts = choose(
        separator.sources,
        separator.sources,
        residual=way == "residual",
        two_stems=separator.sources[0] if way == "two_stems" else None,
        sum_to_mixture=way == "sum_to_mixture",
    )
    whole, reading.BLOCK = reading.BLOCK, max(block, num_samples // 500)
    try:
        with tempfile.TemporaryDirectory() as name:
            song = Path(name) / "song.wav"
            samples = generated(seed, num_samples, channels, level)
            sf.write(song, samples, rate, subtype=f"PCM_{bit_depth}")
            stems = run(separator, Path(name), song, parts, options)
            total = np.zeros((num_samples, channels), np.int64)
            for path in stems.values():
                info = sf.info(path)
                assert (info.samplerate, info.channels, info.frames) == (
                    rate,
                    channels,
                    num_samples,
                )
                total += steps(path, bits)
            assert np.abs(total - steps(song, bits)).max() <= 1
    finally:
        reading.BLOCK = whole


@examples
@given(
    model=st.sampled_from(["mono", "shares", "causal"]),
    sizes=st.lists(st.integers(0, 9000), max_size=8),
    num_samples=LENGTHS,
    rate=RATES,
    channels=CHANNELS,
    options=st.fixed_dictionaries({"residual": st.booleans(), "wiener": st.integers(0, 2)}),
    seed=st.integers(0, 999),
)
def test_a_stream_in_any_blocks_is_the_whole_track(
    separators, model, num_samples, rate, channels, sizes, options, seed
):
    samples = generated(seed, num_samples, channels, 0.2).astype(np.float32)
    blocks = np.split(samples, np.minimum(np.cumsum(sizes, dtype=int), num_samples))
    separator = separators[model]
    parts = list(separator.stream(blocks, rate, channels, **options))
    whole = separator.separate(samples, rate, **options)
    for name, stem in whole.items():
        joined = np.concatenate([part[name] for part in parts])
        assert joined.shape == stem.shape == (num_samples, channels)
        np.testing.assert_allclose(joined, stem, atol=1e-4, rtol=0)
    if options["residual"]:
        total = sum(stem.astype(np.float64) for stem in whole.values())
        np.testing.assert_allclose(total, samples, atol=2**-23, rtol=0)


@settings(max_examples=15, deadline=None)
@given(
    num_samples=LENGTHS,
    rate=RATES,
    channels=CHANNELS,
    bit_depth=st.sampled_from(["16", "24", "32f"]),
    wiener=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_a_file_is_the_python_call_rounded(
    separators, num_samples, rate, channels, bit_depth, wiener, seed
):
    separator = separators["mono"]
    with tempfile.TemporaryDirectory() as name:
        song = Path(name) / "song.wav"
        sf.write(song, generated(seed, num_samples, channels, 0.1), rate, subtype="PCM_24")
        samples = sf.read(song, dtype="float32", always_2d=True)[0]
        parts = choose(separator.sources, separator.sources)
        options = Options(bit_depth=bit_depth, wiener=wiener)
        stems = run(separator, Path(name), song, parts, options)
        for source, expected in separator.separate(samples, rate, wiener=wiener).items():
            written = sf.read(stems[source], always_2d=True)[0]
            step = 2.0 ** (1 - BITS.get(bit_depth, 24))
            assert np.abs(written - np.clip(expected, -1, 1)).max() <= 0.5 * step + 1e-6


# No separators: nothing may be written elsewhere.
WORDS = st.text(st.characters(blacklist_characters="/\\\0", codec="utf-8"), max_size=12)
FILES = ["a.wav", "b.flac", "songs", "none", "text.wav"]
# Of each command: its flags, and known values of its options.
OPTIONS = {
    "separate": {
        "-o": ["out", "out", "out", "-", ".", "a.wav"],
        "--sources": ["speech", "noise", "speech,noise", "mixture"],
        "--two-stems": ["speech", "residual"],
        "--other": ["sum", "residual"],
        "--format": ["wav", "flac", "ogg", "mp3"],
        "--bit-depth": ["16", "24", "32f", "8"],
        "--clip": ["scale", "clamp"],
        "--filename": [
            "{stem}.{ext}",
            "{track} {stem}.{ext}",
            "{trackext}/{stem}.{ext}",
            "{",
            "..",
        ],
        "--threads": ["1", "0"],
        "--wiener": ["1", "-1"],
        "--reference": ["songs", "none"],
        **dict.fromkeys(["--residual", "--sum-to-mixture", "--overwrite", "--allow-truncated"]),
    },
    "live": {
        "--output": ["o.wav", "o.flac", "a.wav", "songs", "none/o.wav", "o.mp3", "card"],
        "--mix": ["all", "karaoke", "speech=0", "noise=-6dB,speech=2", "speech=nan", "=", ","],
        "--seconds": ["0.01", "0", "nan", "inf", "-1", "1e300"],
        "--block": ["64", "16384", "1"],
        "--step-frames": ["4", "8", "3"],
        "--lookahead": ["0", "4", "-4"],
        "--buffer": ["0", "30", "nan", "inf"],
        "--rate": ["44100", "0"],
        "--channels": ["1", "3"],
    },
    "bench": {
        "--threads": ["1", "0", "1,2", ","],
        "--seconds": ["1", "0", "nan", "inf"],
        "--rounds": ["1", "0"],
        "--song": ["a.wav", "none"],
    },
    "models": {},
    "info": {},
    "": {},
}


@st.composite
def command_lines(draw) -> list[str]:
    command = draw(st.sampled_from(list(OPTIONS)))
    options = {**OPTIONS[command], "--quiet": None, "--json": None}
    argv = [command]
    if command == "separate":
        names = st.sampled_from([*FILES, "*.wav", "-", "[z-a]"])
        argv += [
            *draw(st.lists(names, min_size=1, max_size=3) | st.lists(names | WORDS)),
            "-o",
            "out",
        ]
    elif command == "live":
        # The standard streams are those of this process here, and nothing is paced.
        song = draw(st.sampled_from([*FILES, "card"]) | WORDS.filter(lambda word: word != "-"))
        argv += [song, "--output", "null", "--pace", "fast"]
    elif command == "bench":
        argv.append("none")  # no such model: nothing is measured
    else:
        argv += draw(st.lists(WORDS, max_size=2))
    for name in draw(st.lists(st.sampled_from(list(options)), max_size=4)):
        known = options[name]
        argv += [name] if known is None else [name, draw(st.sampled_from(known) | WORDS)]
    return argv


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(argv=command_lines())
@example(argv=["separate", "a.wav", "-o", "out", "--overwrite"])
@example(argv=["separate", "none", "-o", "out"])
@example(argv=["live", "a.wav", "--output", "o.wav", "--pace", "fast"])
@example(argv=["bench", "none"])
def test_any_command_line_ends_in_a_result_or_in_lines(model_path, argv):
    # The model comes last: the default one takes its time.
    model = ["--model", str(model_path("mono"))] if argv[0] in ("separate", "live") else []
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace") for _ in range(3)]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.chdir(name)
        patch.setenv("PATH", "")  # no ffmpeg
        Path("songs").mkdir()
        for song in ("a.wav", "b.flac", "songs/c.wav", "songs/speech.wav"):
            sf.write(song, generated(0, 500, 1, 0.2), 16000)
        Path("text.wav").write_text("text")
        before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
        for stream, instead in zip(("stdin", "stdout", "stderr"), streams, strict=True):
            patch.setattr(sys, stream, instead)
        try:
            code = main([*argv, *model])
        except SystemExit as error:
            code = error.code
        streams[2].flush()
        words = streams[2].buffer.getvalue().decode()
        assert code in (0, 1, 2)
        assert "Traceback" not in words
        assert words.strip() or not code
        assert {path: path.read_bytes() for path in before} == before
        assert not list(Path().rglob(".mmdense-*"))
