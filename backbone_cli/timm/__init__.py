"""Everything about timm: what its models are (without importing it), their weights, preprocessing and networks."""
