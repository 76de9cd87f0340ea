"""The systems of bench_peers that run on PyTorch, all with random weights."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.peer_system import RATE, SECONDS_PER_FRAME, SOURCES, Step, System
from benchmarks.torch_mmdensenet import WINDOW_FRAMES, MMDenseNet
from benchmarks.torch_mmdensenet import separate as separate_mmdensenet

COUNTED_SECONDS = 12
SEED = 0


def multiply_adds(run: Any, modules: nn.Module) -> int:
    """Returns the multiply-adds of a call.

    PyTorch's counter knows convolutions and matrix products; the steps of an LSTM and the two
    products inside attention are added by the sizes that come by.

    Args:
        run: what is called.
        modules: whose layers it uses.
    """
    from torch.utils.flop_counter import FlopCounterMode

    extra: list[int] = []

    def lstm(module: nn.LSTM, given: Any, _: Any) -> None:
        steps = given[0].shape[0] * given[0].shape[1]
        weights = [w for name, w in module.named_parameters() if name.startswith("weight")]
        extra.append(steps * sum(w.numel() for w in weights))

    def attention(module: nn.MultiheadAttention, given: Any, _: Any) -> None:
        query, key = given[0], given[1]
        batch_and_length = 0 if module.batch_first else 1, 1 if module.batch_first else 0
        pairs = query.shape[batch_and_length[1]] * key.shape[batch_and_length[1]]
        extra.append(2 * query.shape[batch_and_length[0]] * pairs * module.embed_dim)

    hooks = []
    for module in modules.modules():
        if isinstance(module, nn.LSTM):
            hooks.append(module.register_forward_hook(lstm))
        elif isinstance(module, nn.MultiheadAttention):
            hooks.append(module.register_forward_hook(attention))
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        run()
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops() // 2 + sum(extra)


def _parameters(*modules: nn.Module) -> int:
    return sum(weight.numel() for module in modules for weight in module.parameters())


def _as_batch(audio: Any) -> torch.Tensor:
    return torch.from_numpy(audio.T.copy())[None]


def _step(model: nn.Module, optimizer: Any, loss: Any, given: Any, seconds: float) -> Step:
    def step() -> float:
        optimizer.zero_grad()
        made = model(given)
        loss(made, torch.zeros_like(made)).backward()
        optimizer.step()
        return seconds

    return step


class OpenUnmix(System):
    """umxhq: four bidirectional LSTM networks and one iteration of the Wiener filter."""

    def __init__(self, threads: int, folder: Path) -> None:
        import openunmix

        torch.set_num_threads(threads)
        torch.manual_seed(SEED)
        self.model = openunmix.umxhq(pretrained=False, niter=1)
        self.model.freeze()

    def separate(self, audio: Any) -> list[Any]:
        """Returns four stems; the whole song goes through at once, as in its `separate`."""
        with torch.inference_mode():
            return [stem.T.numpy() for stem in self.model(_as_batch(audio))[0]]

    def describe(self) -> dict[str, float]:
        """Returns parameters and multiply-adds."""
        audio = torch.zeros(1, 2, COUNTED_SECONDS * RATE)
        macs = multiply_adds(lambda: self.model(audio), self.model)
        return {
            "parameters": _parameters(self.model.target_models),
            "gmac_per_s": macs / COUNTED_SECONDS / 1e9,
        }

    @classmethod
    def training(cls, threads: int) -> Step:
        """A network of one source, batch 4 of 6 s, as magnitudes."""
        import openunmix

        torch.set_num_threads(threads)
        network = openunmix.umxhq_spec(targets=["vocals"], pretrained=False)["vocals"].train()
        frames = round(6 / SECONDS_PER_FRAME)
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
        given, seconds = torch.rand(4, 2, 2049, frames), 4 * frames * SECONDS_PER_FRAME
        return _step(network, optimizer, nn.functional.mse_loss, given, seconds / len(SOURCES))


class Demucs(System):
    """htdemucs: the hybrid transformer with the settings of the published model, its defaults."""

    SEGMENT, OVERLAP = Fraction(39, 5), 0.25

    def __init__(self, threads: int, folder: Path) -> None:
        torch.set_num_threads(threads)
        self.model = self._network().eval()

    @classmethod
    def _network(cls) -> nn.Module:
        from demucs.htdemucs import HTDemucs

        torch.manual_seed(SEED)
        sources = ["drums", "bass", "other", "vocals"]
        made: nn.Module = HTDemucs(
            sources, bottom_channels=512, dconv_mode=3, t_dropout=0.02, segment=cls.SEGMENT
        )
        return made

    def separate(self, audio: Any) -> list[Any]:
        """Returns four stems, in windows of 7.8 s that overlap by a quarter."""
        from demucs.apply import apply_model

        with torch.inference_mode():
            stems = apply_model(self.model, _as_batch(audio), overlap=self.OVERLAP)[0]
        return [stem.T.numpy() for stem in stems]

    def describe(self) -> dict[str, float]:
        """Returns parameters and multiply-adds."""
        samples = int(self.SEGMENT * RATE)
        macs = multiply_adds(lambda: self.model(torch.zeros(1, 2, samples)), self.model)
        seconds = float(self.SEGMENT) * (1 - self.OVERLAP)
        return {"parameters": _parameters(self.model), "gmac_per_s": macs / seconds / 1e9}

    @classmethod
    def training(cls, threads: int) -> Step:
        """All sources, batch 1 of 7.8 s."""
        torch.set_num_threads(threads)
        network, seconds = cls._network().train(), float(cls.SEGMENT)
        optimizer = torch.optim.Adam(network.parameters(), 3e-4)
        given = torch.rand(1, 2, int(cls.SEGMENT * RATE))
        return _step(network, optimizer, nn.functional.l1_loss, given, seconds)


class TorchMMDenseNet(System):
    """Four networks of `torch_mmdensenet`."""

    def __init__(self, threads: int, folder: Path) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(SEED)
        networks = [MMDenseNet().eval().to(memory_format=torch.channels_last) for _ in SOURCES]
        self.networks: list[nn.Module] = list(networks)

    def separate(self, audio: Any) -> list[Any]:
        """Returns four stems, in windows without context."""
        return separate_mmdensenet(audio, self.networks)

    def describe(self) -> dict[str, float]:
        """Returns parameters and multiply-adds."""
        window, network = torch.zeros(1, 2, WINDOW_FRAMES, 1024), self.networks[0]
        macs = len(SOURCES) * multiply_adds(lambda: network(window), network)
        return {
            "parameters": _parameters(*self.networks),
            "gmac_per_s": macs / (WINDOW_FRAMES * SECONDS_PER_FRAME) / 1e9,
        }

    @classmethod
    def training(cls, threads: int) -> Step:
        """A network of one source, batch 4 of 128 frames."""
        torch.set_num_threads(threads)
        network = MMDenseNet().train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.RMSprop(network.parameters(), 1e-3)
        given = torch.rand(4, 2, 128, 1024).to(memory_format=torch.channels_last)
        seconds = 4 * 128 * SECONDS_PER_FRAME / len(SOURCES)
        return _step(network, optimizer, nn.functional.mse_loss, given, seconds)
