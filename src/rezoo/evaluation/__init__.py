"""Forward pass, metrics with intervals, predictions, reference batch, report of a run."""
