"""Pictures of feature maps: numpy and pillow only; where the maps come from is no matter here."""
