"""What the commands of an object storage device share: the way from a CDB to a transaction (OSD-2 5.2, 4.11.3)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Generator
from typing import Any, ClassVar, Final

from devtypes.osd.attribute_lists import parse_parameters
from devtypes.osd.attribute_pages import Names
from devtypes.osd.capability import parse_capability
from devtypes.osd.config import OsdConfig
from devtypes.osd.execution import Answer, CommandFunction, Order, Work, error_identification
from devtypes.osd.layouts import OPCODE, OSD_2
from devtypes.osd.objects import ObjectRef
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion
from scsiemu.identity import Identity
from scsiemu.io_requests import DataOut, IoRequest
from scsiemu.object_requests import ObjectKind, Transact
from scsiemu.operations import Operation, ReservationClass
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, FieldPointer
from scsiemu.spc import SpcDeviceServer

__all__ = ["OsdBase"]

_ERROR_IDENTIFICATION: Final = b"\x06"
# DEFAULT, NONE, STRICT, RANGE, FUNCTIONAL: one after the other is strict, which is more than the others ask for.
_ISOLATIONS: Final = (0, 1, 2, 4, 5)


class OsdBase(SpcDeviceServer):
    """Base of the commands.

    Args:
        config: what the unit is made of.
        identity: names of the unit; what is empty is derived.
    """

    peripheral_device_type: ClassVar[int] = 0x0E
    default_product: ClassVar[str] = "OBJECT STORAGE"

    def __init__(self, config: OsdConfig | None = None, identity: Identity | None = None) -> None:
        super().__init__(identity=identity)
        self.config = config or OsdConfig()

    @property
    def descriptor_sense(self) -> bool:
        """Always: an OSD has no use for the fixed format (OSD-2)."""
        return True

    def version_descriptors(self) -> tuple[int, ...]:
        """OSD (no version claimed)."""
        return (0x0340,)

    def check_effects(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        """A nexus that may not write gets WRITE PROTECTED."""
        if operation.opcode == OPCODE and command.nexus_state.read_only and _writes(operation, cdb):
            raise CheckCondition(asc.WRITE_PROTECTED)

    def conflict_class(self, command: Command, operation: Operation, cdb: CdbFields) -> str:
        """What reads writes nevertheless where it sets attributes."""
        if operation.opcode == OPCODE:
            return ReservationClass.WRITE if _writes(operation, cdb) else ReservationClass.READ
        return super().conflict_class(command, operation, cdb)

    def finish(self, command: Command, completion: Completion) -> None:
        """Sense data of object commands has the error identification descriptor (OSD-2)."""
        sense, operation = completion.sense, command.operation
        ours = operation is not None and operation.opcode == OPCODE
        if ours and sense is not None and not any(each[:1] == _ERROR_IDENTIFICATION for each in sense.descriptors):
            named = dict(command.fields.items()) if command.fields is not None else {}
            ref = ObjectRef(named.get("partition_id", 0), named.get("object_id", 0), ObjectKind.USER)
            completion.sense = dataclasses.replace(sense, descriptors=(error_identification(ref), *sense.descriptors))
        super().finish(command, completion)

    def names(self) -> Names:
        """What the root information page tells."""
        capabilities = self.unit.capabilities
        system_id = hashlib.sha256(b"OSD SYSTEM ID" + self.identity.naa + self.identity.serial.encode()).digest()[:20]
        return Names(self.identity, system_id, capabilities.size if capabilities is not None else 1 << 40)

    def carry_out(
        self,
        command: Command,
        cdb: CdbFields,
        ref: ObjectRef,
        function: CommandFunction,
        needed: int,
        *,
        order: str = Order.AFTER,
        data_length: int = 0,
        extent: tuple[int, int] | None = None,
        durable: bool = False,
        any_kind: bool = False,
    ) -> Generator[IoRequest[Any], Any, Completion]:
        """Check the common fields, fetch Data-Out, and do the command as one transaction.

        Args:
            ref: the object that the capability has to allow.
            needed: `Permission` bits.
            data_length: bytes of Data-Out that are the command's own, at its start.
            extent: offset and length of the data that is touched.
            any_kind: a user object may be a collection instead.
        """
        version = 2 if cdb.service_action >= OSD_2 else 1
        if cdb.timestamps_control not in (0x00, 0x7F):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="timestamps_control")
        fields = dict(cdb.items())
        if fields.get("isolation", 0) not in _ISOLATIONS:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="isolation")
        if fields.get("cdb_continuation_length", 0):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="cdb_continuation_length")
        parameters = parse_parameters(cdb.cdbfmt, cdb.attributes, version=version)
        capability = parse_capability(cdb.capability.to_bytes(104 if version == 2 else 80, "big"), version=version)
        if capability.method:
            # What is not there cannot be checked; to take it would be to pretend.
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(82, 3))
        wanted = max(data_length, parameters.data_out_end)
        room = self.config.max_transfer
        if wanted > room or parameters.retrieved_offset > room:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="attributes")
        data_out = b""
        if wanted:
            data_out = bytes((yield from DataOut(wanted)))
            if len(data_out) < wanted:
                raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        work = Work(
            version=version, cdb=cdb, ref=ref, function=function, order=order, needed=needed, parameters=parameters,
            data_out=data_out, capability=capability, method=0, names=self.names(), limit=room, extent=extent,
            any_kind=any_kind, read_only=command.nexus_state.read_only,
        )
        answer: Answer | CheckCondition = yield from Transact(work.run, durable=durable or bool(fields.get("fua")))
        if isinstance(answer, CheckCondition):
            raise answer
        if answer.sense is not None:
            return Completion(answer.data, Status.CHECK_CONDITION, answer.sense)
        return Completion(answer.data)


def _writes(operation: Operation, cdb: CdbFields) -> bool:
    """Whether a command changes objects: by itself, or by the attributes that it sets."""
    if operation.conflict != ReservationClass.SPECIAL:
        return operation.conflict == ReservationClass.WRITE
    # Bytes 64 to 67 are the page to set, 68 to 71 the length of the list (OSD-2 5.2.4).
    word = {2: 96, 3: 64}.get(cdb.cdbfmt)
    return cdb.cdbfmt == 1 or (word is not None and bool(cdb.attributes >> word & 0xFFFFFFFF))
