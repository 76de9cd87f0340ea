"""Tiny generated material for the renderer: notes, strokes, takes, loops and songs, seeded."""

import json

import numpy as np
import soundfile as sf

RATE = 44100
USE = "patterns,samples,takes"


def tone(hertz, seconds=0.6, rate=RATE, harmonics=4, decay=2.0):
    """A decaying tone, mono float32."""
    time = np.arange(round(seconds * rate)) / rate
    waves = [np.sin(2 * np.pi * hertz * h * time) / h for h in range(1, harmonics + 1)]
    return (0.3 * np.exp(-decay * time) * np.sum(waves, axis=0)).astype(np.float32)


def hertz_of(pitch):
    return 440 * 2 ** ((pitch - 69) / 12)


def loudest_hertz(audio, rate=RATE):
    """The strongest frequency of mono audio."""
    powers = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    return float(np.fft.rfftfreq(len(audio), 1 / rate)[powers.argmax()])


def describe(folder, use, source, **more):
    """Write a folder's material.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"use": use, "source": source, "license": "CC0-1.0", "credit": f"by {folder.name}"}
    lines = [f"{key} = {json.dumps(value)}" for key, value in {**facts, **more}.items()]
    (folder / "material.toml").write_text("\n".join(lines).replace(": ", " = ") + "\n", "utf-8")
    return folder


def make_notes(folder, source="bass", pitches=(40, 52), levels=(0.2, 1.0), **more):
    """Single notes, each at some levels, with index.csv."""
    describe(folder, "notes", source, **more)
    rows = ["file,midi"]
    for pitch in pitches:
        for k, level in enumerate(levels):
            name = f"note_{pitch}_v{k}.wav"
            sf.write(folder / name, level * tone(hertz_of(pitch)), RATE)
            rows.append(f"{name},{pitch}")
    (folder / "index.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return folder


def make_hits(folder, **more):
    """Bursts of noise, dull to bright."""
    describe(folder, "hits", "drums", **more)
    rng = np.random.default_rng(3)
    for k in range(7):
        noise = rng.uniform(-1, 1, 4410) * np.exp(-np.arange(4410) / 900)
        width = 2 ** (6 - k)
        dull = np.convolve(noise, np.ones(width) / width, "same")
        sf.write(folder / f"hit_{k}.wav", 0.5 * dull / np.abs(dull).max(), RATE)
    return folder


def make_takes(folder, source="vocals", seconds=3.0, **more):
    """Two recordings: tones in a row, stereo, with silence around."""
    describe(folder, "takes", source, **more)
    for k in range(2):
        notes = [tone(hertz_of(57 + k + step), seconds / 5, decay=0.5) for step in (0, 3, 7)]
        audio = np.pad(np.concatenate(notes), (4000, 4000))
        sf.write(folder / f"take{k}.flac", np.stack([audio, 0.8 * audio], 1), RATE)
    return folder


def make_bands(folder, seconds=6.0):
    """A band in one file, and one in two: noise left and a chord of A minor right."""
    describe(folder, "bands", "other", sets=["*.wav", "tracks"])
    (folder / "tracks").mkdir()
    noise = 0.1 * np.random.default_rng(5).standard_normal(round(seconds * RATE))
    chord = sum(tone(hertz_of(pitch), seconds, decay=0.0) for pitch in (57, 60, 64)) / 4
    silent = np.zeros_like(chord)
    sf.write(folder / "whole.wav", np.stack([noise, chord], 1), RATE)
    sf.write(folder / "tracks" / "drums.wav", np.stack([noise, silent], 1), RATE)
    sf.write(folder / "tracks" / "guitar.wav", np.stack([silent, chord], 1), RATE)
    return folder


def make_material(root):
    """All that two songs need without any program."""
    make_notes(root / "bassy")
    make_notes(root / "guitars", "other", (48, 60, 72))
    make_hits(root / "kit", share_alike=True)
    make_takes(root / "singer")
    make_takes(root / "strummer", "other")
    return root
