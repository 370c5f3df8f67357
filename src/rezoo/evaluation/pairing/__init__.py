"""Networks compared on the same images."""
