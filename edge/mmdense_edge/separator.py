"""Separate audio in memory or in blocks: the Python call."""

import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np

from mmdense_edge.errors import AudioError, Cancelled, refuse_if
from mmdense_edge.model.bundled import find
from mmdense_edge.model.contract import Contract
from mmdense_edge.model.interpreter import Network, TFLiteNetwork, describe
from mmdense_edge.model.model_file import Model, load_model
from mmdense_edge.signal.chain import MAX_CHANNELS, Pipeline, Stems, groups
from mmdense_edge.signal.stft import Array, Audio
from mmdense_edge.signal.wiener import MAX_ITERATIONS

MIN_RATE, MAX_RATE = 1000, 768000

# Samples that go through the chain at a time: bounds memory whatever the caller's block size.
PIECE = 1 << 15

OnProgress = Callable[[int], object]
Cancel = Callable[[], bool]


class Separator:
    """A model, ready to separate music into its sources.

    Memory use does not depend on the length of a `stream`, and every stem has exactly as many
    samples as the mixture. If the sample rate differs from the model's, the mixture is resampled to
    round(num_samples * model rate / sample rate) samples (at least 1) and the stems are resampled
    back, then cut or zero-padded to the mixture's length.

    One separator may serve any number of threads and streams at the same time; the results are the
    same as one after the other. The network serves them in turn, window by window; for more speed,
    give each thread a separator of its own.

    Args:
        model: A model file, the name of a bundled model (defaults to the bundled default), or a
            `Network` such as `keras_mmdense.separation.KerasNetwork`.
        num_threads: Threads of the interpreter, 1 to 256, default 1; a `Network` has its own.

    Attributes:
        contract: What the model says about itself.
        sources: The sources that the model separates.
        runtime: The package in use: ai_edge_litert, tflite_runtime or tensorflow, or the network's.

    Raises:
        ModelError: The model cannot be used.
        InterpreterError: No usable TFLite interpreter is installed.
        UsageError: No bundled model of that name.

    Example:
        >>> mixture = np.zeros((44100, 2), np.float32)
        >>> stems = Separator().separate(mixture, sample_rate=44100)
        >>> {stem.shape for stem in stems.values()}
        {(44100, 2)}
    """

    def __init__(
        self, model: str | os.PathLike[str] | Network | None = None, num_threads: int = 1
    ) -> None:
        """Load the model and run it once."""
        if isinstance(model, Network):
            self.network: Network = model
        else:
            self.model: Model = load_model(find(model))  # only of a file
            self.network = TFLiteNetwork(self.model, num_threads)
        self.contract: Contract = self.network.contract
        self.sources = self.contract.sources
        self.runtime = self.network.runtime

    @property
    def engine(self) -> str:
        """A description of the package: its name, version and threads."""
        threads = self.network.num_threads
        return describe(self.runtime) + ("" if threads is None else f", {threads} thread(s)")

    def select(self, sources: Sequence[str] | None) -> tuple[str, ...]:
        """Return the requested sources, in the model's order.

        Args:
            sources: Names of the model's sources; None for all.

        Raises:
            UsageError: A source is unknown, or the list is empty.
        """
        if sources is None:
            return self.sources
        listed = isinstance(sources, Collection) and not isinstance(sources, (str, bytes))
        refuse_if(
            not listed or not sources or any(name not in self.sources for name in sources),
            f"sources must be a list of {', '.join(self.sources)}; received {sources!r}",
        )
        return tuple(name for name in self.sources if name in sources)

    def separate(
        self,
        audio: Array,
        sample_rate: int,
        *,
        sources: Sequence[str] | None = None,
        residual: bool = False,
        wiener: int = 0,
        progress: OnProgress | None = None,
        cancel: Cancel | None = None,
    ) -> Stems:
        """Separate a whole signal.

        Args:
            audio: The mixture, floats, full scale 1.0, shape (num_samples,) or (num_samples,
                channels) with 1 to 64 channels; for more than 2 see `chain.groups`. It is not
                changed.
            sample_rate: In Hz, 1000 to 768000.
            sources: The sources wanted; default all.
            residual: Add "residual", the mixture minus the requested sources, so that all results
                add up to the mixture within float32 rounding.
            wiener: Iterations of the multichannel Wiener filter, 0 (none) to 10; see `wiener`. It
                uses all of the model's sources, even if fewer are requested.
            progress: Called with the number of samples done; an exception from it ends the work.
            cancel: Called before each piece of work; returning True ends it.

        Returns:
            An array of the same shape as `audio` for each source, float32.

        Raises:
            AudioError: No samples, NaN or infinity, more than 64 channels, channels before
                samples, not floats, or a sample rate that is not a whole number in the range.
            UsageError: An unknown source, or `wiener` out of range.
            Cancelled: `cancel` returned True.
        """
        audio = as_audio(audio)
        channels = 1 if audio.ndim == 1 else audio.shape[1]
        stems: Stems = {}
        done = 0
        for block in self.stream(
            [audio],
            sample_rate,
            channels,
            sources=sources,
            residual=residual,
            wiener=wiener,
            progress=progress,
            cancel=cancel,
        ):
            for name, part in block.items():
                if name not in stems:
                    stems[name] = np.empty((len(audio), channels), np.float32)
                stems[name][done : done + len(part)] = part
            done += len(part)
        return {name: stem.reshape(audio.shape) for name, stem in stems.items()}

    def stream(
        self,
        blocks: Iterable[Array],
        sample_rate: int,
        channels: int,
        *,
        sources: Sequence[str] | None = None,
        residual: bool = False,
        wiener: int = 0,
        progress: OnProgress | None = None,
        cancel: Cancel | None = None,
    ) -> Iterator[Stems]:
        """Separate a signal block by block, in memory that does not depend on its length.

        Args:
            blocks: The mixture in blocks of any length, floats, full scale 1.0, each of shape
                (samples, channels), or (samples,) if `channels` is 1.
            sample_rate: In Hz, 1000 to 768000.
            channels: 1 to 64.
            sources: The sources wanted; default all.
            residual: Add "residual", as in `separate`.
            wiener: Iterations of the Wiener filter, as in `separate`.
            progress: Called with the number of samples done; an exception from it ends the work.
            cancel: Called before each piece of work; returning True ends it.

        Yields:
            The next samples of each source, shape (samples, channels), float32. Lengths are equal
            within a result and add up to the mixture's length.

        Raises:
            AudioError, UsageError, Cancelled: As in `separate`; the first two are raised before
                the first block if possible.
        """
        wanted = self.select(sources)
        refuse_if(
            not isinstance(channels, (int, np.integer)) or not 1 <= channels <= MAX_CHANNELS,
            f"audio must have 1 to {MAX_CHANNELS} channels; received {channels}. "
            "Split the channels first",
            AudioError,
        )
        rate = as_sample_rate(sample_rate)
        refuse_if(
            not isinstance(wiener, (int, np.integer)) or not 0 <= wiener <= MAX_ITERATIONS,
            f"wiener must be 0 to {MAX_ITERATIONS} iterations; received {wiener}",
        )
        refuse_if(
            not isinstance(blocks, Iterable),
            f"blocks must be an iterable of arrays; received {blocks!r}",
            AudioError,
        )
        pipelines = {
            group: Pipeline(self.network, rate, len(group), wanted, residual, wiener)
            for group in groups(channels)
        }
        return _run(pipelines, _pieces(blocks, rate, channels), progress, cancel)


def as_audio(audio: object) -> Array:
    """Return a whole signal as an array of one of the two shapes that are separated.

    Args:
        audio: Shape (num_samples,) or (num_samples, channels).

    Raises:
        AudioError: Another shape, or channels before samples.

    Example:
        >>> as_audio([[0.5, 0.5], [0.25, 0.25], [0.0, 0.0]]).shape
        (3, 2)
    """
    try:
        array = np.asarray(audio)
    except ValueError:  # a tuple of samples and sample rate, for example
        array = np.asarray(None)
    if array.ndim not in (1, 2):
        shape = array.shape or f"a {type(audio).__name__}"
        raise AudioError(
            f"audio must be an array of shape (samples,) or (samples, channels); received {shape}"
        )
    refuse_if(
        array.ndim == 2 and 0 < len(array) <= MAX_CHANNELS < array.shape[1],
        f"audio must have shape (samples, channels); received {array.shape}. "
        "The channels come first: pass audio.T",
        AudioError,
    )
    return array


def as_sample_rate(sample_rate: object) -> int:
    """Return a sample rate in Hz as an int.

    Args:
        sample_rate: A whole number from 1000 to 768000.

    Raises:
        AudioError: Anything else.

    Example:
        >>> as_sample_rate(44100.0)
        44100
    """
    rate = np.asarray(sample_rate)
    refuse_if(
        rate.shape or rate.dtype.kind not in "iuf" or not MIN_RATE <= rate <= MAX_RATE or rate % 1,
        f"the sample rate must be a whole number from {MIN_RATE} to {MAX_RATE} Hz; "
        f"received {sample_rate!r}",
        AudioError,
    )
    return int(rate)


def _run(
    pipelines: Mapping[tuple[int, ...], Pipeline],
    pieces: Iterator[Audio],
    progress: OnProgress | None,
    cancel: Cancel | None,
) -> Iterator[Stems]:
    """Run the pipeline of each group of channels and join their stems."""
    done = 0
    for piece in itertools.chain(pieces, [None]):  # None is the end
        if cancel is not None and cancel():
            raise Cancelled("cancelled by the caller")
        parts = [
            pipeline.finish() if piece is None
            else pipeline.push(piece if len(pipelines) == 1 else piece[:, group])
            for group, pipeline in pipelines.items()
        ]  # fmt: skip
        # The pipelines differ only in their channels, so they yield at the same samples. Each must
        # run to its end, which zip would not ensure.
        for stems in itertools.zip_longest(*parts, fillvalue={}):
            joined = stems[0]
            if len(stems) > 1:
                joined = {name: np.concatenate([s[name] for s in stems], axis=1) for name in joined}
            length = len(next(iter(joined.values())))
            done += length
            if progress is not None:
                progress(done)
            if length:
                yield joined


def _pieces(blocks: Iterable[Array], sample_rate: int, channels: int) -> Iterator[Audio]:
    """Yield the mixture, checked, as float32 of shape (samples, channels) in short pieces."""
    received = 0
    for block in map(np.atleast_1d, blocks):
        for first in range(0, len(block), PIECE):
            piece = block[first : first + PIECE]
            refuse_if(
                not np.issubdtype(piece.dtype, np.floating),
                f"audio must be floats with full scale 1.0; received {piece.dtype}. "
                "Divide integers by their full scale",
                AudioError,
            )
            shaped = piece[:, None] if piece.ndim == 1 else piece
            refuse_if(
                shaped.ndim != 2 or shaped.shape[1] != channels,
                f"blocks must have shape (samples, {channels}); received {block.shape}",
                AudioError,
            )
            with np.errstate(over="ignore"):
                samples = shaped.astype(np.float32, copy=False)
            if not np.isfinite(samples).all():
                sample, channel = map(int, np.argwhere(~np.isfinite(samples))[0])
                position = received + sample
                raise AudioError(
                    f"sample {position} ({position / sample_rate:.3f} s) of channel "
                    f"{channel + 1} is {samples[sample, channel]}. Repair the audio first"
                )
            received += len(samples)
            yield samples
    refuse_if(received == 0, "audio must have at least 1 sample; received 0", AudioError)
