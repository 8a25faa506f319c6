"""The transports that the program serves and connects by: found by entry point, loaded when they are asked for."""

from __future__ import annotations

from typing import Final

from scsiemu import registry
from scsiemu.app.failure import Failure
from scsiemu.services import ServiceDeclaration

__all__ = ["FIRST_SERVICE", "other_services", "service_declaration"]

FIRST_SERVICE: Final = "iscsi"          # what --listen is for


def other_services() -> tuple[str, ...]:
    """The options that ask for a transport beside the first, without dashes. Loads nothing."""
    return tuple(name for name in registry.names(registry.SERVICES) if name != FIRST_SERVICE)


def service_declaration(name: str = FIRST_SERVICE) -> ServiceDeclaration:
    """What a transport that serves declares of itself. Raises Failure."""
    try:
        declared = registry.load(registry.SERVICES, name)
    except registry.PluginError as error:
        raise Failure(str(error)) from None
    assert isinstance(declared, ServiceDeclaration)
    return declared
