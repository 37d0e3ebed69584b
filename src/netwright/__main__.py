"""`python -m netwright`."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):  # noqa: PTH109  # loads less
    del sys.path[0]  # the working folder: its files must not stand for Python's modules

from netwright.cli.app import main

main()
