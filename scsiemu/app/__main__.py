"""`python -m scsiemu.app` is the program."""

from __future__ import annotations

import sys

from scsiemu.app.main import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
