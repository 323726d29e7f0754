"""What is wrong or odd with a data set, and a page that shows it."""
