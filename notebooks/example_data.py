"""Data for the notebooks: the example song in the forms of data sets.

Each function writes a tree into a folder and returns it. Use your own data in its place.
"""

from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
EXAMPLE = Path("../edge/example")  # 20 s with its four stems, CC0
SOURCES = ("bass", "drums", "other", "vocals")
Signals = dict[str, np.ndarray]


def read_stems() -> Signals:
    """Return the stems of the example song, (num_samples, 2) each, int16."""
    return {s: soundfile.read(EXAMPLE / f"{s}.flac", dtype="int16")[0] for s in SOURCES}


def remix(part: slice, number: int) -> Signals:
    """Return the stems of a part of the example, shifted against each other."""
    stems = read_stems().items()
    return {s: np.roll(x[part], number * k * 67_000, axis=0) for k, (s, x) in enumerate(stems, 1)}


def write(folder: Path, signals: Signals) -> None:
    """Write the signals of a song into its folder."""
    folder.mkdir(parents=True)
    for name, audio in signals.items():
        soundfile.write(folder / f"{name}.wav", audio, RATE)


def make_music(root: Path) -> Path:
    """Write three remixes of the whole example, to calibrate on."""
    for number in range(3):
        write(root / f"remix {number}", remix(slice(None), number))
    return root


def make_songs(root: Path) -> Path:
    """Write train/SONG/SOURCE.wav and valid/SONG/SOURCE.wav; a song of train has a short bass."""
    for number in range(2):
        write(root / "train" / f"song {number}", remix(slice(15 * RATE), number))
    uneven = {s: x[: (9 if s == "bass" else 10) * RATE] for s, x in read_stems().items()}
    write(root / "train" / "song 2", uneven)
    write(root / "valid" / "song 0", remix(slice(15 * RATE, None), 0))
    return root


def make_musdb18(root: Path) -> Path:
    """Write a MUSDB18 tree: parts of 5 s of the example under names of MUSDB18's songs."""
    import av

    names = ("train/A Classic Education - NightOwl", "train/Music Delta - Hendrix",
             "train/Leaf - Summerghost", "test/AM Contra - Heart Peripheral")  # fmt: skip
    for number, name in enumerate(names):
        path = root / f"{name}.stem.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        stems = remix(slice(5 * number * RATE, 5 * (number + 1) * RATE), 0)
        signals = [mix(stems), *(stems[s] for s in ("drums", "bass", "other", "vocals"))]
        with av.open(str(path), "w", format="mp4") as container:
            streams = [container.add_stream("aac", rate=RATE, layout="stereo") for _ in signals]
            for stream, signal in zip(streams, signals, strict=True):
                frame = av.AudioFrame.from_ndarray(signal.reshape(1, -1), "s16", "stereo")
                frame.sample_rate, frame.pts = RATE, 0
                container.mux([*stream.encode(frame), *stream.encode(None)])
    return root


def make_dsd100(root: Path) -> Path:
    """Write a DSD100 tree: eight parts of 4 s of the example, remixed."""
    for number in range(1, 9):
        stems = remix(slice(2 * (number - 1) * RATE, 2 * (number + 1) * RATE), number)
        name = f"{number:03d} - Nobody - Song"
        write(root / "Sources" / "Dev" / name, stems)
        write(root / "Mixtures" / "Dev" / name, {"mixture": mix(stems)})
    return root


def mix(stems: Signals) -> np.ndarray:
    """Return the sum of stems."""
    return np.sum(list(stems.values()), axis=0).clip(-32768, 32767).astype(np.int16)


def sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Return the signal-to-distortion ratio of an estimate in dB."""
    return 10 * np.log10((reference**2).sum() / ((reference - estimate) ** 2).sum())
