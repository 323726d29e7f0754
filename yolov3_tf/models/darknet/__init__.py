"""Darknet's own files: cfg -> network, weights files both ways, published weights."""
