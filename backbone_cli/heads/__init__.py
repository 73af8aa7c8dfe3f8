"""What stands on a backbone: MaskFormer."""
