"""MLflow: its database, a cell's run, and the registry of models."""
