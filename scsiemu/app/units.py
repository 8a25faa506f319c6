"""Units from the command line: which options there are, what a value means, and the stores that it needs.

The options come from the entry points of group `scsiemu.units`: `disk` there makes `--disk`. A declaration is loaded
when its option is used (or its help asked for), so a device type that nobody names costs nothing.
"""

from __future__ import annotations

from typing import Any, Final, cast

from scsiemu import registry
from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.steps import ask
from scsiemu.io_requests import Flush, Store
from scsiemu.unit_options import OtherUnits, StoreSpec, UnitDeclaration, UnitPlan, parse_unit

__all__ = ["declaration", "flush_store", "open_state", "open_stores", "option_names", "plan_units"]

_FLUSH_SECONDS: Final = 30.0
_MOST_TEXT: Final = 1 << 20


def option_names() -> tuple[str, ...]:
    """The options that add units, without dashes. Loads nothing."""
    return registry.names(registry.UNITS)


def declaration(name: str) -> UnitDeclaration:
    """What the device type declares of its option. Raises Failure."""
    try:
        return cast(UnitDeclaration, registry.load(registry.UNITS, name))    # what the entry point group promises
    except registry.PluginError as error:
        raise Failure(f"--{name}: {error}") from None


def plan_units(name: str, text: str) -> tuple[UnitPlan, ...]:
    """The units that `--name text` asks for. Raises Failure."""
    declared = declaration(name)
    try:
        planned = declared.plan(parse_unit(text, declared, read_file=_read_file))
    except ValueError as error:
        raise Failure(f"--{name} {text}: {error}", ExitCode.USAGE) from None
    plans: list[UnitPlan] = []
    for plan in planned:
        plans += plan_units(plan.option, plan.text) if isinstance(plan, OtherUnits) else (plan,)
    return tuple(plans)


def _read_file(path: str) -> str:
    """The text of a small file that an option names. Raises ValueError."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MOST_TEXT + 1)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    if len(text) > _MOST_TEXT:
        raise ValueError(f"it has more than {_MOST_TEXT} characters")
    return text


def open_stores(spec: StoreSpec) -> Store:
    """Open a store and those under it. Raises Failure."""
    below = open_stores(spec.next_store) if spec.next_store is not None else None
    options = dict(spec.options)
    if below is not None:
        options["next_store"] = below
    try:
        return cast(Store, _open(spec.handler, options))            # what the entry point group promises
    except Failure:
        if below is not None:
            below.close()
        raise


def open_state(path: str) -> Store:
    """Open the state store in a folder. Raises Failure."""
    return cast(Store, _open("state", {"path": path}))              # what the entry point group promises


def _open(handler: str, options: dict[str, Any]) -> Any:
    try:
        return registry.load(registry.IOHANDLERS, handler)(**options)
    except registry.PluginError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        # Its own text alone: "[Errno 2]" in front helps nobody.
        raise Failure(error.strerror or str(error)) from None
    except ValueError as error:
        raise Failure(str(error)) from None


def flush_store(store: Store) -> None:
    """Bring what was written to stable storage, and wait for it. Raises IoFailed."""
    capabilities = store.capabilities
    if capabilities.read_only or not capabilities.volatile:
        return
    ask(store, Flush(), seconds=_FLUSH_SECONDS)
