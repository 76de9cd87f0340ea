"""The paper's table 3: `python -m training.paper.table3`.

Prints, as Markdown, size, multiply-adds and training time of MDenseNet, MMDenseNet, FNN, BLSTM and
BLEND. docs/results/reproduction.md contains the output and explains it. Exit code 0: success; 1: a
track cannot be read; 2: wrong usage or input; 130: stopped.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
from mmdense_edge.bench import host

import keras_mmdense
from keras_mmdense.errors import require
from keras_mmdense.inspection import multiply_adds_per_second, parameters
from keras_mmdense.model_settings import settings_of
from training import command, command_parser
from training.evaluate.tables import table
from training.paper.baseline_networks import build_network

# 50 songs of 4 min 10 s on average: about the length of DSD100's training half
DSD100_SECONDS = 12500.0
SOURCE = "vocals"
# Published sizes with their grade, see GRADES, and where they are from.
PUBLISHED = {
    "MDenseNet": ("0.14 M [D]", "1.5 % of BLEND, arXiv 1706.09588"),
    "MMDenseNet": ("0.33 M [Q]", "arXiv 2008.05216"),
    "BLEND": ("9.2 M [D]", "MMDenseNet's 0.33 M are 3.6 % of it, arXiv 1706.09588"),
    "BLSTM, large": ("30.03 M [Q]", "arXiv 2008.05216"),
}
GRADES = (
    "[A] the authors' own text; [D] derived from other published figures; [M] from memory of the "
    "paper, not checked against it; [Q] quoted from the authors by others"
)
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "MDenseNet": lambda: keras_mmdense.build("mdensenet", SOURCE),
    "MMDenseNet": lambda: keras_mmdense.build("mmdensenet", SOURCE),
    "FNN": lambda: build_network("fnn", SOURCE),
    "BLSTM": lambda: build_network("blstm", SOURCE),
    "BLEND": lambda: build_network("blend", SOURCE),
    "BLSTM, large": lambda: build_network("blstm", SOURCE, cells=572),
}
NOTES = """\
What is known of the baselines, and what was chosen:

- BLSTM: three layers of 500 cells [Q: the authors' description of their SiSEC 2018 entry, in the
  source of Deezer's Spleeter, which reads it as 250 per direction]. So 250 forwards and 250
  backwards are taken.
- BLEND: the weighted sum of the estimates of FNN and BLSTM [A: abstract of Uhlich et al., 2017];
  0.25 for the FNN, 0.75 for the BLSTM [M]. Its size follows from the paper's percentages: 0.33 M /
  3.6 % = 9.2 M [D], 8.9 to 9.4 M with the rounding.
- FNN: rectified linear units on several frames together, up to about 20 [A: arXiv 1706.09588].
  The rest is not known. Chosen: three layers of 128 units on 17 frames, each of which a linear
  layer reduces to 64 values first, so that FNN and BLSTM together come to BLEND's size.
- BLSTM, large: the published 30.03 M cannot be part of a BLEND of 9.2 M; it is another, later
  network [Q]. 572 cells per direction come nearest to it. With 500 it would have 24.3 M.
- All read and return what MMDenseNet does: 1024 bins of a 2048 window, both channels, one source.
  The published ones had other windows and bins.

Few weights are not few operations: a convolution uses each weight once for every bin and frame, a
BLSTM once a frame. The paper says that its networks take "considerably less training time" [A];
an epoch on a CPU, as here, takes them more. How many epochs each one needs is not measured here."""


@command("table3")
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = command_parser("training.paper.table3", __doc__)
    parser.add_argument("--steps", type=int, default=3, help="training steps to time (default: 3)")
    parser.add_argument("--frames", type=int, default=128, help="frames per example (default: 128)")
    parser.add_argument("--batch-size", type=int, default=4, help="examples per step (default: 4)")
    args = parser.parse_args(argv)
    require(
        min(args.steps, args.batch_size, args.frames) >= 1 and args.frames % 8 == 0,
        "steps and batch_size must be 1 or more, frames a multiple of 8",
        (args.steps, args.batch_size, args.frames),
        "The defaults fit.",
    )
    print(report(args), end="")


def report(args: argparse.Namespace) -> str:
    """Measure all networks; return the table, how it was measured, and what is known."""
    rows, blend = [], parameters(NETWORKS["BLEND"]())
    for name, build in NETWORKS.items():
        print(f"measuring {name}", file=sys.stderr)
        keras.utils.set_random_seed(0)
        model = build()
        weights, settings = parameters(model), settings_of(model)
        work = multiply_adds_per_second(model, args.frames)
        size = (args.batch_size, args.frames, settings.bins, settings.channels)
        mixture = np.random.default_rng(0).rayleigh(size=size).astype(np.float32)
        model.compile(keras.optimizers.RMSprop(1e-3), "mse", jit_compile=False)
        times = [time.perf_counter()]
        for _ in range(args.steps + 1):
            model.train_on_batch(mixture, {SOURCE: mixture / 2})
            times.append(time.perf_counter())
        seconds = statistics.median(np.diff(times)[1:])  # the first step does not count
        hops_per_second = settings.sample_rate / settings.transform.hop_length
        steps = DSD100_SECONDS * hops_per_second / (args.batch_size * args.frames)
        rows.append([
            name, f"{weights:,}", PUBLISHED.get(name, "-")[0], f"{weights / blend:.1%}",
            f"{work / 1e9:.2f}", f"{seconds:.2f}", f"{seconds * steps / 3600:.1f}",
        ])  # fmt: skip
        keras.backend.clear_session()
    head = ["network", "weights", "published", "share of BLEND", "GMAC per s of audio",
            "s per step", "h per epoch"]  # fmt: skip
    machine = host.describe()
    published = "; ".join(f"{name} {size}: {source}" for name, (size, source) in PUBLISHED.items())
    return (
        f"# Table 3: size and time\n\n{table(head, rows)}\n\n"
        f"One source, stereo. Seconds per step: the median of {args.steps} steps of "
        f"`train_on_batch` in float32, RMSprop, without XLA, after one that does not count, on "
        f"generated magnitudes, {args.batch_size} examples of {args.frames} frames. Hours per "
        f"epoch are extrapolated from that to {DSD100_SECONDS:,.0f} s of audio, not measured; the "
        "paper's own times are not known here.\n\n"
        f"Machine: {machine['cpu']}, {machine['cores']} cores; Keras {keras.__version__} on "
        f"{keras.backend.backend()}, NumPy {np.__version__}; {time.strftime('%Y-%m-%d')}.\n\n"
        f"{NOTES}\n\n{GRADES}.\n\nPublished sizes: {published}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
