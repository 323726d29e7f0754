"""Networks: images in, one row of raw predictions a slot out."""
