"""Gantry's library: variants, networks, training, data and metrics of generative adversarial networks.

It knows no paths, no command line, no MLflow and no DVC; those belong to `pipeline`.
"""

__version__ = "0.1.0"
