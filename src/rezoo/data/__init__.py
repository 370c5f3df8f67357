"""Datasets: one short file each, and the pipeline from an example to a batch."""
