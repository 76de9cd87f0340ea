"""MMDenseNet once more: slow, plain NumPy in float64, written from the paper.

Nothing here is shared with the library but the order of the weights' names.
"""

import numpy as np


def conv(x, kernel, bias, dilation=None):
    """x (frames, bins, maps): "same" padding, (k - 1) // 2 before and k // 2 after.

    With a dilation, the kernel's last row meets the frame itself and the others earlier ones.
    """
    height, width, _, filters = kernel.shape
    step, before = dilation or 1, (height - 1) // 2 if dilation is None else (height - 1) * dilation
    padded = np.pad(x, ((before, height // 2), ((width - 1) // 2, width // 2), (0, 0)))
    out = np.zeros((*x.shape[:2], filters)) + bias
    for i in range(height):
        for j in range(width):
            row = i * step
            out += padded[row : row + x.shape[0], j : j + x.shape[1]] @ kernel[i, j]
    return out


def norm(x, gamma, beta, mean, variance):
    return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


def pool(x, causal):
    if not causal:
        x = (x[::2] + x[1::2]) / 2
    return (x[:, ::2] + x[:, 1::2]) / 2


def transposed(x, kernel, bias):
    """2x2, stride 2, or 1x2 if causal; kernel (2, 2, maps out, maps in)."""
    step = len(kernel)
    out = np.zeros((step * x.shape[0], 2 * x.shape[1], kernel.shape[2]))
    for i in range(step):
        for j in range(2):
            out[i::step, j::2] = x @ kernel[i, j].T
    return out + bias


class Network:
    """A model of build(), in the published form, run by its layers' names.

    A causal one has dilation rates 1, 2, 3, ... in its blocks.
    """

    def __init__(self, model, causal=False):
        self.model, self.causal = model, causal

    def weights(self, name):
        return [np.asarray(w, np.float64) for w in self.model.get_layer(name).weights]

    def composite(self, x, name, dilation):
        normed = norm(x, *self.weights(f"{name}_norm"))
        return conv(np.maximum(normed, 0), *self.weights(f"{name}_conv"), dilation)

    def dense_block(self, x, name, layers, rate=1):
        maps = [x]
        for index in range(1, layers + 1):
            dilation = rate * 2 ** (index - 1) if self.causal else None
            maps.append(self.composite(np.concatenate(maps, -1), f"{name}_layer{index}", dilation))
        return maps[-1]

    def band(self, x, name, layers):
        x = conv(x, *self.weights(f"{name}_first_conv"), 1 if self.causal else None)
        skips = []
        for block in range(1, 8):
            if block > 4:
                x = norm(x, *self.weights(f"{name}_up{block}_norm"))
                x = transposed(x, *self.weights(f"{name}_up{block}_conv"))
                x = np.concatenate([x, skips.pop()], -1)
            x = self.dense_block(x, f"{name}_dense{block}", layers[block - 1], block)
            if block < 4:
                skips.append(x)
                x = pool(x, self.causal)
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
