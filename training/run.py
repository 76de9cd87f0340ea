"""From a data set to a table: `python -m training.run musdb18 --data MUSDB18 --out RUN`.

The command checks the songs, trains a model for all sources, scores it on the test split and writes
its model card. It first prints how much disk space and memory this takes, and after the first
training steps how long. Each stage keeps what it has finished: stop the command whenever you like,
and run it again to continue.

  check     reads every sample once; reports damaged songs and leaves them out (RUN/checked.json)
  prepare   decodes songs to train on, unless they are 16-bit WAV files already (RUN/data)
  train     trains like python -m training.train (RUN/train)
  evaluate  scores model, mixture and ideal ratio mask with museval and usdr (RUN/scores)
  card      writes table, loss curve, license, command, machine and date (RUN/README.md)

NAME is musdb18 (.stem.mp4, MUSDB18-HQ, or what training.prepare made of them) or dsd100. Songs of
the test split, and songs with the same names, are never trained or validated on, whatever the
options. The default recipe trains the paper's network for all four sources. It computes each batch
in four parts, which takes 11 GB of memory; --accumulate 1 is faster and takes 35 GB. For the device
model, use --recipe edge.

Exit code 0: done; 1: a file failed; 2: wrong usage or data; 130: stopped with Ctrl-C.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmdense_edge.bench.host import cpu_name
from mmdense_edge.errors import printable
from mmdense_edge.model.interpreter import free_cores
from tqdm import tqdm

from keras_mmdense.data import Dataset, DatasetError, Track, open_dataset
from keras_mmdense.data.dataset import check_samples
from keras_mmdense.data.problems import Fault
from keras_mmdense.data.readers import MIXTURE, folded
from keras_mmdense.errors import SettingsError, require
from training import command, command_parser
from training.evaluate.rows import open_rows
from training.evaluate.scoring import evaluate
from training.prepare import prepare, track_bytes
from training.train.__main__ import add_options, chosen_recipe, hours, run_process, train
from training.train.recipe import Recipe, load_recipe, with_terms_of
from training.train.run_folder import BEST, HISTORY, RECORD, write_json, write_text
from training.train.split import named_tracks, split_tracks

CHECKED, DATA, TRAIN, SCORES, CARD = "checked.json", "data", "train", "scores", "README.md"
KINDS = {"musdb18": ("musdb18", "musdb18hq", "folder"), "dsd100": ("dsd100", "folder")}
RECIPES = {"musdb18": "musdb18", "dsd100": "paper"}  # whose license and credits go into all weights
PARTS = 4  # of the default recipe's batches
METRICS = ("museval", "usdr")
ROWS = {
    "model": "this model",
    "mixture": "unprocessed mixture (baseline)",
    "irm": "ideal ratio mask (upper bound for masks)",
}
WEIGHT_BYTES = 48  # at most, of two checkpoints with the optimizer's state, each written twice
WINDOW_BYTES = 300  # of the scores of a source in a window of one second


@command("run", "what is finished is kept, and the same command continues")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command_parser("training.run", __doc__)
    parser.add_argument("name", metavar="NAME", choices=KINDS, help="musdb18 or dsd100")
    parser.add_argument("--data", metavar="DIR", required=True, help="root of the data set")
    parser.add_argument("--out", metavar="RUN", required=True, help="folder for all results")
    parser.add_argument("--recipe", help="a name in training/recipes, or a .toml file")
    parser.add_argument(
        "--test-tracks", metavar="FILE", help="names of tracks to test on instead of the test split"
    )
    parser.add_argument("--valid-tracks", metavar="FILE", help="names of the tracks to validate on")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="number of scoring processes; default 1"
    )
    add_options(parser)
    parser.set_defaults(accumulate=None)
    words = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(words)
    run = Path(args.out).absolute()
    checked = read_checked(run)
    recipe = choose_recipe(args)
    songs, test = open_songs(args, recipe)
    decoded = all(s.is_fast for track in songs for s in track.streams.values())
    recipe = announce(args, recipe, songs, test, decoded, run)
    run.mkdir(parents=True, exist_ok=True)
    test = check(test, checked, run)
    songs = check(songs, checked, run) if decoded else copy(songs, recipe, run)
    args.out, args.resume = str(run / TRAIN), (run / TRAIN / RECORD).exists()
    train(args, recipe, *split_tracks(songs, (), args.valid_tracks))
    rows = open_rows([f"model={run / TRAIN / BEST}", "mixture", "irm"], test.tracks)
    faults = evaluate(test, test.tracks, rows, METRICS, run / SCORES, args.jobs)
    if faults:
        print("\n".join(f"run: {fault}" for fault in faults), file=sys.stderr)
        return 1
    write_text(run / CARD, card(run, recipe, shlex.join(words)))
    print(f"model card in {printable(run / CARD)}")
    return 0


def read_checked(run: Path) -> dict[str, Any]:
    """Return what `check` recorded in the folder of a run; {} for a new or empty folder.

    Raises:
        SettingsError: The folder holds something else.
    """
    try:
        if not run.exists() or not any(run.iterdir()):
            return {}
        return dict(json.loads((run / CHECKED).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            "--out must be a new or empty folder, or one that this command began; received "
            f"{printable(run)} ({error}). Choose another."
        ) from error


def choose_recipe(args: argparse.Namespace) -> Recipe:
    """Return the recipe, with the credits and the license of the data set and of --init."""
    default = RECIPES[args.name]
    if args.accumulate is None:
        args.accumulate = 1 if args.recipe else PARTS
    args.recipe = args.recipe or default
    recipe, own = chosen_recipe(args), load_recipe(default)
    recipe = replace(recipe, training_data=own.training_data, license=own.license)
    return with_terms_of(recipe, args.init)


def open_songs(args: argparse.Namespace, recipe: Recipe) -> tuple[Dataset, Dataset]:
    """Return the songs to train and validate on, and those to test on.

    Raises:
        SettingsError: The data set has another form, or no songs to test on.
    """
    dataset = open_dataset(args.data, sample_rate=recipe.sample_rate, needed=recipe.sources)
    if dataset.faults or dataset.notes:
        print(dataset.report(), file=sys.stderr)
    require(
        dataset.kind in KINDS[args.name],
        f"--data of {args.name} must have the form {' or '.join(KINDS[args.name])}",
        dataset.kind,
        "Give the root of the data set.",
    )
    split = tuple(track for track in dataset if track.subset == "test")
    named = args.test_tracks
    test = tuple(named_tracks(dataset.tracks, named, "--test-tracks")) if named else split
    require(
        bool(test),
        "the data must have a test split",
        printable(args.data),
        "Name tracks with --test-tracks.",
    )
    names = {folded(track.name) for track in (*split, *test)}
    songs = tuple(  # without mixtures: training mixes the sources itself
        replace(track, streams={n: s for n, s in track.streams.items() if n != MIXTURE})
        for track in dataset
        if track.subset in ("train", "valid") and folded(track.name) not in names
    )
    return replace(dataset, tracks=songs), replace(dataset, tracks=test)


def announce(
    args: argparse.Namespace,
    recipe: Recipe,
    songs: Dataset,
    test: Dataset,
    decoded: bool,
    run: Path,
) -> Recipe:
    """Check everything that can be checked before anything is written; print what the run needs.

    Returns:
        The recipe with its precision settled.

    Raises:
        SettingsError: An option does not fit, or there is too little disk space or memory.
    """
    from training.train.devices import check_memory, open_devices, step_bytes
    from training.train.precision import settle_precision
    from training.train.trainer import make_model

    own, held_out = split_tracks(songs, (), args.valid_tracks)
    open_devices(recipe, args.data_parallel, args.deterministic)
    recipe = settle_precision(recipe, run / TRAIN if (run / TRAIN / RECORD).exists() else None)
    model = make_model(recipe, args.init, args.freeze)
    check_memory(model, recipe)
    weights, num_sources = model.count_params(), len(test.sources)
    copies = () if decoded else songs.tracks
    sizes = {
        "decoded songs": sum(
            track_bytes(t) for t in copies if not (run / DATA / t.subset / t.name).exists()
        ),
        "checkpoints": WEIGHT_BYTES * weights,
        "scores": args.jobs
        * max(4 * t.num_samples * t.channels for t in test)
        * (1 + 2 * num_sources)
        + int(WINDOW_BYTES * test.duration * num_sources * len(ROWS)),
    }
    free = shutil.disk_usage(next(p for p in (run, *run.parents) if p.exists())).free
    listed = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in sizes.items())
    disk = f"{sum(sizes.values()) / 1e9:.2f} GB at most ({listed}), {free / 1e9:.2f} GB free"
    room = sum(sizes.values()) <= free
    require(room, "the disk must have room", disk, "Choose another --out.")
    print(
        f"songs   {len(own)} to train on, {len(held_out)} to validate on, {len(test)} to test on\n"
        f"recipe  {recipe.name}: {weights:,} weights, {recipe.epochs} epochs at most\n"
        f"disk    {disk}\n"
        f"memory  about {step_bytes(model, recipe) / 1e9:.1f} GB a step, and 1 to 2 GB more\n"
        "time    reported after the first steps of the training and after each epoch"
    )
    return recipe


def check(songs: Dataset, checked: dict[str, Any], run: Path) -> Dataset:
    """Read every sample of the songs not read before; return the songs without a fault.

    Args:
        songs: The songs.
        checked: The state of the files and their faults, by song; updated in place.
        run: Folder of the run; the record in it is written after each song.

    Raises:
        DatasetError: No song is left.
    """
    write_json(run / CHECKED, checked)
    faults = list(songs.faults)
    good: list[Track] = []
    for track in tqdm(songs, desc="check", leave=False, disable=None):
        paths = sorted({stream.path for stream in track.streams.values()})
        state = [[path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
        if checked.get(track.label, {}).get("state") != state:
            reasons = [[str(fault.path), fault.reason] for fault in check_samples(track)[0]]
            checked[track.label] = {"state": state, "faults": reasons}
            write_json(run / CHECKED, checked)
        own = [Fault(Path(p), reason, track.label) for p, reason in checked[track.label]["faults"]]
        good += [] if own else [track]
        faults += own
        for fault in own:
            print(f"left out: {fault.describe(songs.root)}", file=sys.stderr)
    if not good:
        raise DatasetError(f"{printable(songs.root)} has no song without a fault", faults)
    return replace(songs, tracks=tuple(good), faults=tuple(faults))


def copy(songs: Dataset, recipe: Recipe, run: Path) -> Dataset:
    """Decode, and so check, the songs that are not in RUN/data yet; return the decoded songs."""
    _, faults = prepare(replace(songs, faults=()), run / DATA)
    for fault in faults:
        print(f"left out: {fault.describe(songs.root)}", file=sys.stderr)
    there = open_dataset(
        run / DATA, "folder", sample_rate=recipe.sample_rate, needed=recipe.sources
    )
    labels = {track.label for track in songs}  # an earlier command may have copied others
    return replace(there, tracks=tuple(track for track in there if track.label in labels))


def card(run: Path, recipe: Recipe, words: str) -> str:
    """Return the model card of a finished run, in Markdown.

    Args:
        run: Folder of the run.
        recipe: The recipe that was trained.
        words: The arguments of the command.
    """
    import pandas as pd  # the processes that score need none

    from training.evaluate.tables import SUMMARY, number, table, text

    summary = json.loads((run / SCORES / SUMMARY).read_text("utf-8"))
    trained = json.loads((run / TRAIN / RECORD).read_text("utf-8"))
    scored = json.loads((run / SCORES / RECORD).read_text("utf-8"))["runs"][-1]
    history = pd.read_csv(run / TRAIN / HISTORY)
    sources, tests = summary["data"]["sources"], summary["data"]["tracks"]
    lines, nothing = [], {"value": None, "interval": None}
    for metric, scores in summary["metrics"].items():
        for row, what in ROWS.items():
            own = scores["rows"][row]
            cells = [own["sources"].get(source, {}).get("SDR", nothing) for source in sources]
            values = [number(cell["value"], cell["interval"]) for cell in cells]
            lines.append([metric, what, *values, number(own["mean"]["SDR"])])
    machine = f"{free_cores()} cores of {cpu_name()}"
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True).stdout.splitlines()
        machine = ", ".join([machine, *found])
    versions = ", ".join(f"{name} {number}" for name, number in scored["versions"].items())
    best = history["val_loss"].idxmin()
    paragraphs = [
        f"# Model card: {text(run.name)}",
        f"`{TRAIN}/{BEST}` separates music into {text(', '.join(recipe.sources))}.",
        f"- Training data: {text(recipe.training_data)}; {len(trained['tracks'])} songs, and "
        f"{len(trained['validation_tracks'])} to validate on\n"
        f"- License of the weights: {text(recipe.license)}\n"
        f"- Recipe: {text(recipe.name)}, complete in [{RECORD}]({TRAIN}/{RECORD})",
        "## Scores",
        f"```sh\npython -m training.run {words}\n```",
        f"{scored['started'][:10]}, {machine}; {versions}"
        + (f"; commit {scored['commit']}" if scored["commit"] else ""),
        f"SDR in dB with the 95 % interval, on {len(tests)} songs that were neither trained nor "
        f"validated on ([report]({SCORES}/report.md)):",
        table(["metric", "", *sources, "mean"], lines, texts=2),
        "\n".join(f"- {name}: {scores['title']}" for name, scores in summary["metrics"].items()),
        "## Training",
        f"{len(history)} epochs of {hours(history['seconds'].mean())}, "
        f"{hours(history['seconds'].sum())} in all; the best is epoch {best + 1}, with a "
        f"validation loss of {history['val_loss'][best]:.5g}.",
        f"![Loss by epoch]({TRAIN}/loss.png)",
    ]
    return "\n\n".join(paragraphs) + "\n"


if __name__ == "__main__":
    # TensorFlow would take all of a GPU's memory, but the scoring processes need some of it.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    run_process(main)
