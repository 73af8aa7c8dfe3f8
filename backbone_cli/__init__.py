"""Feature maps of vision backbones, and nothing else.

from backbone_cli import AutoBackbone, AutoImageProcessor

processor = AutoImageProcessor.from_pretrained("microsoft/swin-tiny-patch4-window7-224")
model = AutoBackbone.from_pretrained("microsoft/swin-tiny-patch4-window7-224", out_indices=(0, 1, 2))
maps = model(**processor(image, return_tensors="pt")).feature_maps
"""
