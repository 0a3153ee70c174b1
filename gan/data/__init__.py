"""Data sets: from manifest entries to verified files, a store of records, and batches."""
