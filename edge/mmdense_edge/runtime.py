"""Runs a model's network in whichever TFLite interpreter is installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mmdense_edge.contract import Contract, Model
from mmdense_edge.errors import InterpreterError, ModelError, UsageError

SIGNATURE = "serving_default"
MAX_THREADS = 256

# Smallest and fastest first: the package, and the module with the class `Interpreter`.
_RUNTIMES = (
    ("ai_edge_litert", "ai_edge_litert.interpreter"),
    ("tflite_runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite"),
)

Magnitude = npt.NDArray[np.float32]


def interpreter_class() -> tuple[str, Any]:
    """Returns the name of the first interpreter installed, and its class.

    Asked in this order: ai_edge_litert, tflite_runtime, tensorflow. One that is installed but
    does not load is an error, not a reason to try the next.

    Raises:
        InterpreterError: none is installed, or the one that is cannot work.
    """
    for package, module in _RUNTIMES:
        if importlib.util.find_spec(package) is None:
            continue
        if package == "tflite_runtime":
            _check_numpy()
        try:
            loaded = importlib.import_module(module)
        except ImportError as error:
            raise InterpreterError(
                f"{package} is installed but does not load ({error}): install it again"
            ) from error
        return package, loaded.Interpreter
    raise InterpreterError(
        "no TFLite interpreter is installed: pip install ai-edge-litert (Python 3.10 and later), "
        "or pip install 'mmdense-edge[tflite]' (Python 3.9 to 3.11, also armv7l)"
    )


def _check_numpy() -> None:
    # With NumPy 2 tflite_runtime imports, and its constructor then dies with a SystemError.
    if int(np.__version__.split(".")[0]) >= 2:
        raise InterpreterError(
            f"tflite-runtime needs NumPy 1, found NumPy {np.__version__}: "
            "pip install 'numpy<2', or pip install ai-edge-litert"
        )


class Network:
    """A model's network, loaded and warmed up.

    Args:
        model: the model, from `load_model`.
        num_threads: threads of the interpreter, 1 to 256, default 1; no more than free cores.

    Raises:
        InterpreterError: no usable interpreter is installed.
        ModelError: the model does not load, or differs from its contract.
        UsageError: `num_threads` out of range.
    """

    def __init__(self, model: Model, num_threads: int = 1) -> None:
        """Loads the model and runs it once, on silence."""
        if not isinstance(num_threads, int) or not 1 <= num_threads <= MAX_THREADS:
            raise UsageError(f"threads must be from 1 to {MAX_THREADS}, got {num_threads}")
        self.contract: Contract = model.contract
        self.num_threads = num_threads
        self.runtime, interpreter = interpreter_class()
        try:
            self._interpreter = interpreter(model_content=model.content, num_threads=num_threads)
            self._interpreter.allocate_tensors()
            # The runner must not outlive this call: the interpreter refuses to run while it does.
            self._input, self._outputs = _check(
                model, self._interpreter.get_signature_runner(SIGNATURE)
            )
        except ModelError:
            raise
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{model.path}: {self.runtime} cannot load it ({error})") from error
        shape = (self.contract.frames, self.contract.bins, self.contract.channels)
        self(np.zeros(shape, np.float32))

    def __call__(self, magnitude: Magnitude) -> Mapping[str, Magnitude]:
        """Estimates the sources' magnitudes in one window.

        Args:
            magnitude: of the mixture, shape (frames, bins, channels), float32.

        Returns:
            For each source an array of the same shape.

        Raises:
            ModelError: the model answered with NaN or infinity.
        """
        self._interpreter.set_tensor(self._input, magnitude[None])
        self._interpreter.invoke()
        estimates = {}
        for source, index in self._outputs.items():
            estimate = self._interpreter.get_tensor(index)[0]
            if not np.isfinite(estimate).all():
                raise ModelError(
                    f"the model {self.contract.name!r} answered with NaN or infinity for "
                    f"{source!r}: use another model or precision"
                )
            is_mask = self.contract.output == "mask"
            estimates[source] = estimate * magnitude if is_mask else estimate
        return estimates


def _check(model: Model, runner: Any) -> tuple[int, dict[str, int]]:
    """Compares tensors with the contract; returns the indices of the input and outputs."""
    contract = model.contract
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    names = ({contract.input}, set(contract.outputs.values()))
    if (set(inputs), set(outputs)) != names:
        raise ModelError(
            f"{model.path}: the contract names input {sorted(names[0])} and outputs "
            f"{sorted(names[1])}, the model has {sorted(inputs)} and {sorted(outputs)}"
        )
    expected = (1, contract.frames, contract.bins, contract.channels)
    for name, tensor in [*inputs.items(), *outputs.items()]:
        shape = tuple(int(size) for size in tensor["shape"])
        if shape != expected or tensor["dtype"] != np.float32:
            raise ModelError(
                f"{model.path}: tensor {name!r} must be float32 {expected}, found "
                f"{np.dtype(tensor['dtype']).name} {shape}"
            )
    index = {source: outputs[name]["index"] for source, name in contract.outputs.items()}
    return inputs[contract.input]["index"], index
