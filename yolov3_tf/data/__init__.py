"""Annotations in, batches out: readers (to Record), augmentation, and the input pipeline."""
