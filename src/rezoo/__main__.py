"""`python -m rezoo`."""

from rezoo.cli.main import main

main()
