"""Look at a dataset before training: what its files are, what stands twice, what a network sees."""
