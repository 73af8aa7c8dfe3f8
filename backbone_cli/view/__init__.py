"""Pictures of feature maps. Maps come from `photos.py`; everything else only uses numpy and Pillow."""
