"""Measures of detections against ground truth."""
