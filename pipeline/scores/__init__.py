"""Scores: protocol stamps, scores along a run, comparison and statistics."""
