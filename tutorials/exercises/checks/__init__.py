"""What the exercises are checked with: one module for each, and ``framework``, which runs and diagnoses.

Students: the wrong derivations and the right values are in here. You will learn more from the hints.
"""
