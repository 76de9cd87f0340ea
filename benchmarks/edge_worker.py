"""One measurement of bench_edge in a process of its own: `python -m benchmarks.edge_worker TASK`.

TASK is JSON: `name`, a function of `TASKS`, and its arguments. The answer is the last line printed,
JSON. Times are CPU seconds of this process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.spleeter_shape import FloatArray, Network

PEAK_MAPS = 256
PEAK_PLACES = (64, 64)
PEAK_FILE, SPLEETER_FILE = "peak.tflite", "spleeter-int8.tflite"
TURNS = 10
PEAK_RUNS = 5


def prepare(folder: str) -> dict[str, Any]:
    """Makes the bare convolution and the int8 Spleeter-shaped network.

    Args:
        folder: where the two files go; it exists.

    Returns:
        parameters: of one Spleeter-shaped network.
    """
    import keras

    from benchmarks import spleeter_shape
    from benchmarks.conversion import convert

    given = keras.Input((*PEAK_PLACES, PEAK_MAPS))
    bare = keras.Model(given, keras.layers.Conv2D(PEAK_MAPS, 3, padding="same")(given))
    Path(folder, PEAK_FILE).write_bytes(convert(bare, int8=True, int8_ends=True))
    network = spleeter_shape.build()
    Path(folder, SPLEETER_FILE).write_bytes(convert(network, int8=True))
    return {"parameters": network.count_params()}


def network(model: str, peak: str) -> dict[str, Any]:
    """Runs a model's network and a bare convolution in turns, with one thread.

    Args:
        model: a `.tflite`; an archive behind it does not matter.
        peak: the bare convolution.

    Returns:
        network_s: of one run, the median; peak_s: of one convolution, the least.
    """
    import statistics

    runs = [runner(Path(file)) for file in (model, peak)]
    network_s, peak_s = [], []
    for _ in range(TURNS):
        network_s.append(_cpu(runs[0]))
        peak_s += [_cpu(runs[1]) for _ in range(PEAK_RUNS)]
    return {"network_s": statistics.median(network_s), "peak_s": min(peak_s)}


def spleeter_keras(song: str, folder: str) -> dict[str, Any]:
    """Separates a song with four Spleeter-shaped networks in Keras.

    Args:
        song: the file.
        folder: where the stems go; it exists.

    Returns:
        cpu_s: file to files; load_s: imports, networks and their first window.
    """
    start = time.process_time()
    import tensorflow as tf

    from benchmarks import spleeter_shape

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    def network(seed: int) -> Network:
        model = spleeter_shape.build(seed)
        return lambda windows: model.predict(windows, batch_size=1, verbose=0)

    return _separate(start, song, folder, [network(n) for n in range(4)])


def spleeter_int8(song: str, folder: str, model: str) -> dict[str, Any]:
    """Separates a song with four Spleeter-shaped networks as int8 TFLite.

    All four are loaded from the same file: each has its own interpreter and weights in memory.

    Args:
        song: the file.
        folder: where the stems go; it exists.
        model: the network's file.

    Returns:
        As `spleeter_keras`.
    """
    start = time.process_time()
    networks = [network_of(Path(model)) for _ in range(4)]
    return _separate(start, song, folder, networks)


def _separate(start: float, song: str, folder: str, networks: list[Network]) -> dict[str, Any]:
    import numpy as np

    from benchmarks import spleeter_shape

    shape = (1, spleeter_shape.FRAMES, spleeter_shape.BINS, spleeter_shape.CHANNELS)
    for run in networks:
        run(np.zeros(shape, np.float32))
    loaded = time.process_time()
    spleeter_shape.file_to_files(Path(song), Path(folder), networks)
    return {"cpu_s": time.process_time() - loaded, "load_s": loaded - start}


def network_of(model: Path, threads: int = 1) -> Network:
    """Returns one source's network as `spleeter_shape.separate` takes it.

    Args:
        model: a `.tflite` with one input and one output, for one window.
        threads: of the interpreter.
    """
    import numpy as np

    interpreter = _interpreter(model, threads)
    given = interpreter.get_input_details()[0]["index"]
    made = interpreter.get_output_details()[0]["index"]

    def window(one: FloatArray) -> FloatArray:
        interpreter.set_tensor(given, one[None])
        interpreter.invoke()
        estimate: FloatArray = interpreter.get_tensor(made)[0]
        return estimate

    return lambda windows: np.stack([window(one) for one in windows])


def runner(model: Path) -> Callable[[], None]:
    """Returns what runs a model on noise with one thread; it has run twice.

    Args:
        model: a `.tflite` with one input.
    """
    import numpy as np

    interpreter = _interpreter(model)
    (given,) = interpreter.get_input_details()
    noise = np.random.default_rng(0).rayleigh(size=given["shape"]) * 10
    interpreter.set_tensor(given["index"], noise.astype(given["dtype"]))
    interpreter.invoke()
    interpreter.invoke()
    run: Callable[[], None] = interpreter.invoke
    return run


def _interpreter(model: Path, threads: int = 1) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model.read_bytes(), num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def _cpu(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    task.__name__: task for task in (prepare, network, spleeter_keras, spleeter_int8)
}


def main(text: str) -> None:
    """Carries out a task and prints the answer."""
    task = json.loads(text)
    print(json.dumps(TASKS[task.pop("name")](**task)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
