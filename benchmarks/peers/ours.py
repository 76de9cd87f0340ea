"""This project's systems: the runner with bundled and published models, and Keras."""

from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.system import RATE, SOURCES, System

WINDOW_FRAMES = 256  # what keras_mmdense.separate takes
FILE = "mmdensenet-float32.tflite"


class Runner(System):
    """The runner, from file to files in fixed memory; one or several models."""

    def __init__(self, models: tuple[str, ...], threads: int, folder: Path) -> None:
        from mmdense_edge import Separator

        self.separators = [
            Separator(folder / model if model.endswith(".tflite") else model, threads)
            for model in models
        ]

    def file_to_files(self, song: Path, folder: Path) -> None:
        """Separate as `mmdense separate` does; each model's stems into a folder of its own."""
        from mmdense_edge.audio.mixture_sum import choose
        from mmdense_edge.separate.inputs import Song
        from mmdense_edge.separate.jobs import Options, plan
        from mmdense_edge.separate.pool import attempt

        for number, separator in enumerate(self.separators):
            parts = choose(separator.sources, separator.sources)
            out, options = folder / str(number), Options(overwrite=True)
            (job,) = plan([Song(song)], out, parts, options, model=separator.contract.name)
            report = attempt(separator, job)
            if report.error is not None:
                raise RuntimeError(report.error)


EdgeInt8 = partial(Runner, ("mmdensenet-edge-int8",))  # with its trained weights
EdgeFloat32 = partial(Runner, ("mmdensenet-edge-float32",))
MMDenseNetFloat32 = partial(Runner, (FILE,) * len(SOURCES))  # four of the published form


class MMDenseNetKeras(System):
    """`keras_mmdense.separate` with four networks of the published form."""

    def __init__(self, threads: int, folder: Path) -> None:
        import keras_mmdense

        self.model = keras_mmdense.build("mmdensenet", SOURCES)

    def separate(self, audio: Any) -> list[Any]:
        """Return four stems, in windows whose context is discarded."""
        import keras_mmdense

        stems = keras_mmdense.separate(
            self.model, audio, RATE, window_frames=WINDOW_FRAMES, progress=False
        )
        return [stems[source] for source in SOURCES]


def prepare(folder: str) -> None:
    """Make the models of the systems that run from files; a file that is there is kept.

    It needs the environment of `make env`.

    Args:
        folder: Where the files go; it exists.
    """
    import keras_mmdense
    from benchmarks.peers import spleeter

    published, converted = Path(folder, FILE), Path(folder, spleeter.FILE)
    if not published.exists():
        model = keras_mmdense.build("mmdensenet")
        keras_mmdense.export(model, published, window_frames=WINDOW_FRAMES)
    if not converted.exists():
        converted.write_bytes(spleeter.convert(spleeter.build()))
