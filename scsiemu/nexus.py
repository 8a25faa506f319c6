"""Ports and the I_T nexus between them (SAM-5 4.7, SPC-5 7.6.4 for TransportIDs)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scsiemu._value import value

if TYPE_CHECKING:
    from scsiemu.logical_unit import NexusState

__all__ = ["InitiatorPort", "Nexus", "Protocol", "TargetPort"]


class Protocol:
    """PROTOCOL IDENTIFIER values (SPC-5 table 501)."""

    FIBRE_CHANNEL: Final = 0x0
    SRP: Final = 0x4
    ISCSI: Final = 0x5
    SAS: Final = 0x6
    NONE: Final = 0xF


@value
class InitiatorPort:
    """A SCSI initiator port.

    Args:
        name: the SCSI port name, for iSCSI `iqn...,i,0x` and the ISID in hex.
        transport_id: the TransportID of SPC-5 7.6.4, padded to a multiple of 4 bytes and at least 24.
        device_name: the name of the SCSI device that the port belongs to (for iSCSI the initiator name).
    """

    name: str
    transport_id: bytes
    device_name: str = ""


@value
class TargetPort:
    """A SCSI target port.

    Args:
        name: the SCSI port name, for iSCSI `iqn...,t,0x` and the portal group tag in hex.
        relative_identifier: RELATIVE TARGET PORT IDENTIFIER, 1 to 65535 (SPC-5 7.7.6).
        group: TARGET PORT GROUP that it belongs to (SPC-5 5.17).
        protocol: one of `Protocol`.
        device_name: the name of the SCSI target device (for iSCSI the target name).
    """

    name: str
    relative_identifier: int = 1
    group: int = 1
    protocol: int = Protocol.NONE
    device_name: str = ""


class Nexus:
    """One I_T nexus while it lasts. Made by `Target.nexus_established`, ended by `Target.nexus_lost`.

    Compared by identity: two sessions of the same ports, one after the other, are two of these.
    """

    __slots__ = ("initiator_port", "lost", "target_port", "units")

    def __init__(self, initiator_port: InitiatorPort, target_port: TargetPort) -> None:
        self.initiator_port = initiator_port
        self.target_port = target_port
        self.lost = False
        # The LUN map of this nexus, LUN as a 64-bit integer to the state that the unit keeps for it.
        # Owned by Target: transports only pass the nexus along.
        self.units: dict[int, NexusState] = {}

    @property
    def key(self) -> tuple[bytes, int]:
        """What identifies the nexus across sessions and power cycles (registrations are kept by it)."""
        return (self.initiator_port.transport_id, self.target_port.relative_identifier)

    def __repr__(self) -> str:
        return f"Nexus({self.initiator_port.name!r}, {self.target_port.name!r})"
