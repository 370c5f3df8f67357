"""Exports: a network as a file of another runtime, with a passport that compares the two.

`export` runs all steps in order. `formats` lists the formats; `graph` is the network with folded
batch normalization, which the writer of each format reads; `runner` opens the file in its runtime.
"""
