"""Least-squares projection of estimates onto delayed references, block by block.

BSSEval takes from an estimate what filters of 512 taps can make of its own reference (the
spatial distortion), then what they can make of all references (the interference); the rest is
the artefacts. Correlations and filtering run over overlapping blocks with shared FFTs, so memory
does not grow with the track, and one factorisation serves all estimates.

Source: Vincent, Sawada, Bofill, Makino, Rosca, "First stereo audio source separation evaluation
campaign", 2007 (BSSEval v3, images).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from training.evaluation.scores import Array

TAPS = 512
N_FFT = 8192
STEP = N_FFT - TAPS + 1  # the samples of a block that circular convolution leaves right
BLOCKS = 8  # blocks that one call of the FFT takes

Real = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class Filters:
    """The frequency responses of the distortion filters.

    Args:
        own: from a source's own reference, (estimates, channels in, channels out, bins).
        joint: from all references, (references * channels, estimates * channels, bins).
    """

    own: Spectrum
    joint: Spectrum


@dataclass(frozen=True)
class Energies:
    """The energies of an estimate's parts in one window."""

    true: float
    true_and_spatial: float
    true_spatial_and_interference: float
    spatial: float
    interference: float
    artefacts: float
    error: float


class Projector:
    """References, and the estimates of some or all of them.

    Args:
        references: arrays of shape (num_samples, channels), all of one shape.
        estimates: the same shapes.
        own: the index of each estimate's own reference.
    """

    def __init__(
        self, references: Sequence[Array], estimates: Sequence[Array], own: Sequence[int]
    ) -> None:
        """Takes the signals; reads nothing yet."""
        self._references, self._estimates, self._own = references, estimates, list(own)
        self._channels = references[0].shape[1]

    def filters(self, window: slice) -> Filters:
        """Return the filters that bring the references closest to the estimates in a window."""
        lags = self._correlate(window)
        groups = range(0, len(lags), self._channels)
        inputs = [slice(groups[index], groups[index] + self._channels) for index in self._own]
        outputs = [
            slice(len(lags) + start, len(lags) + start + self._channels)
            for start in range(0, len(self._estimates) * self._channels, self._channels)
        ]
        own = [_solve(lags[i, i], lags[i, o]) for i, o in zip(inputs, outputs, strict=True)]
        joint = _solve(lags[:, : len(lags)], lags[:, len(lags) :])
        return Filters(np.fft.rfft(own, N_FFT), np.fft.rfft(joint, N_FFT))

    def energies(self, filters: Filters, window: slice) -> list[Energies]:
        """Return the energies of the parts of each estimate in a window.

        The window stands alone, silence around it; the tails of the filters count.
        """
        total = np.zeros((7, len(self._estimates)))
        tail = slice(window.start, window.stop + TAPS - 1)
        for start, count in _chunks(tail):
            references, estimates = self._read(start, count, window)
            past = _spectra(references)
            true = references[:, TAPS - 1 :].reshape(-1, self._channels, count * STEP)[self._own]
            ours = past.reshape(-1, self._channels, *past.shape[1:])[self._own]
            spatial = _signals(np.einsum("sikf,siof->sokf", ours, filters.own))
            joint = _signals(np.einsum("ikf,iof->okf", past, filters.joint)).reshape(true.shape)
            estimate = estimates.reshape(true.shape)
            parts = (true, spatial, joint, spatial - true, joint - spatial, estimate - joint,
                     estimate - true)  # fmt: skip
            total += [np.einsum("scn,scn->s", part, part) for part in parts]
        return [Energies(*column) for column in total.T.tolist()]

    def _correlate(self, window: slice) -> Real:
        """Return sum over n of reference[n - lag] * signal[n] of every channel with every one.

        Shape (references * channels, (references + estimates) * channels, TAPS).
        """
        rows = len(self._references) * self._channels
        columns = rows + len(self._estimates) * self._channels
        total = np.zeros((rows, columns, N_FFT // 2 + 1), np.complex128)
        for start, count in _chunks(window):
            references, estimates = self._read(start, count, window)
            now = np.concatenate([references[:, TAPS - 1 :], estimates])
            now = now.reshape(columns, count, STEP)
            total += np.einsum("ikf,okf->iof", _spectra(references), np.fft.rfft(now, N_FFT).conj())
        # position p of the circular correlation is lag TAPS - 1 - p
        return np.fft.irfft(total)[..., TAPS - 1 :: -1]

    def _read(self, start: int, count: int, window: slice) -> tuple[Real, Real]:
        """Return references, with TAPS - 1 samples before `start`, and estimates."""
        stop = start + count * STEP
        return (
            _read(self._references, start - TAPS + 1, stop, window),
            _read(self._estimates, start, stop, window),
        )


def _chunks(window: slice) -> Iterator[tuple[int, int]]:
    """Yields the first sample and the number of blocks of each chunk of a window."""
    for start in range(window.start, window.stop, BLOCKS * STEP):
        yield start, min(BLOCKS, -(-(window.stop - start) // STEP))


def _read(signals: Sequence[Array], start: int, stop: int, window: slice) -> Real:
    """Return (signals * channels, stop - start) samples, zeros outside the window."""
    channels = signals[0].shape[1] if signals else 1
    block = np.zeros((len(signals), channels, stop - start))
    low, high = max(start, window.start), min(stop, window.stop)
    if low < high:
        for row, signal in zip(block, signals, strict=True):
            row[:, low - start : high - start] = signal[low:high].T
    return block.reshape(-1, stop - start)


def _spectra(signals: Real) -> Spectrum:
    """Return the spectra of overlapping blocks, (signals, blocks, bins)."""
    return np.fft.rfft(sliding_window_view(signals, N_FFT, axis=-1)[:, ::STEP])


def _signals(spectra: Spectrum) -> Real:
    """Return (..., samples) of (..., blocks, bins): the part of each block that is right."""
    blocks = np.fft.irfft(spectra)[..., TAPS - 1 :]
    return blocks.reshape(*blocks.shape[:-2], -1)


def _solve(lags: Real, products: Real) -> Real:
    """Return the filters (inputs, outputs, TAPS) that solve the normal equations.

    A channel that is a multiple of another, as in a mono source, makes them singular and adds
    nothing to the projection: its filters are zeros. As in museval, a trace of the identity is
    added, and least squares answers where the solver finds no solution.

    Args:
        lags: correlations of the inputs with each other, (inputs, inputs, TAPS).
        products: of the inputs with the outputs, (inputs, outputs, TAPS).
    """
    kept = np.flatnonzero(~np.tril(_dependent(lags[:, :, 0]), -1).any(axis=1))
    matrix = _gram_matrix(lags[np.ix_(kept, kept)])
    matrix[np.diag_indices_from(matrix)] += np.finfo(float).eps
    right = products[kept].swapaxes(1, 2).reshape(len(matrix), -1)
    try:
        solution = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        solution = np.linalg.lstsq(matrix, right, rcond=None)[0]
    filters = np.zeros_like(products)
    filters[kept] = solution.reshape(len(kept), TAPS, -1).swapaxes(1, 2)
    return filters


def _dependent(products: Real) -> npt.NDArray[np.bool_]:
    """Return which inputs are multiples of which, given the inner product of every two.

    Those for which the inequality of Cauchy and Schwarz is an equality, up to rounding. Nothing
    is a multiple of a silent input.
    """
    powers = np.diag(products)
    bounds = np.multiply.outer(powers, powers) * (1 - 8 * np.finfo(float).eps)
    return (products**2 >= bounds) & (powers > 0)


def _gram_matrix(lags: Real) -> Real:
    """Return the inner products of all delayed inputs, (inputs * TAPS, inputs * TAPS)."""
    inputs = len(lags)
    matrix = np.empty((inputs, TAPS, inputs, TAPS))
    for i in range(inputs):
        for j in range(inputs):
            # sum over n of input_i[n - a] * input_j[n - b] depends on b - a alone
            line = np.concatenate([lags[i, j, :0:-1], lags[j, i]])
            matrix[i, :, j] = sliding_window_view(line, TAPS)[::-1]
    return matrix.reshape(inputs * TAPS, inputs * TAPS)
