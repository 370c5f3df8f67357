"""Exports: a network becomes a file of another runtime, with a passport that says how it holds.

`formats` says what there is, `graph` is the network with batch normalization folded, one file a
format writes it and runs it, `passport` compares the two, `export` does all in order.
"""
