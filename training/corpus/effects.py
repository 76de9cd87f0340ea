"""Studio effects with random settings over a wide range."""

from collections.abc import Callable
from typing import Any

import numpy as np

from training.corpus.dsp import (
    BLOCK,
    SAMPLE_RATE,
    Audio,
    Rng,
    add,
    block_peaks,
    chance,
    envelope,
    gain,
    level,
    log_uniform,
    pass_filter,
    peak,
    pick,
    shelf,
    stretch,
)

NOMINAL = 0.1  # RMS for which compressors and drives are designed

# Of stems that keep their highs: tilt in dB and high in Hz.
BRIGHT_TILT, BRIGHT_END = (-4.0, 6.0), (4000.0, 12000.0)


# The effects on each source. tone: largest change of an equalizer in dB; lows: range of the change
# of low frequencies in dB; tilt: range of the change in dB above a corner; corner: its range in Hz;
# low, high: ranges in Hz of a high-pass and a low-pass filter; wet: largest level of reverb as a
# factor of the dry sound; width: range of the factor of the side signal. The others are shares of
# stems: compressed, overdriven, with reverb (space), echo or chorus, mono, bright (high frequencies
# are kept), and with a growl (which keeps them, too).
# The values were chosen so that spectra, crest factors and widths cover those of real rock and pop.
HABITS: dict[str, dict[str, Any]] = {
    "bass": dict(
        tone=6, lows=(-3, 6), tilt=(-20, 0), corner=(130, 500), low=(25, 50), high=(300, 5000),
        compress=0.85, drive=0.3, space=0.3, wet=0.06, echo=0, chorus=0.12, width=(0, 1), mono=0.4,
        bright=0.25, growl=0.2,
    ),
    "drums": dict(
        tone=6, lows=(-4, 9), tilt=(-9, 2), corner=(1500, 8000), low=(25, 60), high=(7000, 18000),
        compress=0.6, drive=0.25, space=0.7, wet=0.35, echo=0.02, chorus=0, width=(0.3, 1.5),
        mono=0.07, bright=0, growl=0,
    ),
    "other": dict(
        tone=6, lows=(-6, 6), tilt=(-4, 4), corner=(1000, 6000), low=(40, 180),
        high=(4500, 17000), compress=0.5, drive=0.15, space=0.7, wet=0.5, echo=0.2, chorus=0.25,
        width=(0.5, 2), mono=0.08, bright=0, growl=0,
    ),
    "vocals": dict(
        tone=6, lows=(-6, 4), tilt=(-2, 11), corner=(5000, 10000), low=(60, 160),
        high=(7000, 18000), compress=0.9, drive=0.12, space=0.8, wet=0.4, echo=0.3, chorus=0.1,
        width=(0.5, 1.5), mono=0.12, bright=0, growl=0,
    ),
}  # fmt: skip


def treat(rng: Rng, audio: Audio, source: str, beat: float) -> Audio:
    """Treat one stem: tone, dynamics, drive, chorus, echo, reverb, width.

    Args:
        rng: Chooses all settings.
        audio: (num_samples, 2) float32; silence is returned unchanged.
        source: "bass", "drums", "other" or "vocals", which selects the `HABITS`.
        beat: Seconds of a beat, for echoes in time.
    """
    loudness = level(audio)
    if loudness == 0:
        return audio
    habits = HABITS[source]
    audio = audio * np.float32(NOMINAL / loudness)
    growls = chance(rng, habits["growl"])
    if growls:
        audio = growl(rng, audio, beat)
    if chance(rng, habits["bright"]) or growls:
        habits = habits | {"tilt": BRIGHT_TILT, "high": BRIGHT_END}
    tone = habits["tone"]
    audio = shelf(audio, log_uniform(rng, 80, 300), rng.uniform(*habits["lows"]), high=False)
    audio = shelf(audio, log_uniform(rng, 2000, 9000), rng.uniform(-tone, tone), high=True)
    audio = shelf(
        audio, log_uniform(rng, *habits["corner"]), rng.uniform(*habits["tilt"]), high=True
    )
    for _ in range(int(rng.integers(3))):
        q = log_uniform(rng, 0.5, 3)
        audio = peak(audio, log_uniform(rng, 100, 7000), rng.uniform(-tone, tone), q)
    if chance(rng, 0.6):
        audio = pass_filter(audio, log_uniform(rng, *habits["low"]), high=True)
    if chance(rng, 0.6):
        audio = pass_filter(audio, log_uniform(rng, *habits["high"]), high=False)
    if chance(rng, habits["compress"]):
        audio = compress(rng, audio)
    if chance(rng, habits["drive"]):
        audio = drive(rng, audio, log_uniform(rng, 1, 8))
    if chance(rng, habits["chorus"]):
        audio = chorus(rng, audio)
    if chance(rng, habits["echo"]):
        audio = echo(rng, audio, beat)
    if chance(rng, habits["space"]):
        audio = reverb(rng, audio, log_uniform(rng, 0.02, habits["wet"]))
    return widen(audio, 0.0 if chance(rng, habits["mono"]) else rng.uniform(*habits["width"]))


def compress(rng: Rng, audio: Audio) -> Audio:
    """Reduce the level above a threshold."""
    smooth = envelope(audio, log_uniform(rng, 0.001, 0.04), log_uniform(rng, 0.05, 0.5))
    threshold = NOMINAL * gain(rng.uniform(-8, 6))
    power = 1 - 1 / log_uniform(rng, 1.5, 10)
    curve = np.minimum(1, (threshold / np.maximum(smooth, 1e-9)) ** power)
    return audio * stretch(curve, len(audio))[:, None]


def drive(rng: Rng, audio: Audio, amount: float) -> Audio:
    """Overdrive with a soft or hard curve, symmetric or not, mixed with the clean sound."""
    # not oversampled: with these amounts, the filter behind it hides the aliasing
    hot = audio * np.float32(amount / NOMINAL / 4) + np.float32(pick(rng, [0, 0, 0.2]))
    curves: tuple[Callable[[Audio], Audio], ...] = (
        np.tanh,
        lambda x: np.clip(x, -0.8, 0.8),
        lambda x: x / (1 + np.abs(x)),
    )
    shaped = pass_filter(pick(rng, curves)(hot), 25, high=True, order=1)
    shaped *= np.float32(level(audio) / max(level(shaped), 1e-9))
    clean = np.float32(pick(rng, [0, 0, rng.uniform(0, 0.8)]))
    return shaped * (1 - clean) + audio * clean


def growl(rng: Rng, audio: Audio, beat: float) -> Audio:
    """Overdrive, then a filter that opens and closes in time with the music.

    The middle frequencies of such a bass are as loud as its low ones. A network that was not
    trained on one takes it for a voice.
    """
    hot = drive(rng, audio, log_uniform(rng, 8, 60))
    hot = shelf(hot, log_uniform(rng, 200, 600), rng.uniform(6, 20), high=True)
    closed = pass_filter(hot, log_uniform(rng, 200, 700), high=False)
    opened = peak(hot, log_uniform(rng, 400, 2200), rng.uniform(3, 15), log_uniform(rng, 0.8, 5))
    opened = pass_filter(opened, log_uniform(rng, 1500, 6000), high=False)
    period = pick(rng, [0.25, 1 / 3, 0.5, 1, 2, 4]) * beat * SAMPLE_RATE
    turns = np.arange(len(audio)) / period + rng.random()
    share = 0.5 + 0.5 * rng.uniform(0.2, 1) * np.sin(2 * np.pi * turns)
    shaped = closed + (opened - closed) * share.astype(np.float32)[:, None]
    return shaped * np.float32(level(audio) / max(level(shaped), 1e-9))


def amplifier(rng: Rng, audio: Audio, amount: float) -> Audio:
    """Simulate a guitar amplifier: overdrive between two equalizers, then a loudspeaker."""
    loudness = level(audio)
    audio = pass_filter(audio, log_uniform(rng, 60, 180), high=True)
    audio = peak(audio, log_uniform(rng, 500, 1500), rng.uniform(0, 9), 0.7)
    audio = drive(rng, audio * np.float32(NOMINAL / max(level(audio), 1e-9)), amount)
    audio = peak(audio, log_uniform(rng, 300, 1000), rng.uniform(-10, 3), 0.8)
    audio = peak(audio, log_uniform(rng, 1800, 4000), rng.uniform(-3, 6), 1.0)
    audio = pass_filter(audio, log_uniform(rng, 3500, 7500), high=False, order=4)
    return audio * np.float32(loudness / max(level(audio), 1e-9))


def chorus(rng: Rng, audio: Audio, depth: float = 0.003) -> Audio:
    """Add a copy with a varying delay, and so a varying pitch; left and right differ."""
    num_samples = len(audio)
    time = np.arange(num_samples) / SAMPLE_RATE
    rate, base = log_uniform(rng, 0.1, 3), rng.uniform(0.005, 0.03)
    depth = depth * min(1.0, 0.5 / rate)
    copies = np.empty_like(audio)
    for side, phase in enumerate((0.0, rng.uniform(0, np.pi))):
        delay = base + depth * np.sin(2 * np.pi * rate * time + phase)
        where = np.arange(num_samples) - delay * SAMPLE_RATE
        copies[:, side] = np.interp(where, np.arange(num_samples), audio[:, side], left=0)
    return audio + copies * np.float32(rng.uniform(0.2, 0.8))


def echo(rng: Rng, audio: Audio, beat: float) -> Audio:
    """Add echoes in time with the music, each duller and quieter; they may alternate sides."""
    delay = round(pick(rng, [0.25, 0.5, 0.75, 1, rng.uniform(0.1, 0.3)]) * beat * SAMPLE_RATE)
    total, repeat = audio.copy(), audio
    feedback, factor = rng.uniform(0.15, 0.5), gain(rng.uniform(-22, -9))
    swap = chance(rng, 0.5)
    for number in range(1, 5):
        repeat = pass_filter(repeat, log_uniform(rng, 2500, 8000), high=False, order=1)
        repeat = repeat[:, ::-1] if swap else repeat
        add(total, repeat * np.float32(factor), number * delay)
        factor *= feedback
        if factor < gain(-40):
            break
    return total


def reverb(rng: Rng, audio: Audio, wet: float) -> Audio:
    """Add a room with a gap, early reflections and a decaying tail, different in each channel."""
    from scipy import signal

    response = room(rng, log_uniform(rng, 0.15, 3))
    source = pass_filter(audio, log_uniform(rng, 60, 400), high=True)
    tails = signal.oaconvolve(source, response, axes=0)[: len(audio)]
    return np.asarray(audio + tails * np.float32(wet), np.float32)


def room(rng: Rng, decay: float) -> Audio:
    """Return the impulse response of a room, with unit energy per channel.

    Args:
        rng: Chooses the room.
        decay: Seconds in which it decays by 60 dB.

    Returns:
        (num_samples, 2) float32.
    """
    count = round(decay * SAMPLE_RATE)
    tail = rng.standard_normal((count, 2)) * np.exp(-6.9 * np.arange(count) / count)[:, None]
    bright = pass_filter(tail, log_uniform(rng, 2000, 12000), high=False, order=1)
    late = pass_filter(tail, log_uniform(rng, 800, 4000), high=False, order=1)
    blend = np.linspace(0, 1, count)[:, None]  # the highs die first
    response = np.float32(1 - blend) * bright + np.float32(blend) * late
    gap = round(rng.uniform(0, 0.06) * SAMPLE_RATE)
    response = np.pad(response, ((gap, 0), (0, 0)))
    for _ in range(int(rng.integers(12))):
        place = gap // 2 + int(rng.integers(1, max(2, min(count, round(0.05 * SAMPLE_RATE)))))
        response[min(place, len(response) - 1)] += rng.normal(0, 2, 2)
    width = rng.uniform(0, 1)
    response = widen(response, width)
    return np.asarray(response / np.sqrt((response**2).sum() / 2 + 1e-12), np.float32)


def widen(audio: Audio, factor: float) -> Audio:
    """Scale the difference between left and right; 0 gives mono."""
    middle = audio.mean(1, keepdims=True, dtype=np.float32)
    return np.asarray(middle + (audio - middle) * np.float32(factor))


def limiter_curve(audio: Audio, ceiling: float) -> Audio:
    """Return the gain over time that keeps the amplitude of `audio` at or below a ceiling.

    If it is applied to all stems, their sum is limited.

    Args:
        audio: (num_samples, 2).
        ceiling: Largest amplitude allowed.

    Returns:
        One gain per sample, in (0, 1].
    """
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    needed = np.minimum(1, ceiling / np.maximum(block_peaks(audio), 1e-9))
    width = 2 * round(0.008 * SAMPLE_RATE / BLOCK) + 1
    # one block more than the average takes: the line between two centers crosses a border
    lowest = minimum_filter1d(needed, width + 2, mode="nearest")
    return stretch(uniform_filter1d(lowest, width, mode="nearest"), len(audio))
