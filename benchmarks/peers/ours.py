"""This project's systems: the runner with bundled and published models, and Keras."""

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.harness import timed
from benchmarks.peers.system import RATE, SOURCES, System

WINDOW_FRAMES = 256  # what keras_mmdense.separate takes
FLOAT32, INT8 = (f"mmdensenet-states-{form}.tflite" for form in ("float32", "int8"))


class Runner(System):
    """The runner, from file to files in fixed memory.

    Several models take turns, and each is loaded for its turn. As for other systems, loading is
    left out; a network's first run, on silence, is not: with states, it is the silence before the
    song.
    """

    def __init__(self, models: tuple[str, ...], threads: int, folder: Path) -> None:
        paths = [folder / model if model.endswith(".tflite") else model for model in models]
        self.openers = [partial(self._opened, path, threads) for path in paths]
        if len(models) == 1:
            separator = self.openers[0]()
            self.openers = [lambda: separator]

    def _opened(self, model: Any, threads: int) -> Any:
        from mmdense_edge import Separator
        from mmdense_edge.model import interpreter

        package, installed = interpreter.interpreter_class()

        def made(**options: Any) -> Any:
            one = installed(**options)
            one.invoke = partial(self._timed, one.invoke)
            return one

        before = self.network_s
        with mock.patch.object(interpreter, "interpreter_class", return_value=(package, made)):
            separator, *spent = timed(lambda: Separator(model, threads))
        self.loading_s = self.loading_s + spent - (self.network_s - before)
        return separator

    def _timed(self, invoke: Callable[[], None]) -> None:
        _, *spent = timed(invoke)
        self.network_s = self.network_s + spent

    def file_to_files(self, song: Path, folder: Path) -> None:
        """Separate as `mmdense separate` does; each model's stems into a folder of its own."""
        from mmdense_edge.audio.mixture_sum import choose
        from mmdense_edge.separate.inputs import Song
        from mmdense_edge.separate.jobs import Options, plan
        from mmdense_edge.separate.pool import attempt

        for number, opened in enumerate(self.openers):
            separator = opened()
            parts = choose(separator.sources, separator.sources)
            out, options = folder / str(number), Options(overwrite=True)
            (job,) = plan([Song(song)], out, parts, options, model=separator.contract.name)
            report = attempt(separator, job)
            if report.error is not None:
                raise RuntimeError(report.error)
            del separator
            gc.collect()  # the timed interpreter refers to itself


EdgeInt8 = partial(Runner, ("mmdensenet-edge-int8",))  # with its trained weights
EdgeFloat32 = partial(Runner, ("mmdensenet-edge-float32",))
MMDenseNetFloat32 = partial(Runner, (FLOAT32,) * len(SOURCES))  # four of the published form
MMDenseNetInt8 = partial(Runner, (INT8,) * len(SOURCES))  # with a mask head


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
    from benchmarks.edge import write_song
    from benchmarks.peers import spleeter

    export = partial(keras_mmdense.export, states=True)
    published, masks, converted = (Path(folder, name) for name in (FLOAT32, INT8, spleeter.FILE))
    if not published.exists():
        export(keras_mmdense.build("mmdensenet"), published)
    if not masks.exists():
        songs = Path(folder, "songs")
        songs.mkdir(exist_ok=True)
        for number in range(2):
            write_song(songs / f"{number}.wav", 60)
        model = keras_mmdense.build("mmdensenet-vocals", weights="bundled")
        export(model, masks, precision="int8", music=songs, thresholds={"int8": {"snr_db": 0}})
    if not converted.exists():
        converted.write_bytes(spleeter.convert(spleeter.build()))
