"""Checks of a dataset before training: damaged files, duplicates, labels, and a contact sheet."""
