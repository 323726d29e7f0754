"""The criterion: box, class and objectness terms and their named total."""
