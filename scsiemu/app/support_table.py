"""The README's table of supported commands, made from the operation tables of all installed device types.

    python -m scsiemu.app.support_table --check README.md      exit code 1 if the table there is another one
    python -m scsiemu.app.support_table --write README.md      put the table there

The table stands between the markers `<!-- support:begin -->` and `<!-- support:end -->`. A command that is
available under some configurations only (an option, a removable medium) is marked so. Anything not listed is
not implemented. "Checked by" names foreign programs that use the operation in our tests, as these recorded it
(tests/oracles/checked_by.json beside the file): of many the two that send the most operations and the two that send
the fewest.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from scsiemu import registry
from scsiemu.operations import Operation, OperationTable

__all__ = [
    "BEGIN", "END", "Checks", "MarkersMissing", "installed_device_types", "main", "read_checks", "replace_table",
    "support_table",
]

# By device type and operation (`12`, `9e/10`): programs, in the order in which they are named.
Checks = Mapping[tuple[str, str], Sequence[str]]

BEGIN: Final = "<!-- support:begin -->"
END: Final = "<!-- support:end -->"

_CHECKED_BY: Final = Path("tests/oracles/checked_by.json")
_FEW: Final = 2
_ALWAYS: Final = "yes"
_CONFIGURED: Final = "if configured"


class MarkersMissing(Exception):
    """A text lacks the markers that the table goes between."""


def installed_device_types() -> dict[str, type[Any]]:
    """Device server classes of all installed device types, by name."""
    return {name: registry.load(registry.DEVTYPES, name) for name in registry.names(registry.DEVTYPES)}


def read_checks(path: Path) -> Checks:
    """What programs were recorded to use, from a file as tests/oracles/checked_by.py writes it; none: nothing."""
    if not path.exists():
        return {}
    used: dict[tuple[str, str], set[str]] = {}
    breadth: dict[str, set[str]] = {}
    for recording in json.loads(path.read_text(encoding="utf-8")).values():
        for device_type, programs in recording.items():
            for program, operations in programs.items():
                breadth.setdefault(program, set()).update(operations)
                for operation in operations:
                    used.setdefault((device_type, operation), set()).add(program)
    return {
        key: sorted(programs, key=lambda program: (-len(breadth[program]), program)) for key, programs in used.items()
    }


def support_table(device_types: Mapping[str, type[Any]], checks: Checks | None = None) -> str:
    """The table in Markdown: a row for each operation, a column for each device type, one for who has checked it."""
    checks = checks or {}
    declared = {name: _by_key(OperationTable(cls)) for name, cls in device_types.items()}
    rows: dict[tuple[int, int, str], Operation] = {}
    for operations in declared.values():
        for key, operation in operations.items():
            rows.setdefault(key, operation)
    lines = [
        f"| opcode | service action | command | {' | '.join(declared)} | standard | checked by |",
        f"|---|---|---|{'---|' * len(declared)}---|---|",
    ]
    for key, operation in sorted(rows.items(), key=lambda row: row[0]):
        action = "" if operation.service_action is None else f"{operation.service_action:02X}h"
        cells = " | ".join(_cell(operations.get(key)) for operations in declared.values())
        having = [name for name, operations in declared.items() if key in operations]
        lines.append(
            f"| {operation.opcode:02X}h | {action} | {operation.name} | {cells} | {operation.standard} | "
            f"{_checked_by(operation, having, checks)} |"
        )
    return "\n".join(lines)


def replace_table(text: str, table: str) -> str:
    """`text` with this table between its markers.

    Raises:
        MarkersMissing: it has not one of each, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise MarkersMissing(f"wanted {BEGIN} and later {END}, once each")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. 0: done or as it should be; 1: the table is another one; 2: no markers or no
    plug-in."""
    parser = argparse.ArgumentParser(prog="python -m scsiemu.app.support_table", description="The support table.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", type=Path, metavar="FILE", help="compare with the table in FILE")
    what.add_argument("--write", type=Path, metavar="FILE", help="put the table into FILE")
    chosen = parser.parse_args(arguments)
    path: Path | None = chosen.check or chosen.write
    try:
        checks = read_checks((path.parent if path is not None else Path()) / _CHECKED_BY)
        table = support_table(installed_device_types(), checks)
        if path is None:
            print(table)
            return 0
        text = path.read_text(encoding="utf-8")
        wanted = replace_table(text, table)
    except (MarkersMissing, registry.PluginError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if wanted == text:
        return 0
    if chosen.check:
        print(f"{path}: the support table is not that of the device types; "
              f"run python -m scsiemu.app.support_table --write {path}", file=sys.stderr)
        return 1
    path.write_text(wanted, encoding="utf-8")
    return 0


def _by_key(table: OperationTable) -> dict[tuple[int, int, str], Operation]:
    """Operations by opcode, service action (-1 for none) and name: two device types may share an opcode."""
    return {
        (operation.opcode, -1 if operation.service_action is None else operation.service_action, operation.name):
        operation
        for operation in table
    }


def _checked_by(operation: Operation, device_types: Sequence[str], checks: Checks) -> str:
    """Programs by device type; its name is left out where there is one only."""
    code = f"{operation.opcode:02x}" + ("" if operation.service_action is None else f"/{operation.service_action:02x}")
    cells = []
    for name in device_types:
        programs = checks.get((name, code), ())
        if len(programs) > 2 * _FEW:
            programs = (*programs[:_FEW], *programs[-_FEW:])
        if programs:
            cells.append((f"{name}: " if len(device_types) > 1 else "") + ", ".join(programs))
    return "; ".join(cells)


def _cell(operation: Operation | None) -> str:
    if operation is None:
        return ""
    return _ALWAYS if operation.available is None else _CONFIGURED


if __name__ == "__main__":
    sys.exit(main())
