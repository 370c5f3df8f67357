"""Architectures: `layers` holds the blocks, each other file one family.

A family file has a `build` function and, at its foot, one line for each member; both
load without Keras. The names are registered in `pyproject.toml`.
"""
