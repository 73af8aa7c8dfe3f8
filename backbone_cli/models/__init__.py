"""The architectures, one file per family. Models know no files: `checkpoint` reads the weights."""
