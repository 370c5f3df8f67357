"""What a confidence means, and which images are unknown."""
