"""Measurements of time and memory. Tests hold none."""
