"""separate(): separate a song with Keras models, through the runner's signal chain."""

import copy
import math
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np
from mmdense_edge.audio.reading import audio_info, read_blocks
from mmdense_edge.errors import AudioError, ModelError
from mmdense_edge.model.contract import Contract
from mmdense_edge.model.interpreter import Magnitude
from mmdense_edge.separator import Separator, as_audio, as_sample_rate
from mmdense_edge.signal.resampling import resampled_length
from mmdense_edge.signal.stft import Audio
from tqdm import TqdmWarning

from keras_mmdense.data.readers import MIXTURE
from keras_mmdense.data.tracks import Track
from keras_mmdense.errors import require
from keras_mmdense.model import build, build_zeros
from keras_mmdense.normalization import copy_weights, ready
from keras_mmdense.receptive_field import context_frames
from keras_mmdense.results import in_notebook, is_watched
from keras_mmdense.settings import Settings

WINDOW_FRAMES = 256


def separate(
    model: keras.Model | str | PathLike[str] | Sequence[keras.Model | str | PathLike[str]],
    audio: np.ndarray[Any, Any] | str | PathLike[str] | Track | Any,
    sample_rate: int | None = None,
    *,
    residual: bool = False,
    wiener: int = 0,
    window_frames: int | None = WINDOW_FRAMES,
    progress: bool | Callable[[float], None] | None = None,
) -> dict[str, Audio]:
    """Separate a song into the sources of a model.

    The network processes the song in windows. Each has enough context frames on both sides to cover
    the receptive field, and they are discarded, so that the result does not depend on
    `window_frames` and has no seams. Before and after the song the network sees silence. A causal
    model needs context before the window only, and sees nothing before the song. The estimates have
    the mixture's phase. A mono model processes stereo channel by channel; for a stereo model, mono
    is duplicated and the estimates are averaged. With more than two channels, pairs are separated
    together (`mmdense_edge.signal.chain.groups`).

    For audio that does not fit into memory, pass blocks to `Separator.stream`, see `KerasNetwork`.

    Args:
        model: A model of `keras_mmdense.build`, its `.keras` or `.h5` file or the name of a bundled
            model, or several of these with different sources.
        audio: Mixture, (num_samples,) or (num_samples, channels) with 1 to 64 channels, floating
            point, full scale 1. It is not changed. Or the path of an audio file, of any format
            that `mmdense separate` reads; it is used as (num_samples, channels). Or a track of
            `keras_mmdense.data.open_dataset` or of musdb, whose mixture is separated.
        sample_rate: Its rate in Hz, 1000 to 768000; not for a file or a track, which have their
            own. If the model has another rate, the mixture is resampled, and the sources are
            resampled back.
        residual: Add "residual", the mixture minus the sum of all sources, so that the stems add up
            to the mixture.
        wiener: Iterations of the multichannel Wiener filter over the estimates of all models,
            0 (none) to 10; see `mmdense_edge.signal.wiener`.
        window_frames: Frames per window that are kept; None for the whole song at once.
        progress: True for a progress bar in seconds of music, False for none; by default there is
            one on a terminal and in a notebook. Or a function, called with the fraction done,
            0 to 1; an exception from it ends the separation.

    Returns:
        Source name to float32 array of the shape of `audio`.

    Raises:
        AudioError: The shape, type or rate is wrong, values are not finite, or the file cannot be
            read to its end.
        SettingsError: A file is no model, the models do not fit together, `window_frames` is below
            1, or `progress` is none of these.
        UsageError: `wiener` is out of range.
        ModelError: A model returns NaN or infinity.

    Example:
        >>> import keras_mmdense, numpy as np
        >>> model = keras_mmdense.build("mdensenet")
        >>> stems = keras_mmdense.separate(model, np.zeros((22050, 2), "float32"), 44100)
        >>> stems["vocals"].shape
        (22050, 2)

        From a model file and a song's file:

        >>> stems = keras_mmdense.separate("vocals.keras", "song.wav")  # doctest: +SKIP

    Source: arXiv 1706.09588, section 3; magnitude estimates with the mixture's phase.
    """
    require(
        progress is None or isinstance(progress, bool) or callable(progress),
        "progress must be True, False, None or a function of the fraction done",
        progress,
        "Leave it out.",
    )
    track: Any = audio if isinstance(audio, Track) or hasattr(audio, "stems") else None
    require(
        sample_rate is None or (track is None and not isinstance(audio, str | PathLike)),
        "the sample rate of a file or a track is its own",
        sample_rate,
        "Leave it out.",
        AudioError,
    )
    if isinstance(track, Track):
        audio, sample_rate = track.read(MIXTURE), track.sample_rate
    elif track is not None:  # of musdb; its sample_rate is the one that it resamples to
        audio, sample_rate = track.audio, track.sample_rate or track.rate
    elif isinstance(audio, str | PathLike):
        info = audio_info(Path(audio))
        audio = np.concatenate(
            [np.zeros((0, info.channels), np.float32), *read_blocks(Path(audio))]
        )
        sample_rate = info.sample_rate
    audio, rate = as_audio(audio), as_sample_rate(sample_rate)
    given = [model] if isinstance(model, str) or not isinstance(model, Sequence) else model
    models = [build(weights=one) if isinstance(one, str | PathLike) else one for one in given]
    s = _common_settings(models)[0]
    num_frames = s.transform.num_frames(resampled_length(len(audio), rate, s.sample_rate))
    window = num_frames if window_frames is None else min(window_frames, num_frames)
    with warnings.catch_warnings():  # in a notebook without ipywidgets
        warnings.simplefilter("ignore", TqdmWarning)
        from tqdm.auto import tqdm
    with tqdm(
        total=round(len(audio) / rate) or None, desc="separating", unit=" s", leave=False,
        file=sys.stdout if in_notebook() else None, dynamic_ncols=True,
        disable=not is_watched() if progress is None else progress is not True,
    ) as bar:  # fmt: skip

        def show(done: int) -> None:
            if callable(progress):
                progress(done / len(audio))
            bar.update(round(done / rate) - bar.n)

        return Separator(KerasNetwork(models, window)).separate(
            audio, rate, residual=residual, wiener=wiener, progress=show
        )


class KerasNetwork:
    """Keras models as one network of the runner's chain.

    Args:
        models: Of `keras_mmdense.build`, with different sources; one at least.
        window_frames: Frames per window that are kept, 1 or more; rounded up to a multiple of
            the models' 2**scales.
        name: Name in the contract and in messages; defaults to the preset's.

    Raises:
        SettingsError: Models that do not fit together, or `window_frames` below 1.

    Example:
        >>> import keras_mmdense
        >>> from mmdense_edge import Separator
        >>> separator = Separator(KerasNetwork([keras_mmdense.build("mdensenet")]))
        >>> blocks = (np.zeros((10000, 2), np.float32) for _ in range(3))
        >>> sum(len(stems["vocals"]) for stems in separator.stream(blocks, 44100, channels=2))
        30000
    """

    runtime = "keras"
    num_threads: int | None = None  # the backend decides

    def __init__(
        self, models: Sequence[keras.Model], window_frames: int = WINDOW_FRAMES, name: str = ""
    ) -> None:
        settings = _common_settings(models)
        require(
            window_frames >= 1,
            "window_frames must be 1 or more, or None",
            window_frames,
            "Try 256.",
        )
        self._lock = threading.Lock()  # calls from several threads take turns
        self._networks = []
        for model, s in zip(models, settings, strict=True):
            network = model
            if s.frames is not None:  # the same weights in a model that takes any number of frames
                network = build_zeros(replace(s, frames=None))
                copy_weights(model, network)
            self._networks.append((network, s))
        sources = tuple(source for s in settings for source in s.sources)
        step = math.lcm(*(s.frame_multiple for s in settings))
        kept, context = (
            -(-frames // step) * step
            for frames in (window_frames, max(context_frames(s) for s in settings))
        )
        # Causal models see the frames before a window, and at the song's beginning none, as in the
        # file that `export` writes; others see silence around the song.
        self._most_past = context if all(s.causal for s in settings) else 0
        self._past: Magnitude | None = None
        context -= self._most_past
        self.contract = Contract(
            name=name or "+".join(s.preset for s in settings),
            model_sha256="",
            sources=sources,
            sample_rate=settings[0].sample_rate,
            transform=settings[0].transform,
            bins=max(s.bins for s in settings),
            channels=settings[0].channels,
            frames=kept + 2 * context,
            context_frames=context,
            frame_multiple=step,
            input="mixture",
            outputs={source: source for source in sources},
            output="magnitude",  # a mask head multiplies inside the Keras model
            precision="float32",
            license=settings[0].license,
            training_data=settings[0].training_data,
            parity={},
            settings={},
        )

    def for_signal(self) -> "KerasNetwork":
        """Return the network for one signal, which must be its only one."""
        return copy.copy(self)

    def __call__(self, magnitude: Magnitude) -> dict[str, Magnitude]:
        """Estimate the sources' magnitudes in one window.

        Args:
            magnitude: Of the mixture, (frames, bins, channels).

        Returns:
            For each source an array (frames, bins of its model, channels).

        Raises:
            ModelError: A model returns NaN or infinity.
        """
        estimates: dict[str, Magnitude] = {}
        window = magnitude if self._past is None else np.concatenate([self._past, magnitude])
        if self._most_past:
            self._past = window[-self._most_past :]
        for network, s in self._networks:
            with self._lock:
                outputs = network.predict_on_batch(window[None, :, : s.bins])
            for source in s.sources:
                estimates[source] = np.asarray(outputs[source])[0, -len(magnitude) :]
        wrong = [source for source, x in estimates.items() if not np.isfinite(x).all()]
        if wrong:
            raise ModelError(
                f"the model {self.contract.name!r} must return finite values; received NaN "
                f"or infinity for {', '.join(wrong)}. Use another checkpoint."
            )
        return estimates


def _common_settings(models: Sequence[keras.Model]) -> list[Settings]:
    """Return the settings of models that fit together."""
    settings = [ready(model) for model in models]
    require(bool(settings), "separate() needs a model", models, "Pass one or a list.")
    sources = [source for s in settings for source in s.sources]
    inputs = {(s.sample_rate, s.transform, s.channels) for s in settings}
    require(
        len(set(sources)) == len(sources) and len(inputs) == 1,
        "models must have different sources and the same transform and channels",
        (sources, inputs),
        "Separate with one after the other.",
    )
    return settings
