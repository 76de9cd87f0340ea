"""Measure one file's cost in a separate process: `python -m keras_mmdense.tflite.probe FILE`.

Prints a line of JSON: `load_s`, `cpu_s` of one run (one thread, the least of five), `peak_mb` of
the process, `operators` before the delegate takes them, `delegates` (partitions; 1 is best) and
`outside`, the operators that stay out of them. Needs NumPy and ai-edge-litert alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter

RUNS = 5


def main(path: str) -> None:
    """Load, run and print."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from mmdense_edge.bench.host import peak_memory_bytes

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
    main(sys.argv[1])
