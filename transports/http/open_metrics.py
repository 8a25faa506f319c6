"""Numbers of the targets and of the port as OpenMetrics text (OpenMetrics 1.0), for `GET /metrics`.

Everything is read from the objects that count when it is asked for; nothing is counted for it alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

from scsiemu.counters import Counters
from scsiemu.lun import to_text
from transports.http.messages import Response
from transports.http.port import HttpPort

__all__ = ["metrics_response"]

_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_Samples = Iterable[tuple[Mapping[str, object], int]]

# Name, type, help, and what `statistics` of a unit calls it.
_OF_UNITS: Final = (
    ("scsiemu_commands", "counter", "Commands that a unit was given.", "commands"),
    ("scsiemu_commands_failed", "counter", "Commands that ended with another status than GOOD.", "failed"),
    ("scsiemu_commands_pending", "gauge", "Commands in the task set of a unit.", "pending"),
    ("scsiemu_unit_nexuses", "gauge", "I_T nexuses that see a unit.", "nexuses"),
    ("scsiemu_unit_background_tasks", "gauge", "Work that goes on after its command: format, sanitize, self-test.",
     "background"),
)

_OF_MEDIA: Final = (
    ("scsiemu_unit_read_commands", "Commands that transferred user data from the medium.", "read_commands"),
    ("scsiemu_unit_write_commands", "Commands that transferred user data to the medium.", "write_commands"),
    ("scsiemu_unit_blocks_read", "Logical blocks read (of tape: bytes).", "blocks_read"),
    ("scsiemu_unit_blocks_written", "Logical blocks written (of tape: bytes).", "blocks_written"),
)


def metrics_response(port: HttpPort) -> Response:
    """All of them."""
    units = [
        ({"target": target.name, "lun": to_text(lun), "device_type": f"{unit.server.peripheral_device_type:02x}"}, unit)
        for target in port.targets
        for lun, unit in sorted(target.units.items())
    ]
    told = [(labels, unit.statistics()) for labels, unit in units]
    counted = [
        (labels, counters) for labels, unit in units
        if isinstance(counters := getattr(unit.server, "counters", None), Counters)
    ]
    lines: list[str] = []
    for name, kind, text, key in _OF_UNITS:
        lines += _family(name, kind, text, [(labels, numbers[key]) for labels, numbers in told])
    for name, text, key in _OF_MEDIA:
        lines += _family(name, "counter", text, [(labels, getattr(counters, key)) for labels, counters in counted])
    lines += _family("scsiemu_nexuses", "gauge", "I_T nexuses by target port: sessions and their like.", [
        ({"target": target.name, "port": at.name}, sum(nexus.target_port == at for nexus in target.nexuses))
        for target in port.targets
        for at in target.ports
    ])
    lines += _family("scsiemu_http_responses", "counter", "Responses by status code.", [
        ({"code": code}, count) for code, count in sorted(port.responses.items())
    ])
    lines += _family("scsiemu_http_connections", "gauge", "Open HTTP connections.", [({}, port.connections)])
    lines += _family("scsiemu_http_initiators", "gauge", "Initiators known to HTTP.", [({}, len(port.initiators))])
    lines += _family("scsiemu_http_held", "gauge", "Bytes held for HTTP requests.", [({}, port.held)], unit="bytes")
    lines.append("# EOF\n")
    return Response(HTTPStatus.OK, "\n".join(lines).encode(), _TYPE)


def _family(name: str, kind: str, text: str, samples: _Samples, *, unit: str = "") -> list[str]:
    """A metric family: the samples of a counter have names of their own."""
    if unit:
        name = f"{name}_{unit}"
    lines = [f"# TYPE {name} {kind}", *([f"# UNIT {name} {unit}"] if unit else ()), f"# HELP {name} {text}"]
    suffix = "_total" if kind == "counter" else ""
    for labels, number in samples:
        inner = ",".join(f'{label}="{_escaped(str(what))}"' for label, what in labels.items())
        lines.append(f"{name}{suffix}{{{inner}}} {number}" if inner else f"{name}{suffix} {number}")
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
