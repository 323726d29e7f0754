"""What is wrong or odd with a labelled set, and a page that shows it."""
