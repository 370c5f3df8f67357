"""Random changes of training images, as TensorFlow graphs that are pure functions of a seed.

`policies`, `colour` and `erasing` change one image, `mixing` a batch. `tables` says which
operations a policy has and at which strength; `operations` and `geometry` are these operations.
"""
