"""From a file to pixels: decoding images, and what a model's image processor does to them."""
