"""Owns the way of the images: from a manifest entry to files, a store of records, and batches."""
