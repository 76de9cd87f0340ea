"""The gains of stems: named mixes, mixes given as text, click-free changes."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from mmdense_edge.errors import refuse_if
from mmdense_edge.signal.chain import RESIDUAL
from mmdense_edge.signal.stft import Audio

MAX_GAIN = 4.0
RAMP_SECONDS = 0.02
RESERVED_KEYS = "q "

# Each named mix with the stem that it concerns: muted (False), or solo (True).
PRESETS: dict[str, tuple[str | None, bool]] = {
    "all": (None, False),
    "karaoke": ("vocals", False),
    "drumless": ("drums", False),
    "bassless": ("bass", False),
    "acapella": ("vocals", True),
    "drums-only": ("drums", True),
    "bass-only": ("bass", True),
}

_NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(dB)?", re.IGNORECASE)


def parse_mix(text: str, sources: Sequence[str]) -> dict[str, float]:
    """Return the gains of a mix.

    Args:
        text: A preset (all, karaoke, drumless, bassless, acapella, drums-only, bass-only), or gains
            of stems as in "vocals=0,drums=-6dB": factors from 0 to 4, or decibels up to +12 dB.
            Stems that are not named keep the gain 1. "residual" is what is in no stem; with all
            gains at 1 the result is the mixture.
        sources: The model's sources.

    Returns:
        The factor of each source and of "residual".

    Raises:
        UsageError: No such preset or stem, a stem twice, or a gain out of range.

    Example:
        >>> parse_mix("vocals=0, drums=-6dB", ["vocals", "drums"])
        {'vocals': 0.0, 'drums': 0.501..., 'residual': 1.0}
    """
    stems = (*sources, RESIDUAL)
    if "=" not in text:
        name = text.strip()
        refuse_if(
            name not in PRESETS,
            f"--mix must be one of {', '.join(PRESETS)}, or gains like vocals=0,drums=-6dB; "
            f"received {name!r}",
        )
        about, alone = PRESETS[name]
        refuse_if(
            about not in (None, *stems),
            f"the mix {name!r} needs the stem {about!r}; received a model with {', '.join(stems)}",
        )
        return {stem: float((stem == about) == alone) for stem in stems}
    gains: dict[str, float] = {}
    for part in text.split(","):
        stem, _, gain = (piece.strip() for piece in part.partition("="))
        refuse_if(
            stem not in stems or stem in gains,
            f"--mix must name each stem once, out of {', '.join(stems)}; received {part.strip()!r}",
        )
        gains[stem] = parse_gain(gain)
    return {stem: gains.get(stem, 1.0) for stem in stems}


def parse_gain(text: str) -> float:
    """Return a gain as a factor.

    Args:
        text: A factor from 0 to 4, or decibels with "dB" up to +12, for example "-6dB".

    Raises:
        UsageError: The text is neither.

    Example:
        >>> parse_gain("0.5"), parse_gain("0dB")
        (0.5, 1.0)
    """
    match = _NUMBER.fullmatch(text)
    value = float(match[1]) if match else math.nan
    if match and match[2]:
        value = 10 ** (min(value, 1000.0) / 20)
    refuse_if(
        not 0 <= value <= MAX_GAIN,
        f"a gain must be from 0 to {MAX_GAIN:g}, or up to +12dB; received {text!r}",
    )
    return value


def keys_of(stems: Sequence[str]) -> dict[str, str]:
    """Return the key that toggles each stem: the first letter of its name that is still free.

    Example:
        >>> keys_of(["bass", "drums", "other", "vocals"])
        {'b': 'bass', 'd': 'drums', 'o': 'other', 'v': 'vocals'}
    """
    keys: dict[str, str] = {}
    for stem in stems:
        free = [key for key in stem.lower() if key.isalpha() and key not in (*keys, *RESERVED_KEYS)]
        if free:
            keys[free[0]] = stem
    return keys


class Mixer:
    """The gain of each stem, and its ramp to a new one.

    Gains change linearly, by 1 in 20 ms, so that no click is heard.

    Args:
        gains: The factor of each stem, from `parse_mix`.
        sample_rate: In Hz.

    Example:
        >>> mixer = Mixer({"vocals": 1.0, "residual": 1.0}, sample_rate=44100)
        >>> mixer.toggle("vocals")
        >>> mixer.gains
        {'vocals': 0.0, 'residual': 1.0}
    """

    def __init__(self, gains: Mapping[str, float], sample_rate: int) -> None:
        self.stems = tuple(gains)
        self.gains = dict(gains)
        self._restored = {stem: gain or 1.0 for stem, gain in gains.items()}
        self._now = np.array([*gains.values()], np.float32)
        self._slope = 1 / max(1.0, RAMP_SECONDS * sample_rate)

    def set(self, gains: Mapping[str, float]) -> None:
        """Set new gains for some stems."""
        # One assignment: the audio callback never sees half of a mix.
        self.gains = {**self.gains, **gains}
        self._restored.update({stem: gain for stem, gain in gains.items() if gain})

    def toggle(self, stem: str) -> None:
        """Mute a stem, or restore its gain."""
        self.set({stem: 0.0 if self.gains[stem] else self._restored[stem]})

    def ramp(self, num_samples: int) -> Audio:
        """Return the gains of the next samples, shape (num_samples, stems)."""
        target = np.array([self.gains[stem] for stem in self.stems], np.float32)
        reach = (np.arange(1, num_samples + 1) * self._slope)[:, None]
        gains = self._now + np.clip(target - self._now, -reach, reach)
        if num_samples:
            self._now = gains[-1].astype(np.float32)
        return np.asarray(gains, np.float32)

    def mix(self, stems: Audio) -> Audio:
        """Return the sum of the stems at their gains.

        Args:
            stems: Shape (samples, stems, channels).

        Returns:
            Shape (samples, channels).
        """
        mixed: Audio = np.einsum("ns,nsc->nc", self.ramp(len(stems)), stems)
        return mixed

    def describe(self) -> str:
        """Return the gains as a line, in the form that `parse_mix` takes."""
        return ",".join(f"{stem}={gain:.3g}" for stem, gain in self.gains.items())
