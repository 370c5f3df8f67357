"""Training: a recipe becomes optimizers and a compiled step, and the loop drives it."""
