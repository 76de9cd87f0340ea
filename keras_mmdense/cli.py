"""The command of the library: `keras-mmdense`, or `python -m keras_mmdense`.

Exit codes: 0 success; 1 failure; 2 wrong usage; 129 terminal closed; 130 interrupted;
143 terminated. Reading the arguments needs neither Keras nor NumPy.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from mmdense_edge.cli import separate_command
from mmdense_edge.cli.main import add_completion, carry_out, prepare

import keras_mmdense
from keras_mmdense.errors import ExportError, PlotError, SettingsError, what_to_install
from keras_mmdense.model_settings import settings_of
from keras_mmdense.presets import PRESETS, resolve_settings
from keras_mmdense.settings import Settings
from keras_mmdense.tflite.precisions import PRECISIONS
from keras_mmdense.weights import find_weights

EPILOG = "Exit codes: 0 success; 1 failure; 2 wrong usage; 130 interrupted."
MODEL = "a .keras file, or the name of a bundled model (see mmdense models)"
PRESET = (
    f"a preset (mmdensenet, mdensenet, mmdensenet-edge, mmdensenet-micro, mmdensenet-live), {MODEL}"
)
PACKAGES = (
    "keras-mmdense", "keras", "tensorflow", "jax", "numpy", "soundfile", "soxr",
    "ai-edge-litert", "ai-edge-quantizer", "tflite-runtime", "av", "matplotlib", "tensorflow-io",
)  # fmt: skip
VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "KERAS_BACKEND", "OMP_NUM_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: The arguments; default those of the process.
    """
    prepare(argv is None)
    arguments = parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow, where it is needed, is silent
    os.environ["MPLBACKEND"] = "agg"  # files only; a notebook's may be absent here, or no backend
    return carry_out(
        "keras-mmdense",
        lambda: arguments.run(arguments) or 0,
        ": unfinished results were not written",
        (ExportError, PlotError, SettingsError, ImportError, ValueError),
        own_process=argv is None,
    )


def parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    top = argparse.ArgumentParser(
        prog="keras-mmdense", description="Music source separation in Keras.", epilog=EPILOG
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {keras_mmdense.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run: Callable[..., int | None], text: str, description: str | None = None) -> Any:
        one = commands.add_parser(run.__name__, help=text, description=description, epilog=EPILOG)
        one.set_defaults(run=run)
        return one

    add = command(summary, "weights, multiply-adds, memory, receptive field").add_argument
    add("model", metavar="PRESET|MODEL", help=PRESET)
    add("--layers", action="store_true", help="one row per layer instead of per block")
    add("--window-frames", type=int, metavar="N", help="frames that a window keeps (default: 128)")
    add("--json", action="store_true", help="print JSON instead of a table")

    add = command(plot, "draw the network with its bands, scales and receptive field").add_argument
    add("model", metavar="PRESET|MODEL", help=PRESET)
    add("-o", "--out", required=True, metavar="FILE",
        help="a .png or .svg file; without a suffix, both are written")  # fmt: skip
    add("--title", help="title above the drawing (default: the preset's name)")
    add("--overwrite", action="store_true", help="replace existing files")

    songs = command(
        separate,
        "separate songs with a Keras model",
        f"{separate_command.DESCRIPTION} On a device, and for many songs, export the model and "
        "use the command mmdense, which is faster.",
    )
    songs.set_defaults(jobs=1, cluster=None)
    songs.add_argument("model", metavar="MODEL", help=MODEL)
    separate_command.add_options(songs)
    songs.add_argument("--window-frames", type=int, default=256, metavar="N", help="frames that a "
        "window keeps; does not change the result (default: 256)")  # fmt: skip

    add = command(export, "write a trained model as .tflite").add_argument
    add("model", metavar="MODEL", help=MODEL)
    add("-o", "--out", required=True, metavar="FILE", help="the .tflite file; with several "
        "precisions its name holds {precision}")  # fmt: skip
    add("--precision", default="float32", metavar="A,B",
        help=f"one or several of {', '.join(PRECISIONS)} (default: float32)")  # fmt: skip
    add("--music", metavar="DIR", help="data set or folder of songs to calibrate and compare on")
    add("--window-frames", type=int, default=128, metavar="N", help="frames that a window keeps "
        "(default: 128)")  # fmt: skip
    add("--states", action="store_true", help="remember past frames between windows instead of "
        "computing context again; mmdense live then needs its full look-ahead")  # fmt: skip
    add("--name", help="name of the model in its contract (default: the file's)")
    add("--threshold", action="append", default=[], metavar="PRECISION:FIGURE=NUMBER",
        help="a limit to meet, for example int8:snr_db=15; may be repeated")  # fmt: skip
    add("--score", action="append", default=[], metavar="SOURCE=NUMBER",
        help="SDR in dB to state in the file, such as vocals=5.04; may be repeated")  # fmt: skip
    add("--report", action="store_true", help="also write the parity report next to the files")
    add("--overwrite", action="store_true", help="replace existing files")

    add = command(env, "show versions and devices for a bug report").add_argument
    add("--devices", action="store_true",
        help="also load the backend and list its devices; takes seconds")  # fmt: skip
    add("--json", action="store_true", help="print JSON instead of lines")
    add_completion(top, commands)
    return top


def summary(arguments: argparse.Namespace) -> None:
    """Print a model's layers and its cost."""
    found = keras_mmdense.summarize(
        open_model(arguments.model, trained=False),
        window_frames=arguments.window_frames,
        by_layer=arguments.layers,
    )
    content = asdict(found) | {"settings": found.settings.to_dict()}
    print(json.dumps(content, indent=1) if arguments.json else found)


def plot(arguments: argparse.Namespace) -> None:
    """Draw a network from its settings alone: neither Keras nor a backend is loaded."""
    from keras_mmdense.plot.style import targets_of

    targets = targets_of(arguments.out)
    settings = read_settings(arguments.model, trained=False)
    keras_mmdense.plot.architecture(
        settings, arguments.out, title=arguments.title, overwrite=arguments.overwrite
    )
    print(" ".join(map(str, targets)))


def separate(arguments: argparse.Namespace) -> int:
    """Separate songs into files with a Keras model, as the runner does."""

    def opened() -> Any:
        model = open_model(arguments.model)
        from mmdense_edge.separator import Separator

        from keras_mmdense.separation import KerasNetwork

        name = find_weights(arguments.model).stem
        return Separator(KerasNetwork([model], arguments.window_frames, name))

    return separate_command.run(arguments, opened)


def export(arguments: argparse.Namespace) -> None:
    """Write a model as `.tflite` and print the files' accuracy."""
    from keras_mmdense.tflite.export import accuracy

    def figures(option: str, texts: Sequence[str], form: str, example: str) -> dict[str, float]:
        try:
            return {key: float(x) for key, _, x in (text.partition("=") for text in texts)}
        except ValueError as error:
            raise ExportError(
                f"{option} must be {form}; received {', '.join(texts)}. Pass for example {example}."
            ) from error

    thresholds: dict[str, dict[str, float]] = {}
    for key, value in figures(
        "--threshold", arguments.threshold, "PRECISION:FIGURE=NUMBER", "int8:snr_db=15"
    ).items():
        precision, _, figure = key.partition(":")
        thresholds.setdefault(precision, {})[figure] = value
    scores = figures("--score", arguments.score, "SOURCE=NUMBER", "vocals=5.04")
    same = ("music", "window_frames", "states", "name", "report", "overwrite")
    contracts = keras_mmdense.export(
        open_model(arguments.model),
        arguments.out,
        precision=[name.strip() for name in arguments.precision.split(",")],
        scores=scores,
        thresholds=thresholds,
        **{option: getattr(arguments, option) for option in same},
        progress=lambda text: print(text, file=sys.stderr),
    )
    for name, contract in contracts.items():
        print(f"{arguments.out.replace('{precision}', name)}: {accuracy(contract)}")


def env(arguments: argparse.Namespace) -> None:
    """Print the installed versions and the machine."""
    found = environment()
    if arguments.devices:
        with starting_backend():
            import keras

            found["devices"] = (
                keras.distribution.list_devices()
                if keras.backend.backend() in ("tensorflow", "jax")
                else ["unknown"]
            )
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for key, text in value.items():
                print(f"  {key:18} {'not installed' if text is None else text}")
        else:
            print(f"{name:20} {(', '.join(value) or 'none') if isinstance(value, list) else value}")


def environment() -> dict[str, Any]:
    """Return versions and machine; imports neither Keras nor a backend, and names no paths."""
    from mmdense_edge.bench.host import cpu_name, memory_bytes
    from mmdense_edge.model.interpreter import free_cores

    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:  # as Keras does: the variable, then its file, then TensorFlow
        chosen = json.loads((home / "keras.json").read_text("utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        chosen = None
    try:
        import soundfile

        libsndfile = str(soundfile.__libsndfile_version__)
    except (ImportError, OSError) as error:
        libsndfile = f"cannot be loaded ({error})"
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20)
        gpus = done.stdout.strip().splitlines()
    except FileNotFoundError:  # it is there if the driver is
        gpus = []
    except (OSError, subprocess.TimeoutExpired) as error:
        gpus = [f"nvidia-smi failed ({error})"]
    memory = memory_bytes()
    return {
        "keras_mmdense": keras_mmdense.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": cpu_name(),
        "cores": free_cores(),
        "memory_gb": None if memory is None else round(memory / 1e9, 1),
        "backend": os.environ.get("KERAS_BACKEND") or chosen or "tensorflow",
        "gpus": gpus,
        "packages": {
            name: next((found.version for found in metadata.distributions(name=name)), None)
            for name in PACKAGES
        },
        "libsndfile": libsndfile,
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def read_settings(name: str, *, trained: bool) -> Settings:
    """Return the settings of a model of the command line; nothing is built.

    Args:
        name: A `.keras` or `.h5` file, or a bundled model by the library's name or its file's.
        trained: Whether the weights matter; if not, it may be a preset without any.

    Raises:
        SettingsError: The name is none of these, or the file is not a model.
    """
    untrained = name in PRESETS and not trained
    return resolve_settings(name) if untrained else settings_of(find_weights(name))


def open_model(name: str, *, trained: bool = True) -> Any:
    """Return a model of the command line, as `read_settings`."""
    settings = read_settings(name, trained=trained)  # errors come before the backend is started
    with starting_backend():
        return (
            keras_mmdense.build_from_settings(settings)
            if name in PRESETS and not trained
            else keras_mmdense.build(weights=name)
        )


@contextmanager
def starting_backend() -> Iterator[None]:
    """Hide what TensorFlow's start prints at any log level.

    Raises:
        ImportError: The backend is not installed.
    """
    sys.stderr.flush()
    shown = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    except ModuleNotFoundError as error:
        raise ImportError(what_to_install(error)) from error
    finally:
        os.dup2(shown, 2)
        os.close(shown)
