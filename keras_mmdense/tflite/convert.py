"""The export's own processes: `python -m keras_mmdense.tflite.convert TASK`, by `export()`.

`convert FOLDER CONTEXT PRECISION ...`: FOLDER holds `model.keras`, `check.npy` and
`calibration.npy`. Each precision becomes `<precision>.tflite`, a bare flatbuffer, and
`<precision>.npz`, its outputs for the check windows; Keras' own are in `keras.npz`. Lines
`STEP ...` tell what is being done. A causal network becomes a step of one frame. If CONTEXT is not
0, another becomes a step of as many frames as the check windows have without CONTEXT frames at each
end. `taps.json` tells what steps read of past ones.

`probe FILE`: measures the cost of one file, with NumPy and ai-edge-litert alone. Prints a line of
JSON: `load_s`, `cpu_s` of one run (one thread, the least of five), `peak_mb` of the process,
`operators` before the delegate takes them, `delegates` (partitions; 1 is best) and `outside`, the
operators that stay out of them.
"""

import itertools
import json
import re
import sys
import tempfile
import time
import timeit
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmdense_edge.model.contract import States
from mmdense_edge.model.interpreter import Memory

from keras_mmdense.tflite.precisions import PRECISIONS

SIGNATURE = "serving_default"
PAST, PRESENT = "past", "present"  # of a step
CALIBRATED = 128  # steps at most to calibrate on
RUNS = 5


def convert(folder: str, context: str, *precisions: str) -> None:
    """Convert to all precisions and run each file on the check windows."""
    import keras

    from keras_mmdense.model import build_from_settings, prefix_of
    from keras_mmdense.model_settings import settings_of
    from keras_mmdense.normalization import copy_weights
    from keras_mmdense.tflite.rewrite import rewrite
    from keras_mmdense.tflite.streaming import streaming, windowed

    place, late = Path(folder), int(context)
    windows = np.load(place / "check.npy")[:, None]
    loaded = keras.saving.load_model(place / "model.keras", compile=False)
    settings = settings_of(loaded)

    def fixed(frames: int | None) -> keras.Model:
        network = build_from_settings(replace(settings, frames=frames))
        copy_weights(loaded, network)
        masks = {  # of a mask head, the file gives the masks
            source: network.get_layer(f"{prefix_of(settings, source)}mask").output
            for source in (settings.sources if settings.head == "mask" else ())
        }
        return keras.Model(network.input, masks or network.output)

    network = fixed(windows.shape[2])
    print("STEP running Keras", flush=True)
    _save(place / "keras.npz", [network(window, training=False) for window in windows])
    states = None
    if settings.causal or late:
        network = fixed(None if late else 1)
    for name in precisions:
        print(f"STEP converting to {name}", flush=True)
        precision = PRECISIONS[name]
        rewritten = rewrite(
            network,
            depthwise_norms=precision.depthwise_norms,
            depth_to_space=precision.depth_to_space,
            parts=precision.parts,
            folded_maps=precision.folded_maps,
        )
        if settings.causal or late:
            rewritten, taps = (
                windowed(rewritten, windows.shape[2] - 2 * late, late)
                if late
                else streaming(rewritten)
            )
            states = States(PAST, PRESENT, tuple(taps))
            (place / "taps.json").write_text(json.dumps(taps))
        content = _float_model(rewritten, half=name == "float16")
        if name not in ("float32", "float16"):
            samples: Iterable[dict[str, Any]] | None = None
            if precision.music:
                music = np.load(place / "calibration.npy")[:, None]
                samples = [{"mixture": window} for window in music]
                if states:
                    samples = _recorded(content, music, states, late)
            content = _quantize(content, name, samples)
        (place / f"{name}.tflite").write_bytes(content)
        answers = [_answer(content, window, states, late) for window in windows]
        _save(place / f"{name}.npz", answers)


def _steps(runner: Any, window: Any, states: Any) -> Iterator[tuple[Any, Any]]:
    """Yield what the steps read and return, for all frames of a window."""
    memory, frames = Memory(states), runner.get_input_details()["mixture"]["shape"][1]
    for first in range(0, window.shape[1], frames):
        inputs = {"mixture": window[:, first : first + frames], PAST: memory.past().copy()}
        answer = runner(**inputs)
        memory.keep(answer.pop(PRESENT))
        yield inputs, answer


def _answer(content: bytes, window: Any, states: Any, late: int) -> dict[str, Any]:
    """Return the outputs of a file for a window, (1, frames, bins, channels).

    If they are `late`, those of the last frames are missing.
    """
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=content).get_signature_runner(SIGNATURE)
    if states is None:
        found: dict[str, Any] = runner(mixture=window)
        return found
    steps = [answer for _, answer in _steps(runner, window, states)]
    return {name: np.concatenate([s[name] for s in steps], axis=1)[:, late:] for name in steps[0]}


def _float_model(network: Any, half: bool) -> bytes:
    """Return a flatbuffer of static shapes, one signature with our names, built-in operators."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(network)
    specs = [tf.TensorSpec((1, *x.shape[1:]), tf.float32, name=x.name) for x in network.inputs]
    archive.add_endpoint(
        SIGNATURE,
        lambda *inputs: network(inputs[0] if len(inputs) == 1 else inputs, training=False),
        input_signature=specs,
    )
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if half:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        content: bytes = converter.convert()
    return content


def _recorded(content: bytes, music: Any, states: Any, late: int) -> Iterator[dict[str, Any]]:
    """Return what some of the steps of a float model read in the windows.

    What a network computes of zeros before a window is not what it computes of music: steps that
    read it are left out.
    """
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=content).get_signature_runner(SIGNATURE)
    frames = runner.get_input_details()["mixture"]["shape"][1]
    steps = (itertools.islice(_steps(runner, w, states), 2 * late // frames, None) for w in music)
    each = (inputs for inputs, _ in itertools.chain.from_iterable(steps))
    return itertools.islice(each, 0, None, 1 + len(music) * music.shape[2] // frames // CALIBRATED)


def _quantize(content: bytes, name: str, samples: Iterable[dict[str, Any]] | None) -> bytes:
    """Quantize a float model; its inputs, outputs and normalization stay float."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    recipes = {
        "dynamic": recipe.dynamic_wi8_afp32,
        "int8-weights": recipe.weight_only_wi8_afp32,
        "int8": recipe.static_wi8_ai8,
        "int16x8": recipe.static_wi8_ai16,
    }
    # A magnitude's heavy tail would take all of 8 bits: the graph is quantized behind the
    # compression (ADD, LOG) and the normalization (SUB, MUL). Values of a step's past and present
    # have the scales of the maps that they belong to, not one for all. Depthwise layers with float
    # values and 8-bit weights are slow.
    left = {".*": ["DEPTHWISE_CONV_2D"]}
    if samples is not None:
        left = {".*": ["INPUT", "OUTPUT", "ADD", "SUB", "MUL", "SPLIT"]}
        outputs = Interpreter(model_content=content).get_signature_runner().get_output_details()
        if PRESENT in outputs:
            left[re.escape(outputs[PRESENT]["name"])] = ["CONCATENATION"]
    work = quantizer.Quantizer(content)
    work.load_quantization_recipe(
        recipes[name]()
        + [
            {"regex": regex, "operation": op, "algorithm_key": "no_quantize", "op_config": {}}
            for regex, operations in left.items()
            for op in operations
        ]
    )
    ranges = None if samples is None else _ranges(work, samples)
    return bytes(work.quantize(ranges).quantized_model)


def _ranges(work: Any, samples: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return each tensor's least and largest value over all samples.

    The quantizer itself follows them with a moving average, which cuts off loud music.
    """
    ranges: dict[str, Any] = {}
    for sample in samples:
        for tensor, values in work.calibrate({SIGNATURE: [sample]}).items():
            known = ranges.setdefault(tensor, values)
            if "max" in values:
                known["min"] = np.minimum(known["min"], values["min"])
                known["max"] = np.maximum(known["max"], values["max"])
    return ranges


def _save(path: Path, outputs: list[dict[str, Any]]) -> None:
    """Store the outputs of all windows by source, (windows, frames, bins, channels)."""
    arrays: dict[str, Any] = {
        name: np.concatenate([np.asarray(output[name]) for output in outputs])
        for name in outputs[0]
    }
    np.savez(path, **arrays)


def probe(path: str) -> None:
    """Load a file, run it and print its figures."""
    from ai_edge_litert.interpreter import Interpreter
    from mmdense_edge.bench.host import peak_memory_bytes

    start = time.process_time()
    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    load = time.process_time() - start
    runner = interpreter.get_signature_runner(SIGNATURE)
    rng = np.random.default_rng(0)
    shapes = {name: tensor["shape"] for name, tensor in runner.get_input_details().items()}
    inputs = {name: rng.rayleigh(size=shape).astype(np.float32) for name, shape in shapes.items()}
    runner(**inputs)
    times = timeit.repeat(lambda: runner(**inputs), number=1, repeat=RUNS, timer=time.process_time)
    # The interpreter lists all operators, and its delegates with their inputs and outputs: what
    # lies between these is inside.
    listed = interpreter._get_ops_details()
    operators = [op for op in listed if op["op_name"] != "DELEGATE"]
    delegates = [op for op in listed if op["op_name"] == "DELEGATE"]
    producer = {int(tensor): op for op in operators for tensor in op["outputs"]}
    inside: set[int] = set()
    for delegate in delegates:
        given = {int(tensor) for tensor in delegate["inputs"]}
        open_tensors = [int(tensor) for tensor in delegate["outputs"]]
        while open_tensors:
            op = producer.get(open_tensors.pop())
            if op is not None and op["index"] not in inside:
                inside.add(op["index"])
                open_tensors += [t for t in map(int, op["inputs"]) if t not in given]
    found = {
        "load_s": load,
        "cpu_s": min(times),
        "peak_mb": (peak_memory_bytes() or 0) / 2**20,
        "operators": dict(Counter(op["op_name"] for op in operators)),
        "delegates": len(delegates),
        "outside": sorted(op["op_name"] for op in operators if op["index"] not in inside),
    }
    print("PROBE", json.dumps(found))


if __name__ == "__main__":
    {"convert": convert, "probe": probe}[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
