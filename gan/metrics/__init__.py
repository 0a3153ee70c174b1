"""Scores of generated images, from features, pixels, modes and nearest neighbours."""
