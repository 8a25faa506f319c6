"""Hostile tests use the small worlds of the other folders."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "iscsi"))
