"""The example of docs/vhost.md runs; its commands do in tests/oracles/test_oracle_qemu_boot.py."""

from __future__ import annotations

import re
from pathlib import Path

from vhost_world import VhostBench, disk_target

DOCUMENT = Path(__file__).parents[2] / "docs" / "vhost.md"


def test_docs_example() -> None:
    """As it stands."""
    (block,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    target, _ = disk_target()
    with VhostBench((target,)) as bench:
        exec(compile(block, str(DOCUMENT), "exec"), {"path": bench.path})
