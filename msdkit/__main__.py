"""`python -m msdkit`: the same as `msdkit`."""

from msdkit.cli import main

main()
