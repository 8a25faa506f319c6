"""Who may import whom: one ordered list of layers, and the modules of the standard library that do I/O."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from architecture_sources import MODULES, PACKAGES, imports

# From the bottom to the top. A module imports from its own layer or from lower ones. A pattern of a later layer does
# not take what an earlier one has.
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("values", (
        "scsiemu", "scsiemu._value", "scsiemu.asc", "scsiemu.asc_table", "scsiemu.cdb", "scsiemu.command",
        "scsiemu.counters", "scsiemu.errors", "scsiemu.events", "scsiemu.identity", "scsiemu.layout", "scsiemu.lun",
        "scsiemu.nexus", "scsiemu.sam", "scsiemu.sense", "scsiemu.transport_id",
    )),
    ("requests and declarations", (
        "scsiemu.io_requests", "scsiemu.io_emulation", "scsiemu.log_pages", "scsiemu.media", "scsiemu.mode_pages",
        "scsiemu.object_requests", "scsiemu.operations", "scsiemu.unit_attention", "scsiemu.vpd",
    )),
    ("formats", ("scsiemu.formats", "scsiemu.formats.*", "scsiemu.decode")),
    ("a logical unit", (
        "scsiemu.device_server", "scsiemu.incorrect_lun", "scsiemu.logical_unit", "scsiemu.media_formats",
        "scsiemu.task_extents",
        "scsiemu.task_set", "scsiemu.task_manager", "scsiemu.unit_options",
    )),
    ("commands of every device type", (
        "scsiemu.persistent_reserve", "scsiemu.reservations", "scsiemu.reserve_out", "scsiemu.spc", "scsiemu.spc_*",
        "scsiemu.well_known",
    )),
    ("the target device", ("scsiemu.personalities", "scsiemu.registry", "scsiemu.services", "scsiemu.target")),
    ("plug-ins", (
        "devtypes", "devtypes.*", "iohandlers", "iohandlers.*", "transports", "transports.*",
    )),
    ("test kit", ("scsiemu.testing", "scsiemu.testing.*")),
    ("the program", ("scsiemu.app", "scsiemu.app.*")),
)

# The sockets, and what declares a transport to the program: everything else of a transport is sans-IO.
SOCKET_HALF = frozenset({
    "transports._unix_sockets",
    "transports._watched_stores",
    "transports.devnode.remote_host",
    "transports.devnode.descriptors",
    "transports.devnode.device_nodes",
    "transports.devnode.driver_calls",
    "transports.devnode.file_calls",
    "transports.devnode.launch",
    "transports.devnode.ptrace",
    "transports.devnode.mapped_memory",
    "transports.devnode.path_calls",
    "transports.devnode.seccomp",
    "transports.devnode.supervisor",
    "transports.devnode.tracing",
    "transports.devnode.working_directories",
    "transports.http.server",
    "transports.http.service",
    "transports.iscsi.client",
    "transports.iscsi.server",
    "transports.iscsi.service",
    "transports.vhost.front_end",
    "transports.vhost.server",
    "transports.vscsi.client",
    "transports.vscsi.server",
    "transports.vscsi.stores",
})

DOES_IO = frozenset({
    "socket", "ssl", "select", "selectors", "asyncio", "threading", "subprocess", "multiprocessing", "time", "random",
    "secrets", "uuid", "os", "io", "pathlib", "tempfile", "logging", "h11",
})

# h11 does no I/O: it is kept out of everything that is not about HTTP. The registry reads what installers left.
MAY_IMPORT = frozenset({("transports.http.connection", "h11"), ("scsiemu.registry", "os")})


def layer(name: str) -> int:
    """The number of a module's layer."""
    for number, (_, patterns) in enumerate(LAYERS):
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return number
    raise AssertionError(f"{name} is in no layer: give it one in {__name__}.LAYERS")


def is_sans_io(name: str) -> bool:
    """Whether a module may neither do I/O nor look at the world."""
    if name.startswith(("scsiemu.app", "scsiemu.testing")) or name in SOCKET_HALF:
        return False
    return name.partition(".")[0] in ("scsiemu", "devtypes", "transports")


@pytest.mark.parametrize("name", MODULES)
def test_architecture_imports_go_down(name: str) -> None:
    """A module imports from its own layer or from lower ones."""
    own = layer(name)

    upward = [
        f"line {line}: {imported}"
        for imported, line in imports(name)
        if imported.partition(".")[0] in PACKAGES and layer(imported) > own
    ]

    assert upward == []


@pytest.mark.parametrize("name", MODULES)
def test_architecture_plugins_do_not_import_sideways(name: str) -> None:
    """devtypes, iohandlers and transports import scsiemu and their own folder, never each other."""
    package = name.partition(".")[0]
    if package == "scsiemu":
        # Plug-ins are found by entry point: by nobody's import.
        forbidden = [f"line {line}: {imported}" for imported, line in imports(name)
                     if imported.partition(".")[0] in PACKAGES[1:]]
    else:
        own = ".".join(name.split(".")[:2])
        forbidden = [
            f"line {line}: {imported}"
            for imported, line in imports(name)
            if imported.partition(".")[0] in PACKAGES
            and not imported.startswith("scsiemu")
            and not is_own(imported, package, own)
        ]

    assert forbidden == []


def is_own(imported: str, package: str, own: str) -> bool:
    """Whether a plug-in may import it: its own folder, or helpers of its package (`iohandlers._checks`)."""
    return imported in (package, own) or imported.startswith((f"{own}.", f"{package}._"))


@pytest.mark.parametrize("name", [name for name in MODULES if is_sans_io(name)])
def test_architecture_sans_io_imports(name: str) -> None:
    """The engine, device types and the sans-IO half of transports import nothing that does I/O."""
    found = [f"line {line}: {imported}" for imported, line in imports(name)
             if imported.partition(".")[0] in DOES_IO and (name, imported) not in MAY_IMPORT]

    assert found == []


def test_architecture_imports_have_no_cycle() -> None:
    """Within a layer, too, no module imports itself by way of others."""
    graph = {
        name: {imported for imported, _ in imports(name) if imported in MODULES and imported != name}
        for name in MODULES
    }
    # A package's __init__ imports what is in it; that is no cycle unless it imports the package's names back.
    remaining = dict(graph)
    while ready := [name for name, wanted in remaining.items() if not wanted & remaining.keys()]:
        for name in ready:
            del remaining[name]

    assert remaining == {}


def test_architecture_socket_half_exists() -> None:
    """An exemption whose module is gone is a mistake in this list."""
    assert set(MODULES) >= SOCKET_HALF
