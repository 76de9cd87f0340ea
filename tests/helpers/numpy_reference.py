"""MMDenseNet once more: slow, plain NumPy in float64, written from the paper.

Nothing here is shared with the library but the order of the weights' names.
"""

import numpy as np


def conv(x, kernel, bias):
    """x (frames, bins, maps): "same" padding, (k - 1) // 2 before and k // 2 after."""
    height, width, _, filters = kernel.shape
    padded = np.pad(x, (((height - 1) // 2, height // 2), ((width - 1) // 2, width // 2), (0, 0)))
    out = np.zeros((*x.shape[:2], filters)) + bias
    for i in range(height):
        for j in range(width):
            out += padded[i : i + x.shape[0], j : j + x.shape[1]] @ kernel[i, j]
    return out


def norm(x, gamma, beta, mean, variance):
    return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


def pool(x):
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def transposed(x, kernel, bias):
    """2x2, stride 2; kernel (2, 2, maps out, maps in)."""
    out = np.zeros((2 * x.shape[0], 2 * x.shape[1], kernel.shape[2]))
    for i in range(2):
        for j in range(2):
            out[i::2, j::2] = x @ kernel[i, j].T
    return out + bias


class Network:
    """A model of build(), in the published form, run by its layers' names."""

    def __init__(self, model):
        self.model = model

    def weights(self, name):
        return [np.asarray(w, np.float64) for w in self.model.get_layer(name).weights]

    def composite(self, x, name):
        normed = norm(x, *self.weights(f"{name}_norm"))
        return conv(np.maximum(normed, 0), *self.weights(f"{name}_conv"))

    def dense_block(self, x, name, layers):
        maps = [x]
        for index in range(1, layers + 1):
            maps.append(self.composite(np.concatenate(maps, -1), f"{name}_layer{index}"))
        return maps[-1]

    def band(self, x, name, layers):
        x = conv(x, *self.weights(f"{name}_first_conv"))
        skips = []
        for block in range(1, 8):
            if block > 4:
                x = norm(x, *self.weights(f"{name}_up{block}_norm"))
                x = transposed(x, *self.weights(f"{name}_up{block}_conv"))
                x = np.concatenate([x, skips.pop()], -1)
            x = self.dense_block(x, f"{name}_dense{block}", layers[block - 1])
            if block < 4:
                skips.append(x)
                x = pool(x)
        return x

    def __call__(self, mixture, layers, final_num_layers):
        """mixture (frames, bins, channels); layers: band -> layers of dense1..dense7."""
        mean, variance = (w.reshape(-1, 1) for w in self.weights("normalization")[:2])
        x = (mixture - mean) / np.sqrt(variance)
        half = x.shape[1] // 2
        low = self.band(x[:, :half], "low", layers["low"])
        high = self.band(x[:, half:], "high", layers["high"])
        full = self.band(x, "full", layers["full"])
        joined = np.concatenate([np.concatenate([low, high], 1), full], -1)
        features = self.dense_block(joined, "final_dense", final_num_layers)
        mean, variance = (w.reshape(-1, 1) for w in self.weights("denormalization")[:2])
        out = conv(features, *self.weights("final_conv")) * np.sqrt(variance) + mean
        return np.maximum(out, 0)
