"""From a request to files on disk: sources, decoding, batches, the engine, and runs that can be resumed."""
