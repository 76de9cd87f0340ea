"""Model files: contract, container, bundled models and the interpreter that runs them."""
