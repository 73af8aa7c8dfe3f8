"""MaskFormer on any backbone: configuration, model, image processor and post-processing."""
