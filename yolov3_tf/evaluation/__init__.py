"""Scores of detections against ground truth."""
