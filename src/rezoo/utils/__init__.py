"""Small helpers that know nothing of networks: files, names, the machine, figures."""
