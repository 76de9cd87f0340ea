"""The model file: its contract, its container, the bundled ones, the interpreter that runs it."""
