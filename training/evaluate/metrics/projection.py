"""Least-squares projection of estimates onto delayed references, block by block.

BSSEval projects an estimate onto what filters of 512 taps can make of its own reference (the rest
is interference and artifacts), then onto what they can make of all references (the rest is
artifacts). Correlations and filtering use overlapping blocks with shared FFTs, so memory does not
grow with the track, and one factorization serves all estimates.

Source: Vincent, Sawada, Bofill, Makino, Rosca, "First stereo audio source separation evaluation
campaign", 2007 (BSSEval v3, images).
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from mmdense_edge.signal.stft import Array, Complex, Real
from numpy.lib.stride_tricks import sliding_window_view

TAPS = 512
N_FFT = 8192
STEP = N_FFT - TAPS + 1  # samples of a block that circular convolution leaves intact
BLOCKS = 8  # blocks per call of the FFT

# The frequency responses of the distortion filters: from a source's own reference, (estimates,
# channels in, channels out, bins), and from all references, (references * channels, estimates *
# channels, bins).
Filters = tuple[Complex, Complex]

# The parts of an estimate. "spatial" and "joint" are what the filters make of its own reference and
# of all references; the parts after them are differences.
PARTS = ("true", "spatial", "joint", "distortion", "interference", "artifacts", "error")


def distortion_filters(
    references: Sequence[Array], estimates: Sequence[Array], own: Sequence[int], window: slice
) -> Filters:
    """Return the filters that bring the references closest to the estimates in a window.

    Args:
        references: Arrays of shape (num_samples, channels), all of one shape.
        estimates: Estimates of some or all references, of the same shape.
        own: The index of each estimate's own reference.
        window: The samples to use.
    """
    channels = references[0].shape[1]
    inputs = len(references) * channels
    outputs = inputs + len(estimates) * channels
    # sum over n of reference[n - lag] * signal[n] of every channel with every one
    products = np.zeros((inputs, outputs, N_FFT // 2 + 1), np.complex128)
    for past, estimate in _chunks(references, estimates, window, window.stop):
        signals = np.concatenate([past[:, TAPS - 1 :], estimate]).reshape(outputs, -1, STEP)
        spectra = np.fft.rfft(signals, N_FFT).conj()
        products += np.einsum("ikf,okf->iof", _spectra(past), spectra)
    # position p of the circular correlation is lag TAPS - 1 - p
    lags = np.fft.irfft(products)[..., TAPS - 1 :: -1]
    pairs = lags.reshape(len(references), channels, -1, channels, TAPS)
    alone = [
        _solve(pairs[index, :, index], pairs[index, :, len(references) + place])
        for place, index in enumerate(own)
    ]
    joint = _solve(lags[:, :inputs], lags[:, inputs:])
    return np.fft.rfft(alone, N_FFT), np.fft.rfft(joint, N_FFT)


def energies(
    references: Sequence[Array],
    estimates: Sequence[Array],
    own: Sequence[int],
    filters: Filters,
    window: slice,
) -> list[dict[str, float]]:
    """Return the energies of the `PARTS` of each estimate in a window.

    Samples outside the window are taken as silent; the tails of the filters are included.

    Args:
        references: As for `distortion_filters`.
        estimates: As for `distortion_filters`.
        own: As for `distortion_filters`.
        filters: From `distortion_filters`.
        window: The samples to use.
    """
    channels = references[0].shape[1]
    total = np.zeros((len(PARTS), len(estimates)))
    for past, estimate in _chunks(references, estimates, window, window.stop + TAPS - 1):
        estimate = estimate.reshape(len(estimates), channels, -1)
        true = past[:, TAPS - 1 :].reshape(len(references), channels, -1)[list(own)]
        spectra = _spectra(past)
        ours = spectra.reshape(-1, channels, *spectra.shape[1:])[list(own)]
        spatial = _signals(np.einsum("sikf,siof->sokf", ours, filters[0]))
        joint = _signals(np.einsum("ikf,iof->okf", spectra, filters[1])).reshape(true.shape)
        parts = (true, spatial, joint, spatial - true, joint - spatial, estimate - joint,
                 estimate - true)  # fmt: skip
        total += [np.einsum("scn,scn->s", part, part) for part in parts]
    return [dict(zip(PARTS, column, strict=True)) for column in total.T.tolist()]


def _chunks(
    references: Sequence[Array], estimates: Sequence[Array], window: slice, stop: int
) -> Iterator[tuple[Real, Real]]:
    """Yield references, each with TAPS - 1 samples before, and estimates from the window's start.

    Both have the shape (signals * channels, samples): whole blocks up to `stop`, zeros outside the
    window.
    """
    for start in range(window.start, stop, BLOCKS * STEP):
        end = start + STEP * min(BLOCKS, -(-(stop - start) // STEP))
        past = _read(references, start - TAPS + 1, end, window)
        yield past, _read(estimates, start, end, window)


def _read(signals: Sequence[Array], start: int, stop: int, window: slice) -> Real:
    low = max(start, window.start)
    high = max(low, min(stop, window.stop))
    around = ((0, 0), (low - start, stop - high))
    # C order: the FFT of columns is slower
    rows = (np.array(x[low:high].T, np.float64, order="C") for x in signals)
    return np.concatenate([np.pad(row, around) for row in rows])


def _spectra(signals: Real) -> Complex:
    """Return the spectra of overlapping blocks, (signals, blocks, bins)."""
    return np.fft.rfft(sliding_window_view(signals, N_FFT, axis=-1)[:, ::STEP])


def _signals(spectra: Complex) -> Real:
    """Return the intact samples (..., samples) of spectra (..., blocks, bins)."""
    blocks = np.fft.irfft(spectra)[..., TAPS - 1 :]
    return blocks.reshape(*blocks.shape[:-2], -1)


def _solve(lags: Real, products: Real) -> Real:
    """Return the filters (inputs, outputs, TAPS) that solve the normal equations.

    A channel that is a multiple of another, as in a mono source, makes them singular and adds
    nothing to the projection, so its filters are zeros. As in museval, a small multiple of the
    identity is added, and least squares is used if the solver finds no solution.

    Args:
        lags: Correlations of the inputs with each other, (inputs, inputs, TAPS).
        products: Of the inputs with the outputs, (inputs, outputs, TAPS).
    """
    # Two inputs are dependent if the Cauchy-Schwarz inequality is an equality, up to rounding.
    # Silent inputs are not.
    powers = np.diag(lags[:, :, 0])
    bounds = np.multiply.outer(powers, powers) * (1 - 8 * np.finfo(float).eps)
    dependent = (lags[:, :, 0] ** 2 >= bounds) & (powers > 0)
    kept = np.flatnonzero(~np.tril(dependent, -1).any(axis=1))
    # the inner products of all delayed inputs
    blocks = np.empty((len(kept), TAPS, len(kept), TAPS))
    for (i, k), (j, m) in itertools.product(enumerate(kept), repeat=2):
        # sum over n of input_k[n - a] * input_m[n - b] depends only on b - a
        line = np.concatenate([lags[k, m, :0:-1], lags[m, k]])
        blocks[i, :, j] = sliding_window_view(line, TAPS)[::-1]
    matrix = blocks.reshape(len(kept) * TAPS, -1)
    matrix[np.diag_indices_from(matrix)] += np.finfo(float).eps
    right = products[kept].swapaxes(1, 2).reshape(len(matrix), -1)
    try:
        solution = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        solution = np.linalg.lstsq(matrix, right, rcond=None)[0]
    filters = np.zeros_like(products)
    filters[kept] = solution.reshape(len(kept), TAPS, -1).swapaxes(1, 2)
    return filters
