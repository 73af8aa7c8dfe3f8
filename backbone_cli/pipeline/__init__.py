"""From a request to files on disk: sources, decoding ahead, batches, the model, sinks, the index."""
