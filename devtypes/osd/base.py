"""What the commands of an object storage device share: the way from a CDB to a transaction (OSD-2 5.2, 4.11.3)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Generator
from typing import Any, ClassVar, Final

from devtypes.osd.attribute_lists import Attribute, encode_set_list, parse_parameters
from devtypes.osd.attribute_pages import MOST_CONTINUATION, Names
from devtypes.osd.capability import parse_capability
from devtypes.osd.config import OsdConfig
from devtypes.osd.continuation import Segment, check_length, parse_segment
from devtypes.osd.execution import Answer, CommandFunction, Order, Work, error_identification
from devtypes.osd.guard import Guard
from devtypes.osd.keys import BOOT_EPOCH, Boot, KeyTree, NonceList
from devtypes.osd.layouts import OPCODE, version_of
from devtypes.osd.objects import ROOT, ObjectRef
from devtypes.osd.security import integrity
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.errors import IoFailed
from scsiemu.identity import Identity
from scsiemu.io_requests import DataOut, IoRequest
from scsiemu.logical_unit import NexusState
from scsiemu.nexus import InitiatorPort, Nexus, TargetPort
from scsiemu.object_requests import PRIVATE_PAGE, ObjectKind, ObjectTransaction, Transact
from scsiemu.operations import Operation, ReservationClass
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, Sense
from scsiemu.spc import SpcDeviceServer
from scsiemu.vpd import vpd_page

__all__ = ["OsdBase"]

_ERROR_IDENTIFICATION: Final = b"\x06"
_RESPONSE_ICV: Final = b"\x07\x20"
_INTEGRITY: Final = 64              # data-in integrity information, and what aligns it
_NOBODY: Final = Nexus(InitiatorPort("", b""), TargetPort("", 0))
# DEFAULT, NONE, STRICT, RANGE, FUNCTIONAL: one after the other is strict, which is more than the others ask for.
_ISOLATIONS: Final = (0, 1, 2, 4, 5)


class OsdBase(SpcDeviceServer):
    """Base of the commands.

    Args:
        config: what the unit is made of.
        identity: names of the unit; what is empty is derived.
    """

    peripheral_device_type: ClassVar[int] = 0x11
    default_product: ClassVar[str] = "OBJECT STORAGE"

    def __init__(self, config: OsdConfig | None = None, identity: Identity | None = None) -> None:
        super().__init__(identity=identity)
        self.config = config or OsdConfig()
        self.keys = KeyTree(self.config.root_secret) if self.config.root_secret else None
        self._nonces = NonceList()
        self._boot = Boot(0, 0, b"")
        self._numbers: dict[Nexus, int] = {}
        self._nexuses = 0

    @property
    def descriptor_sense(self) -> bool:
        """Always: an OSD has no use for the fixed format (OSD-2)."""
        return True

    @property
    def has_keys(self) -> bool:
        """Whether it serves security methods other than NOSEC."""
        return self.keys is not None

    def restore(self) -> Steps:
        """A new boot epoch begins."""
        earlier = super().restore()
        if earlier is not None:
            yield from earlier
        try:
            self._boot = yield from Transact(_begin)
        except IoFailed as failure:
            self.unit.store_failed(Command(_NOBODY, self.unit.lun, b""), Transact(_begin), failure)
        return Completion()

    def nexus_established(self, state: NexusState) -> None:
        """It gets a security token of its own."""
        super().nexus_established(state)
        self._nexuses += 1
        self._numbers[state.nexus] = self._nexuses

    def nexus_lost(self, state: NexusState) -> None:
        """Its token is not used again."""
        super().nexus_lost(state)
        self._numbers.pop(state.nexus, None)

    def token(self, nexus: Nexus) -> bytes:
        """SECURITY TOKEN of an I_T nexus: nobody can tell it before, no two have the same."""
        return integrity(self._boot.seed, self._numbers.get(nexus, 0).to_bytes(8, "big"))

    @vpd_page(0xB0, "OSD information", standard="OSD-2")
    def vpd_osd_information(self, command: Command) -> bytes:
        """OSD SYSTEM ID, as a list of attributes."""
        return encode_set_list([Attribute(ROOT.page_base + 1, 3, self.names().system_id)], version=2)

    @vpd_page(0xB1, "Security token", standard="OSD-2")
    def vpd_security_token(self, command: Command) -> bytes:
        """What CAPKEY signs: other for each I_T nexus."""
        return self.token(command.nexus)

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
        if ours and sense is not None:
            named = dict(command.fields.items()) if command.fields is not None else {}
            ref = ObjectRef(named.get("partition_id", 0), named.get("object_id", 0), ObjectKind.USER)
            completion.sense = _identified(sense, ref)
        super().finish(command, completion)

    def names(self) -> Names:
        """What the root information page tells."""
        capabilities = self.unit.capabilities
        system_id = hashlib.sha256(b"OSD SYSTEM ID" + self.identity.naa + self.identity.serial.encode()).digest()[:20]
        return Names(
            self.identity, system_id, capabilities.size if capabilities is not None else 1 << 40,
            methods=0xF if self.has_keys else 1, method=self.config.security, atomic=self.config.max_transfer,
        )

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
        extents: tuple[tuple[int, int], ...] = (),
        durable: bool = False,
        any_kind: bool = False,
        secret: tuple[int, int] | None = None,
        descriptors: frozenset[int] = frozenset(),
        in_snapshots: bool = False,
    ) -> Generator[IoRequest[Any], Any, Completion]:
        """Check the common fields, fetch Data-Out, and do the command as one transaction.

        Args:
            ref: the object that the capability has to allow.
            needed: `Permission` bits.
            data_length: bytes of Data-Out that are the command's own, at its start.
            extents: offset and length of the data that is touched.
            any_kind: a user object may be a collection instead.
            secret: (partition id, number) of the key that has to sign it, where that is no working key.
            descriptors: types that its CDB continuation segment may have; none for a command that has no segment.
            in_snapshots: it may be done in a snapshot although it is a write.
        """
        version = version_of(cdb.service_action)
        if cdb.timestamps_control not in (0x00, 0x7F):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="timestamps_control")
        fields = dict(cdb.items())
        if fields.get("isolation", 0) not in _ISOLATIONS:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="isolation")
        continued = fields.get("cdb_continuation_length", 0)
        if continued:
            if not descriptors:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="cdb_continuation_length")
            check_length(continued)
            if continued > MOST_CONTINUATION:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="cdb_continuation_length")
        parameters = parse_parameters(cdb.cdbfmt, cdb.attributes, version=version)
        capability = parse_capability(cdb.capability.to_bytes(104 if version == 2 else 80, "big"), version=version)
        guard = Guard(
            version=version, cdb=bytes(command.cdb), fields=cdb, capability=capability, token=self.token(command.nexus),
            tree=self.keys, nonces=self._nonces, boot=self._boot, default=self.config.security, secret=secret,
        )
        wanted = max(continued + data_length, parameters.data_out_end)
        if wanted:
            wanted = max(wanted, guard.data_out_end())
        room = self.config.max_transfer
        if wanted > room or parameters.retrieved_offset > room or guard.data_in_end() > room + _INTEGRITY:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="attributes")
        data_out = b""
        if wanted:
            data_out = bytes((yield from DataOut(wanted)))
            if len(data_out) < wanted:
                raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        segment = Segment()
        if continued:
            segment = parse_segment(data_out[:continued], cdb.service_action, descriptors)
        if segment.ranges is not None:
            extents = _placed(segment.ranges, extents)
        assert command.operation is not None
        work = Work(
            version=version, cdb=cdb, ref=ref, function=function, order=order, needed=needed, parameters=parameters,
            segment=segment, data_out=data_out, data_length=data_length,
            guard=guard, names=self.names(), limit=room, extents=extents,
            any_kind=any_kind, read_only=command.nexus_state.read_only,
            writes=not in_snapshots and _writes(command.operation, cdb),
        )
        answer: Answer | CheckCondition = yield from Transact(work.run, durable=durable or bool(fields.get("fua")))
        if isinstance(answer, CheckCondition):
            sense = answer.sense
            if answer.field is not None and command.operation is not None:
                sense = dataclasses.replace(sense, specific=command.operation.layout.field(answer.field).pointer)
            return Completion(b"", Status.CHECK_CONDITION, _signed(guard, _identified(sense, ref)))
        if answer.sense is not None:
            return Completion(answer.data, Status.CHECK_CONDITION, _signed(guard, _identified(answer.sense, ref)))
        return Completion(answer.data)


def _placed(ranges: tuple[tuple[int, int], ...], extents: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The ranges of a scatter/gather list, counted from the starting byte address. Raises CheckCondition."""
    ((start, length),) = extents
    if sum(each for _, each in ranges) != length:
        raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST)
    return tuple((start + offset, each) for offset, each in ranges)


def _identified(sense: Sense, ref: ObjectRef) -> Sense:
    """Sense data that says which object it is about."""
    if any(each[:1] == _ERROR_IDENTIFICATION for each in sense.descriptors):
        return sense
    return dataclasses.replace(sense, descriptors=(error_identification(ref), *sense.descriptors))


def _signed(guard: Guard, sense: Sense) -> Sense:
    """Sense data with the response integrity check value descriptor, where the security method wants it."""
    if not guard.signs_responses:
        return sense
    others = sense.descriptors
    empty = dataclasses.replace(sense, descriptors=(*others, _RESPONSE_ICV + bytes(32)))
    value = guard.response(Status.CHECK_CONDITION, empty.encode(descriptor=True))
    return dataclasses.replace(sense, descriptors=(*others, _RESPONSE_ICV + value.ljust(32, b"\0")))


def _begin(tx: ObjectTransaction) -> Boot:
    """The next boot epoch: 1 to FFFFh, 0 is none."""
    known = int.from_bytes(tx.attribute(0, 0, PRIVATE_PAGE, BOOT_EPOCH) or b"", "big")
    epoch = known % 0xFFFF + 1
    tx.set_attribute(0, 0, PRIVATE_PAGE, BOOT_EPOCH, epoch.to_bytes(2, "big"))
    return Boot(epoch, tx.clock(), tx.random(20))


def _writes(operation: Operation, cdb: CdbFields) -> bool:
    """Whether a command changes objects: by itself, or by the attributes that it sets, or QUERY by its matches."""
    if operation.conflict != ReservationClass.SPECIAL:
        return operation.conflict == ReservationClass.WRITE
    if "matches_collection_id" in operation.layout and cdb.matches_collection_id:
        return True
    # Bytes 64 to 67 are the page to set, 68 to 71 the length of the list (OSD-2 5.2.4).
    word = {2: 96, 3: 64}.get(cdb.cdbfmt)
    return cdb.cdbfmt == 1 or (word is not None and bool(cdb.attributes >> word & 0xFFFFFFFF))
