"""Scores with what they depend on: protocol stamps, scores along a run, comparison and statistics."""
