"""Architectures, each family in a file that loads without Keras.

`residual` builds a network from parts: `stems`, `blocks`, `shortcuts`, `attention` and
`antialiasing`, which are functions on tensors made of `layers`. `parts` has the names that specs
use. The file of a family has one `ModelSpec` for each member. The names of the members are
registered in `pyproject.toml`.
"""
