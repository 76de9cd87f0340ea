"""What one file costs, in a process of its own: `python -m keras_mmdense.tflite.probe FILE`.

Prints a line of JSON: `load_s`, `cpu_s` of one run (one thread, the least of five), `peak_mb` of
the process, `operators` before the delegate takes them, `delegates` (partitions; 1 is best) and
`outside`, the operators that stay out of them. Needs NumPy and ai-edge-litert alone.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

RUNS = 5


def main(path: str) -> None:
    """Load, run and print."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    start = time.process_time()
    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    load = time.process_time() - start
    runner = interpreter.get_signature_runner("serving_default")
    shape = runner.get_input_details()["mixture"]["shape"]
    window = np.random.default_rng(0).rayleigh(size=shape).astype(np.float32)
    runner(mixture=window)
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        runner(mixture=window)
        times.append(time.process_time() - start)
    operators = [op for op in interpreter._get_ops_details() if op["op_name"] != "DELEGATE"]
    delegates = [op for op in interpreter._get_ops_details() if op["op_name"] == "DELEGATE"]
    found = {
        "load_s": load,
        "cpu_s": min(times),
        "peak_mb": peak_mb(),
        "operators": dict(Counter(op["op_name"] for op in operators)),
        "delegates": len(delegates),
        "outside": sorted(op["op_name"] for op in _outside(operators, delegates)),
    }
    print("PROBE", json.dumps(found))


def peak_mb() -> float:
    """Return the most memory that this process held, in MB of 2**20 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux getrusage knows of the parent's memory, too
        match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text("ascii"))
        if match:
            return int(match[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _outside(operators: list[Any], delegates: list[Any]) -> list[Any]:
    """Return the operators that no delegate has taken.

    The interpreter lists all operators, and beside them its delegates with their inputs and
    outputs: what lies between these is inside.
    """
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
    return [op for op in operators if op["index"] not in inside]


if __name__ == "__main__":
    main(sys.argv[1])
