"""Images out of numbers: boxes on images, plots of result files, anchors among boxes."""
