"""The entrypoint: `python tools/run.py config=FILE key=value` (the same program as `msdkit`)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from msdkit.cli import main

if __name__ == "__main__":
    main()
