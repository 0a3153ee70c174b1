"""Owns the mixture of 25 Gaussians in the plane: where they are.

A point is an image of two grey pixels, x and y, so that every stage treats it like any image.
"""

SIDE = 5  # modes a row, and rows
FIRST, STEP, DEVIATION = 25.5, 51.0, 2.55  # in grey values
SHAPE = (1, 1, 2)
