"""The fast paths of the engine: array operations laid out once on fixed memory, then only replayed."""
