"""Speed and memory figures, one module each with `run() -> list[(label, value, unit)]`: `python -m benchmarks`."""
