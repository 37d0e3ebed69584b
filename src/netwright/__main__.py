"""`python -m netwright`."""

from netwright.cli.app import main

main()
