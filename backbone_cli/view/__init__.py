"""Pictures of feature maps. `seen.py` is where maps come from; all else knows numpy and pillow, and no model."""
