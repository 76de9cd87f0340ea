"""Execute notebooks and save them with their outputs: `python notebooks/execute.py [NOTEBOOK...]`.

Without names all of this folder. What changes from run to run without meaning is left out: times
of execution, how printed text was cut into pieces, what TensorFlow's start prints. An output that
names a folder of this machine is refused, and so is a notebook of more than 1 MB; then the file
stays as it was.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
MAX_BYTES = 1_000_000
CELL_SECONDS = 1200  # a machine may be busy
# what the start of TensorFlow and of its interpreter writes at any log level
START = re.compile(
    r"WARNING: All log messages before|[IWE]\d{4} \d\d:\d\d|To enable the foll|INFO: Created Te"
)
LOCAL = re.compile(r"(?<![\w.])/(?:tmp|home|root|work|Users|var|private|opt|usr)/[\w.-]+")


def execute(notebook: Any, folder: Path) -> Any:
    """Run a notebook from top to bottom in a folder, in place; return it without what varies."""
    NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_without_start, cell.outputs) if output]
    return notebook


def _without_start(output: Any) -> Any:
    """Return an output without what TensorFlow's start wrote; None if that was all."""
    if output.get("name") != "stderr":
        return output
    lines = [line for line in output.text.splitlines(True) if not START.match(line)]
    output.text = "".join(lines)
    return output if output.text.strip() else None


def faults(notebook: Any) -> list[str]:
    """Return what a notebook may not be committed with."""
    found = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        if not cell.execution_count:
            found.append(f"cell {number} was not executed")
        for text in map(_text, cell.outputs):
            found += [f"cell {number} prints {path}" for path in LOCAL.findall(text)]
        if any(o.output_type == "error" or o.get("name") == "stderr" for o in cell.outputs):
            found.append(f"cell {number} prints an error or a warning")
    size = len(nbformat.writes(notebook).encode())
    return [*found, f"{size} bytes, more than {MAX_BYTES}"] if size > MAX_BYTES else found


def _text(output: Any) -> str:
    """Return what an output shows as text; pictures and sounds are none."""
    return "\n".join([output.get("text", ""), *output.get("traceback", ()),
                      output.get("data", {}).get("text/plain", "")])  # fmt: skip


def main(names: Sequence[str]) -> int:
    """Execute and save; return the exit code."""
    code = 0
    for path in map(Path, names) if names else sorted(HERE.glob("*.ipynb")):
        begin = time.monotonic()
        notebook = execute(nbformat.read(path, as_version=4), path.resolve().parent)
        wrong = faults(notebook)
        if wrong:
            print(f"{path.name}: {'; '.join(wrong)}. It was not saved.", file=sys.stderr)
            code = 1
            continue
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.monotonic() - begin:.0f} s, {path.stat().st_size / 1e3:.0f} kB")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
