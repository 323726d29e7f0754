"""Detection with a trained network, and the images, videos and streams that it can read."""
