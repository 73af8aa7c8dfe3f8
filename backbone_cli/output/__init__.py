"""The on-disk format: one description of the output folder for its writers, readers, inspection and resume."""
