"""Random changes of training images, as TensorFlow graphs that are pure functions of a seed.

`auto_augment`, `colour` and `erasing` change one image, `mixing` changes a batch. `tables` lists
the operations of a policy with their strengths; `operations` and `geometry` implement them.
"""
