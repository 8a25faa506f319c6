"""The examples of docs/vscsi.md run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "vscsi.md"


def test_docs_examples() -> None:
    """All of them, one after the other, as they stand."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(DOCUMENT), "exec"), names)

    assert len(blocks) == 2
    assert names["transport"].port.adapters == {}
