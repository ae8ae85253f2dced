"""Each benchmark runs through once, small: the figures are there and the work was right. Nothing here asserts a time."""
