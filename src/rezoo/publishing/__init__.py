"""Publishing: push a run folder to the Hub, and verify what is recorded about a network."""
