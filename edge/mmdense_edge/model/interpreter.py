"""Runs a model's network in whichever TFLite interpreter is installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
import threading
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mmdense_edge.errors import InterpreterError, ModelError, UsageError
from mmdense_edge.model.contract import Contract, Model

SIGNATURE = "serving_default"
MAX_THREADS = 256

# Smallest and fastest first: the package, and the module with the class `Interpreter`.
_RUNTIMES = (
    ("ai_edge_litert", "ai_edge_litert.interpreter"),
    ("tflite_runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite"),
)

# Where the interpreters have wheels. tflite-runtime stopped at Python 3.11; 32-bit Linux calls an
# Arm processor armv7l or armv8l.
_LITERT_SYSTEMS = {
    *(("linux", "x86_64"), ("linux", "arm64"), ("darwin", "arm64"), ("win32", "amd64")),
}
_TENSORFLOW_SYSTEMS = {*_LITERT_SYSTEMS, ("darwin", "x86_64")}
_TFLITE_MACHINES = {"aarch64", "armv7l", "armv8l"}

# What a package raises that was built for another NumPy, C library or processor.
_LOAD_ERRORS = (ImportError, AttributeError, OSError, SystemError)

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
        except _LOAD_ERRORS as error:
            raise _unusable(package, error) from error
        return package, loaded.Interpreter
    raise InterpreterError(f"no TFLite interpreter is installed: {what_to_install()}")


def describe(package: str) -> str:
    """Returns an interpreter's name with its version, as pip knows it.

    Args:
        package: a name that `interpreter_class` returns.
    """
    name = package.replace("_", "-")
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return name


def what_to_install() -> str:
    """Returns the command that installs an interpreter for this Python and this machine.

    Where no interpreter has wheels, it says so and what to use instead.
    """
    machine, version = platform.machine().lower(), sys.version_info[:2]
    # A 32-bit system with a 64-bit kernel gives the kernel's name; the size of pointers tells.
    wide = sys.maxsize > 1 << 32
    system = (sys.platform, "arm64" if machine == "aarch64" else machine)
    if wide and system in _LITERT_SYSTEMS:
        return "pip install ai-edge-litert"
    if sys.platform == "linux" and version < (3, 12) and machine in _TFLITE_MACHINES:
        return "pip install tflite-runtime 'numpy<2'"
    if wide and system in _TENSORFLOW_SYSTEMS:
        return "pip install tensorflow (the small interpreters have no wheels here)"
    return (
        f"none has wheels for Python {version[0]}.{version[1]} on {sys.platform} {machine}"
        f"{'' if wide else ' with 32 bits'}: use a 64-bit system with Python 3.11 or later"
    )


def _check_numpy() -> None:
    # With NumPy 2 tflite_runtime imports, and its constructor then dies with a SystemError.
    if int(np.__version__.split(".")[0]) >= 2:
        other = what_to_install()
        raise InterpreterError(
            f"tflite-runtime needs NumPy 1, found NumPy {np.__version__}: pip install 'numpy<2'"
            + ("" if "tflite" in other else f", or {other}")
        )


def _unusable(package: str, error: Exception) -> InterpreterError:
    return InterpreterError(
        f"{package} is installed but does not work with NumPy {np.__version__} ({error}): "
        f"install it again, or {what_to_install()}"
    )


def free_cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_threads(package: str, num_threads: int) -> None:
    # Its threads spin while they wait: with more of them than cores a window takes 50 times as
    # long.
    if package == "tflite_runtime" and num_threads > free_cores():
        raise UsageError(
            f"with tflite-runtime threads may be {free_cores()} at most, the cores of this "
            f"process, got {num_threads}"
        )


@runtime_checkable
class Network(Protocol):
    """What the chain separates with: a model file, or any other model that has these members.

    Args:
        contract: what goes in and what comes out.
        runtime: name of the package that computes it.
        num_threads: threads of the interpreter; None if the package decides.
    """

    contract: Contract
    runtime: str
    num_threads: int | None

    def __call__(self, magnitude: Magnitude) -> Mapping[str, Magnitude]:
        """Estimates the sources' magnitudes in one window.

        Args:
            magnitude: of the mixture, shape (frames, bins, channels), float32.

        Returns:
            For each source an array of the same shape. It may have fewer bins: those above take
            the mask of its last one.
        """


class TFLiteNetwork:
    """The network of a model file, loaded and warmed up; calls from several threads take turns.

    Args:
        model: the model, from `load_model`.
        num_threads: threads of the interpreter, 1 to 256, default 1. More than there are cores
            gain nothing; tflite-runtime is refused them.

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
        self.num_threads: int | None = num_threads
        self._lock = threading.Lock()
        self.runtime, interpreter = interpreter_class()
        _check_threads(self.runtime, num_threads)
        try:
            self._interpreter = interpreter(model_content=model.content, num_threads=num_threads)
            self._interpreter.allocate_tensors()
            # The runner must not outlive this call: the interpreter refuses to run while it does.
            self._input, self._outputs = _check(
                model, self._interpreter.get_signature_runner(SIGNATURE)
            )
        except ModelError:
            raise
        except SystemError as error:
            raise _unusable(self.runtime, error) from error
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
        # The interpreter has one set of tensors, and releases Python's own lock while it works.
        with self._lock:
            self._interpreter.set_tensor(self._input, magnitude[None])
            self._interpreter.invoke()
            answers = {name: self._interpreter.get_tensor(at) for name, at in self._outputs.items()}
        estimates = {}
        for source, (estimate,) in answers.items():
            if not np.isfinite(estimate).all():
                raise ModelError(
                    f"the model {self.contract.name!r} answered with NaN or infinity for "
                    f"{source!r}: use another model or precision"
                )
            if self.contract.output == "mask":
                estimate *= magnitude  # get_tensor made a copy
            estimates[source] = estimate
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
