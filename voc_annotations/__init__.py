"""``python -m voc_annotations``: turns a VOCdevkit into checked annotation lists."""
