"""Publishing: what would be pushed, and the push."""
