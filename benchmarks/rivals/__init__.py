"""Other ways to have the same videos made, for benchmarks/side_by_side.py. Each is what its own documentation shows.

What belongs here: the programs, and how each is started (driven.py). What does not: this project's own code, and tuning.
"""
