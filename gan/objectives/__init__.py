"""Losses, penalties and games that several variants share."""
