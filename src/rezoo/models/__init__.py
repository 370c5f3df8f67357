"""Architectures: `layers` holds the blocks, and each family has a file.

The file of a family has a `build` function and one `ModelSpec` for each member. It loads without
Keras. The names are registered in `pyproject.toml`.
"""
