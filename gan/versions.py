"""Owns which packages numbers depend on. Their versions stand in what is made, and enter no digest."""

import importlib.metadata

PACKAGES = ("lmdb", "numpy", "pillow", "scipy", "torch", "torchvision")


def installed_versions() -> dict[str, str]:
    """Version of each of PACKAGES."""
    return {name: public_version(name) for name in PACKAGES}


def public_version(name: str) -> str:
    """Version of a package without the local part, by which builds for other devices differ."""
    return importlib.metadata.version(name).split("+")[0]
