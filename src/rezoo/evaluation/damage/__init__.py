"""Corrupted images, and networks without a block."""
