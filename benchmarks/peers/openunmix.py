"""Open-Unmix, umxhq: four bidirectional LSTM networks and one iteration of the Wiener filter."""

from pathlib import Path
from typing import Any

import openunmix
import torch

from benchmarks.peers.system import System


class OpenUnmix(System):
    """The published network with random weights."""

    def __init__(self, threads: int, folder: Path) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.model = openunmix.umxhq(pretrained=False, niter=1)
        self.model.freeze()

    def separate(self, audio: Any) -> list[Any]:
        """Return four stems; the whole song goes through at once, as in its `separate`."""
        with torch.inference_mode():
            return [
                stem.T.numpy() for stem in self.model(torch.from_numpy(audio.T.copy())[None])[0]
            ]
