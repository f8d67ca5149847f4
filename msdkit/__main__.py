"""`python -m msdkit`: the same as `msdkit`."""

from msdkit.cli.commands import main

main()
