"""`python -m hetcnn` is the command `hetcnn`."""

from __future__ import annotations

import sys

from hetcnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
