"""Pictures of networks, drawn from their graphs: `outline` reads a graph, `draw` draws it.

Each kind of picture has a file. `canvas` has the card, the colours for light and dark, and shapes.
"""
