"""The stages of the pipeline, one script each, and the command `gantry`."""
