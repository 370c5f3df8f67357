"""Figures of predictions, each with its 95 % interval."""
