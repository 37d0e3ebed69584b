"""`python -m netwright`."""

import sys

if sys.path and not sys.flags.safe_path:
    del sys.path[0]  # the working folder: its files must not stand for Python's modules

from netwright.cli.app import main

main()
