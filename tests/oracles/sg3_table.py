"""tests/conformance/sg3_utils.md: the inventory of sg3_utils as a table, tool by tool.

    .venv/bin/python tests/oracles/sg3_table.py          writes it; a test holds it to the inventory
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from sg3_inventory import ELSEWHERE, NOT_FOR_DISKS, NOT_RUN, ROWS, Row

__all__ = ["FILE", "table"]

FILE = Path(__file__).parents[1] / "conformance" / "sg3_utils.md"
_TESTS = Path(__file__).with_name("test_oracle_sg3_tools.py")
_TOOL = re.compile(r"\b(?:sg_\w+|sg[mp]_dd|sginfo|scsi_\w+|sdparm)\b")

_HEAD = """# sg3_utils 1.46: each tool, and what is asserted of it

Written by `tests/oracles/sg3_table.py` from `tests/oracles/sg3_inventory.py`; do not edit. The tools are Debian's,
unmodified, on the device nodes of `scsiemu exec`: `$A` and `$B` are two disks of 8 MiB, `$T` is a folder. Run them:

```console
$ .venv/bin/python -m pytest tests/oracles/test_oracle_sg3_tools.py
```

A row holds when the command ends with this exit code, and each of these regular expressions is found in its output.
"""


def table() -> str:
    """The whole file."""
    rows = list(enumerate((*ROWS, *NOT_FOR_DISKS), 1))
    tools = {tool for _, row in rows for tool in _TOOL.findall(row.command)} | set(ELSEWHERE) | set(NOT_RUN)
    lines = [_HEAD, "## Tools", "", "| tool | where |", "|---|---|"]
    lines += [f"| `{tool}` | {_where(tool, rows)} |" for tool in sorted(tools)]
    lines += ["", "## Rows", "", "| | command | exit code | in its output |", "|---|---|---|---|"]
    others = len(ROWS)
    for number, row in rows:
        if number == others + 1:
            lines += ["", "## What is for other devices, and what a disk makes of it", ""]
            lines += ["| | command | exit code | in its output |", "|---|---|---|---|"]
        wanted = "<br>".join(_code(pattern) for pattern in row.wanted)
        lines.append(f"| {number} | {_code(row.command)} | {row.code} | {wanted} |")
    return "\n".join(lines) + "\n"


def _where(tool: str, rows: list[tuple[int, Row]]) -> str:
    found = []
    numbers = [str(number) for number, row in rows if tool in _TOOL.findall(row.command)]
    if numbers:
        found.append(f"row{'s' * (len(numbers) > 1)} {', '.join(numbers)}")
    if tool in ELSEWHERE:
        name = ELSEWHERE[tool]
        found.append(f"`{name}`: {_summary(name)}")
    if tool in NOT_RUN:
        found.append(f"not run: {NOT_RUN[tool]}")
    return "; ".join(found)


def _summary(name: str) -> str:
    """The first line of a test's docstring."""
    tree = ast.parse(_TESTS.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    raise LookupError(name)


def _code(text: str) -> str:
    """A code span in a table."""
    return "`` " + text.replace("\n", "\\n").replace("|", "\\|") + " ``"


if __name__ == "__main__":
    FILE.write_text(table(), encoding="utf-8")
