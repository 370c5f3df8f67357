"""The folder with a network in it: what its files hold, how they are read, written and checked."""
