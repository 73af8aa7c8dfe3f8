"""From a file to pixels: reading images, and what a model's image processor does to them."""
