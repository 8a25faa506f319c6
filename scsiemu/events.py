"""What happened in a target, for operators and for transports that can tell initiators of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from scsiemu._value import value

if TYPE_CHECKING:
    from scsiemu.command import Command
    from scsiemu.logical_unit import LogicalUnit
    from scsiemu.sense import SenseCode

__all__ = ["AttentionEstablished", "Event", "InternalFailure", "InventoryChanged", "StoreFailed", "UnitRemoved"]


@value
class InventoryChanged:
    """Units were added or removed: REPORTED LUNS DATA HAS CHANGED."""


@value
class UnitRemoved:
    """The last command of a removed unit has ended: its stores can be closed."""

    unit: LogicalUnit


@value
class StoreFailed:
    """A store could not do a request; the initiator got sense data."""

    unit: LogicalUnit
    command: Command
    message: str


@value
class InternalFailure:
    """An operation raised what it must not: a bug of ours. The initiator got INTERNAL TARGET FAILURE."""

    unit: LogicalUnit
    command: Command
    error: Exception


@value
class AttentionEstablished:
    """A unit attention is pending for nexuses of a unit, for which it was not: those that have it in their list.

    Not for what a single command or nexus is told of itself: power on, nexus loss, commands cleared, previous status.
    """

    unit: LogicalUnit
    code: SenseCode


Event: TypeAlias = AttentionEstablished | InventoryChanged | UnitRemoved | StoreFailed | InternalFailure
