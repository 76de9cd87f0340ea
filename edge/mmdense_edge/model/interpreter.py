"""Run a model's network in whichever TFLite interpreter is installed."""

import copy
import importlib
import importlib.metadata
import importlib.util
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from mmdense_edge.errors import InterpreterError, ModelError, refuse_if
from mmdense_edge.model.contract import Contract, States
from mmdense_edge.model.model_file import Model

SIGNATURE = "serving_default"
MAX_THREADS = 256

# Smallest and fastest first: the package, and the module with the class `Interpreter`.
_RUNTIMES = (
    ("ai_edge_litert", "ai_edge_litert.interpreter"),
    ("tflite_runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite"),
)

# Where each interpreter has wheels; pip installs the right one with this package.
_INSTALL = (
    "pip install ai-edge-litert (64-bit Linux, Windows, macOS on Arm), pip install tflite-runtime "
    "'numpy<2' (32-bit Arm with Python 3.11) or pip install tensorflow (macOS on Intel)"
)

# Raised by packages that were built for another NumPy, C library or processor.
_LOAD_ERRORS = (ImportError, AttributeError, OSError, SystemError)

Magnitude = npt.NDArray[np.float32]


def interpreter_class() -> tuple[str, Any]:
    """Return the name of the first interpreter installed, and its class.

    The order is ai_edge_litert, tflite_runtime, tensorflow. If one is installed but does not load,
    that is an error, not a reason to try the next.

    Raises:
        InterpreterError: None is installed, or the installed one does not work.
    """
    for package, module in _RUNTIMES:
        if importlib.util.find_spec(package) is None:
            continue
        # With NumPy 2 tflite_runtime imports, and its constructor then dies with a SystemError.
        refuse_if(
            package == "tflite_runtime" and int(np.__version__.split(".")[0]) >= 2,
            f"tflite-runtime needs NumPy 1; received {np.__version__}: pip install 'numpy<2', "
            "or pip install ai-edge-litert on a 64-bit system",
            InterpreterError,
        )
        try:
            return package, importlib.import_module(module).Interpreter
        except _LOAD_ERRORS as error:
            raise _unusable(package, error) from error
    raise InterpreterError(f"no TFLite interpreter is installed: {_INSTALL}")


def describe(package: str) -> str:
    """Return an interpreter's name with its version, as pip knows it.

    Args:
        package: A name that `interpreter_class` returns.
    """
    name = package.replace("_", "-")
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return name


def _unusable(package: str, error: Exception) -> InterpreterError:
    return InterpreterError(
        f"{package} is installed but does not work with NumPy {np.__version__} ({error}). "
        f"Install it again, or {_INSTALL}"
    )


def free_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@runtime_checkable
class Network(Protocol):
    """A network for the chain: a model file, or any other model that has these members.

    Args:
        contract: Its inputs and outputs.
        runtime: Name of the package that runs it.
        num_threads: Threads of the interpreter; None if the package decides.
    """

    contract: Contract
    runtime: str
    num_threads: int | None

    def __call__(self, magnitude: Magnitude) -> Mapping[str, Magnitude]:
        """Estimate the sources' masks or magnitudes, as the contract's `output` says.

        Args:
            magnitude: Magnitude of the mixture in one window, shape (frames, bins, channels),
                float32.

        Returns:
            An array of the same shape for each source. It may have fewer bins; the mask of its
            last bin applies to those above.
        """


def for_signal(network: Network) -> Network:
    """Return the network for one signal: one with states starts from silence; others are shared."""
    make: Callable[[Network], Network] | None = getattr(type(network), "for_signal", None)
    return make(network) if make else network


class Memory:
    """What a network with states remembers of one signal: values of past windows, zeros at first.

    Args:
        states: Of the contract.

    Example:
        >>> memory = Memory(States("past", "present", ((0, 2, 1), (0, 1, 2))))
        >>> for values in ([1, 2], [3, 4]):
        ...     memory.keep(np.array([values], np.float32))
        >>> memory.past()
        array([[3., 4., 1.]], dtype=float32)
    """

    def __init__(self, states: States) -> None:
        self._taps = states.taps
        self._ring = np.zeros((states.windows, states.kept), np.float32)
        self._past = np.zeros((1, states.read), np.float32)
        self._next = 0  # row of the next window
        self.is_empty = True

    def past(self) -> Magnitude:
        """Return what the next window reads, (1, values), valid until the next call."""
        first = 0
        for start, stop, delay in self._taps:
            last = first + stop - start
            self._past[0, first:last] = self._ring[self._next - delay, start:stop]
            first = last
        return self._past

    def keep(self, present: Magnitude) -> None:
        """Take the values of a window, (1, values)."""
        self.is_empty = False
        self._ring[self._next] = present[0]
        self._next = (self._next + 1) % len(self._ring)


class TFLiteNetwork:
    """The network of a model file, loaded and warmed up; calls from several threads take turns.

    Args:
        model: The model, from `load_model`.
        num_threads: Threads of the interpreter, 1 to 256, default 1. More threads than cores bring
            no gain, and tflite-runtime does not accept them.

    Raises:
        InterpreterError: No usable interpreter is installed.
        ModelError: The model does not load, or differs from its contract.
        UsageError: `num_threads` out of range.
    """

    def __init__(self, model: Model, num_threads: int = 1) -> None:
        """Load the model and run it once, on silence."""
        refuse_if(
            not isinstance(num_threads, int) or not 1 <= num_threads <= MAX_THREADS,
            f"threads must be from 1 to {MAX_THREADS}; received {num_threads}",
        )
        contract = self.contract = model.contract
        self.num_threads: int | None = num_threads
        self._lock = threading.Lock()
        self.runtime, interpreter = interpreter_class()
        # Its threads spin while they wait: with more threads than cores a window takes 50 times
        # as long.
        refuse_if(
            self.runtime == "tflite_runtime" and num_threads > free_cores(),
            f"with tflite-runtime, threads must be at most {free_cores()}, the cores of this "
            f"process; received {num_threads}",
        )
        try:
            self._interpreter = interpreter(model_content=model.content, num_threads=num_threads)
            self._interpreter.allocate_tensors()
            runner = self._interpreter.get_signature_runner(SIGNATURE)
            inputs, outputs = runner.get_input_details(), runner.get_output_details()
        except SystemError as error:
            raise _unusable(self.runtime, error) from error
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{model.path}: {self.runtime} cannot load it ({error})") from error
        del runner  # the interpreter refuses to run while the runner exists

        states = contract.states
        frames = contract.frames if states is None else contract.step_frames
        expected = (1, frames, contract.bins, contract.channels)
        shapes: dict[str, tuple[int, ...]]
        shapes = dict.fromkeys([contract.input, *contract.outputs.values()], expected)
        named = ({contract.input}, set(contract.outputs.values()))
        if states is not None:
            named = named[0] | {states.input}, named[1] | {states.output}
            shapes |= {states.input: (1, states.read), states.output: (1, states.kept)}
        refuse_if(
            (set(inputs), set(outputs)) != named,
            f"{model.path}: the contract names input {sorted(named[0])} and outputs "
            f"{sorted(named[1])}, but the model has {sorted(inputs)} and {sorted(outputs)}",
            ModelError,
        )
        for name, tensor in [*inputs.items(), *outputs.items()]:
            shape = tuple(int(size) for size in tensor["shape"])
            refuse_if(
                shape != shapes[name] or tensor["dtype"] != np.float32,
                f"{model.path}: tensor {name!r} must be float32 {shapes[name]}; received "
                f"{np.dtype(tensor['dtype']).name} {shape}",
                ModelError,
            )
        self._input = inputs[contract.input]["index"]
        self._outputs = {name: outputs[key]["index"] for name, key in contract.outputs.items()}
        self._memory: Memory | None = None
        if states is not None:
            self._states = inputs[states.input]["index"], outputs[states.output]["index"]
            self._memory = Memory(states)
        self._run(np.zeros(expected[1:], np.float32))
        if states is not None:
            self._silent = self._interpreter.get_tensor(self._states[1])  # what silence leaves
            self._memory = Memory(states)

    def for_signal(self) -> Network:
        """Return the network for one signal, which must be its only one; the interpreter is shared.

        Without states, this is the network itself.
        """
        if self._memory is None:
            return self
        one = copy.copy(self)
        one._memory = Memory(cast(States, self.contract.states))
        return one

    def __call__(self, magnitude: Magnitude) -> Mapping[str, Magnitude]:
        """Estimate the sources' masks or magnitudes, as the contract's `output` says.

        Args:
            magnitude: Magnitude of the mixture in one window, shape (frames, bins, channels),
                float32. With states, each window follows the one before by `step_frames`.

        Returns:
            An array of the same shape for each source; with states, zeros in the context.
        """
        if self._memory is None:
            return self._run(magnitude)
        # Of later windows, all but the last frames have been seen; of a first one, the silence.
        step, context = self.contract.step_frames, self.contract.context_frames
        start = 0 if self._memory.is_empty else 2 * context
        if context and start == 0 and not magnitude[:step].any():
            self._memory.keep(self._silent)
            start = step
        for first in range(start, len(magnitude), step):
            answers = self._run(magnitude[first : first + step])
        outside = ((context, context), (0, 0), (0, 0))
        return {n: np.pad(x, outside) for n, x in answers.items()} if context else answers

    def _run(self, magnitude: Magnitude) -> Mapping[str, Magnitude]:
        """Return the outputs for the frames that the interpreter takes at a time."""
        # The interpreter has one set of tensors and releases the GIL while it runs.
        with self._lock:
            self._interpreter.set_tensor(self._input, magnitude[None])
            if self._memory is not None:
                self._interpreter.set_tensor(self._states[0], self._memory.past())
            self._interpreter.invoke()
            if self._memory is not None:
                self._memory.keep(self._interpreter.get_tensor(self._states[1]))
            # get_tensor makes a copy.
            return {n: self._interpreter.get_tensor(at)[0] for n, at in self._outputs.items()}
