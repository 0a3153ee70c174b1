"""The checks that `benchmarks/gpu.py` runs, a module for each part; `tests/gpu` calls the same functions.

Nothing here imports `pipeline`, DVC or MLflow: a machine that has a GPU for ten minutes has none of them.
"""
