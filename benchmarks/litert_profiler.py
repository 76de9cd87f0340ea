"""Time by operator inside the XNNPACK delegate, from LiteRT's own profiler.

The interpreter of ai-edge-litert has no profiler that Python can ask. The library that comes with
it, libLiteRt.so, has one in its C interface, and XNNPACK reports its operators to it: this calls it
with ctypes. The library's functions are those of ai-edge-litert 2.3; the profile comes as a text,
which is read here, because the C structures behind it change from version to version.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CPU = 1
OPTIONS = {
    b"runtime_options_string": b"enable_profiling = true\n",
    b"xnnpack": b"num_threads = 1\n",
}
FLOAT32 = 1

_LINE = re.compile(
    r"^\s*(?P<name>\S.*?)\s+(?:\d+\.\d{3}\s+){2}(?P<ms>\d+\.\d{3})\s+\d+\.\d+%\s+\d+\.\d+%"
    r"\s+-?\d+\.\d+\s+\d+\s+\[?\S"
)


class ProfilerError(Exception):
    """The library is not the one known here, or refused a call."""


class _TensorType(ctypes.Structure):
    _fields_ = (
        ("element", ctypes.c_int),
        ("rank", ctypes.c_uint32),
        ("dimensions", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    )


def profile(model: Path, runs: int, between: Callable[[], None]) -> list[tuple[str, float]]:
    """Runs a model with one thread on zeros and returns its operators in the order they ran in.

    Args:
        model: with float32 input and outputs and one signature.
        runs: profiled, after two that are not.
        between: called before each profiled run.

    Returns:
        Name, as XNNPACK calls it, or TFLite where XNNPACK did not take it, and seconds of one run,
        the least of all: what else the machine does only adds to it.

    Raises:
        ProfilerError: the library is missing, is another one, or refuses the model;
            or the model is too small to be timed.
    """
    session = _Session(model)
    session.run()
    session.run()
    rows = []
    for _ in range(runs):
        between()
        rows.append(parse(session.profiled_run()))
    names = [name for name, _ in rows[0]]
    if not names or any([name for name, _ in row] != names for row in rows):
        raise ProfilerError("the profiler's text must list the same operators in each run")
    times = [min(ms) / 1000 for ms in zip(*([ms for _, ms in row] for row in rows), strict=True)]
    if not sum(times):
        raise ProfilerError("the operators must take a microsecond at least: use a larger model")
    return list(zip(names, times, strict=True))


def parse(text: str) -> list[tuple[str, float]]:
    """Returns operators and their milliseconds from a profile's section "Run Order".

    Args:
        text: the profiler's summary.
    """
    _, _, rest = text.partition(" Run Order ")
    section, _, _ = rest.partition(" Top by Computation Time ")
    found = (_LINE.match(line) for line in section.splitlines())
    return [(m["name"].removeprefix("Delegate/"), float(m["ms"])) for m in found if m]


class _Session:
    """A compiled model with its buffers; lives until the process ends."""

    def __init__(self, model: Path) -> None:
        self._library = _library()
        environment = self._made("LiteRtCreateEnvironment", 0, None)
        loaded = self._made("LiteRtCreateModelFromFile", environment, str(model).encode())
        self._compiled = self._made(
            "LiteRtCreateCompiledModel", environment, loaded, self._options()
        )
        self._profiler = self._made("LiteRtCompiledModelGetProfiler", self._compiled)
        inputs, outputs = _shapes(model)
        self._inputs = self._buffers(environment, "Input", inputs)
        self._outputs = self._buffers(environment, "Output", outputs)

    def run(self) -> None:
        """Runs the network once."""
        self._call(
            "LiteRtRunCompiledModel", self._compiled, ctypes.c_size_t(0),
            ctypes.c_size_t(len(self._inputs)), self._inputs,
            ctypes.c_size_t(len(self._outputs)), self._outputs,
        )  # fmt: skip

    def profiled_run(self) -> str:
        """Runs the network once and returns the profiler's summary."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        self.run()
        self._call("LiteRtStopProfiler", self._profiler)
        summary = ctypes.c_char_p()
        self._call("LiteRtGetProfileSummary", self._profiler, self._compiled, ctypes.byref(summary))
        return (summary.value or b"").decode("utf-8", "replace")

    def _options(self) -> ctypes.c_void_p:
        options = self._made("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        # The library frees its options through this; they are Python's, which frees them itself.
        kept = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
        self._kept: list[Any] = [kept]
        for name, text in OPTIONS.items():
            buffer = ctypes.create_string_buffer(text)
            self._kept.append(buffer)
            opaque = self._made("LiteRtCreateOpaqueOptions", name, buffer, kept)
            self._call("LiteRtAddOpaqueOptions", options, opaque)
        return options

    def _buffers(
        self, environment: ctypes.c_void_p, kind: str, shapes: Sequence[Sequence[int]]
    ) -> Any:
        """Returns an array of buffers on the host for the signature's inputs or outputs."""
        buffers = (ctypes.c_void_p * len(shapes))()
        for index, shape in enumerate(shapes):
            needed = self._made(
                f"LiteRtGetCompiledModel{kind}BufferRequirements", self._compiled,
                ctypes.c_size_t(0), ctypes.c_size_t(index),
            )  # fmt: skip
            tensor = _TensorType(FLOAT32, len(shape), (ctypes.c_int32 * 8)(*shape))
            buffers[index] = self._made(
                "LiteRtCreateManagedTensorBufferFromRequirements", environment,
                ctypes.byref(tensor), needed,
            )  # fmt: skip
        return buffers

    def _made(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """Calls a function whose last argument takes the result."""
        result = ctypes.c_void_p()
        self._call(name, *arguments, ctypes.byref(result))
        return result

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise ProfilerError(f"{name} must return 0, it returned {status}")


def _library() -> ctypes.CDLL:
    import ai_edge_litert

    path = Path(ai_edge_litert.__file__).with_name("libLiteRt.so")
    try:
        library = ctypes.CDLL(str(path))
        library.LiteRtGetProfileSummary  # noqa: B018  the newest of the functions used
    except (OSError, AttributeError) as error:
        raise ProfilerError(f"ai-edge-litert 2.3 for Linux is needed ({error})") from error
    return library


def _shapes(model: Path) -> tuple[list[list[int]], list[list[int]]]:
    """Returns the shapes of the signature's inputs and outputs."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=model.read_bytes()).get_signature_runner()
    details = (runner.get_input_details(), runner.get_output_details())
    inputs, outputs = ([[*map(int, d["shape"])] for d in part.values()] for part in details)
    return inputs, outputs
