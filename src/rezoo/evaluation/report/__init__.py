"""`report.html` of a run: what it reaches, where it fails, and how to repeat it."""
