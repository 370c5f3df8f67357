"""Folders with a network: the content of their files, how they are read, written and checked."""
