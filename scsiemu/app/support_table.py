"""The README's table of supported commands, made from the operation tables of all installed device types.

    python -m scsiemu.app.support_table --check README.md      exit code 1 if the table there is another one
    python -m scsiemu.app.support_table --write README.md      put the table there

The table stands between the markers `<!-- support:begin -->` and `<!-- support:end -->`. A command that is
available under some configurations only (an option, a removable medium) is marked so. Anything not listed is
not implemented. "Checked by" names foreign programs that use the operation in our tests, as these recorded it
(tests/oracles/checked_by.json beside the file): of many the two that send the most operations and the two that send
the fewest.

Between `<!-- media:begin -->` and `<!-- media:end -->`, where a file has these, stands which of them have written which
recordable medium, by its profile: those of device types with `recordable_profiles`.
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
    "BEGIN", "END", "MEDIA_BEGIN", "MEDIA_END", "Checks", "MarkersMissing", "installed_device_types", "main",
    "media_table", "read_checks", "replace_table", "support_table",
]

# By device type and operation (`12`, `9e/10`), or profile of what was written (`@1b`): programs, in the order in which
# they are named.
Checks = Mapping[tuple[str, str], Sequence[str]]

BEGIN: Final = "<!-- support:begin -->"
END: Final = "<!-- support:end -->"
MEDIA_BEGIN: Final = "<!-- media:begin -->"
MEDIA_END: Final = "<!-- media:end -->"

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
                breadth.setdefault(program, set()).update(name for name in operations if "@" not in name)
                for operation in operations:
                    _, at, profile = operation.partition("@")
                    used.setdefault((device_type, at + profile or operation), set()).add(program)
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


def media_table(device_types: Mapping[str, type[Any]], checks: Checks) -> str:
    """The table of recordable media in Markdown: a row for each profile, with the programs that have written it."""
    lines = ["| profile | medium | written by |", "|---|---|---|"]
    for name, cls in device_types.items():
        for number, title in getattr(cls, "recordable_profiles", {}).items():
            programs = ", ".join(sorted(checks.get((name, f"@{number:02x}"), ()), key=str.lower))
            lines.append(f"| {number:02X}h | {title} | {programs} |")
    return "\n".join(lines)


def replace_table(text: str, table: str, *, begin: str = BEGIN, end: str = END) -> str:
    """`text` with this table between its markers.

    Raises:
        MarkersMissing: it has not one of each, in order.
    """
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed or begin in rest or end in after:
        raise MarkersMissing(f"wanted {begin} and later {end}, once each")
    return f"{before}{begin}\n{table}\n{end}{after}"


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
        checks = _checks_near(path.parent if path is not None else Path())
        device_types = installed_device_types()
        table = support_table(device_types, checks)
        if path is None:
            print(table)
            return 0
        text = wanted = path.read_text(encoding="utf-8")
        media_only = MEDIA_BEGIN in text and BEGIN not in text
        if MEDIA_BEGIN in text:
            media = media_table(device_types, checks)
            wanted = replace_table(wanted, media, begin=MEDIA_BEGIN, end=MEDIA_END)
        if not media_only:
            wanted = replace_table(wanted, table)
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


def _checks_near(folder: Path) -> Checks:
    """The recordings beside a file in `folder`, or in a folder of the folder that has them."""
    return read_checks(folder / _CHECKED_BY) or read_checks(folder.resolve().parent / _CHECKED_BY)


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
