"""Exercises from the first tape to batch normalization. ``python -m tutorials.exercises`` is the board."""
