"""The page of a run or of any detector's results, its model card, and what it was made with."""
