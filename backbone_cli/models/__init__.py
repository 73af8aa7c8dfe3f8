"""The architectures, one file a family. Models know no files: `checkpoint` brings the weights."""
