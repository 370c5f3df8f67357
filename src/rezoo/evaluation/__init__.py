"""Evaluation: a compiled forward pass, metrics with intervals, and predictions of files."""
