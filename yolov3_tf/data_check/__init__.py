"""Finds what is wrong or unusual in a data set, and writes a page that shows it."""
