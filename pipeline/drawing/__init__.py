"""What pictures, charts and pages are drawn with."""
