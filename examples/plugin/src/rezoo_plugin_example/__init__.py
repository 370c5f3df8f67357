"""An example of a plugin for rezoo: the architecture `tinynet` and the dataset `stripes`."""
