"""The memory of the cartridge: READ ATTRIBUTE, WRITE ATTRIBUTE, READ MEDIA SERIAL NUMBER (SPC-5 6.18, 6.30, 6.55, 7.4).

The memory can be read while the cartridge is in the drive, threaded or held. What is written is there before GOOD.
Attributes are those of the whole cartridge, but for the few that each partition has of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from crc32c import crc32c

from devtypes.vt import layouts
from devtypes.vt.attribute_table import ATTRIBUTES, AttributeFormat, AttributeKind, HostRules, attribute_kind
from devtypes.vt.base import LoadState, MediaErrors
from devtypes.vt.density import Densities
from devtypes.vt.layouts import tape_operation
from devtypes.vt.medium import TapeMedium
from devtypes.vt.medium_layout import ATTRIBUTE_SPACE, Attribute
from devtypes.vt.medium_values import CartridgeKind
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.operations import DataDirection, ReservationClass
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["Attributes", "medium_serial", "volume_change_reference"]

_HEAD: Final = struct.Struct(">HBH")
_READ_ONLY: Final = 0x80
_MEBIBYTE: Final = 20                       # attributes count in units of 1 048 576 bytes
_LAST_LOADS: Final = (0x020A, 0x020B, 0x020C, 0x020D)
_ERRORS: Final = 0x0C00                     # vendor specific device attribute: not shown, the log pages tell
_ERROR_COUNTS: Final = struct.Struct(">II")
_OUT_OF_SPACE: Final = asc.AUXILIARY_MEMORY_OUT_OF_SPACE
_CLEANINGS: Final = 50
_MEDIUM_TYPES: Final = {CartridgeKind.DATA: 0x00, CartridgeKind.WORM: 0x80, CartridgeKind.CLEANING: 0x01}


class _ReadAction:
    """SERVICE ACTION of READ ATTRIBUTE (SPC-5 table 218)."""

    VALUES: Final = 0x00
    LIST: Final = 0x01
    LOGICAL_VOLUMES: Final = 0x02
    PARTITIONS: Final = 0x03
    SUPPORTED: Final = 0x05


class Attributes(Densities):
    """The commands of the cartridge's memory.

    Attributes:
        loaded_with: what the cartridge's counters of bytes written and read said when it was loaded.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.loaded_with = (0, 0)
        super().__init__(*args, **options)

    def _threaded(self, cartridge: TapeMedium) -> None:
        """Who loaded the cartridge is written down in it."""
        super()._threaded(cartridge)
        self.loaded_with = (cartridge.bytes_written, cartridge.bytes_read)
        kept = _kept(cartridge, _ERRORS)
        self.life_errors = MediaErrors._make(_ERROR_COUNTS.unpack(kept)) if len(kept) == _ERROR_COUNTS.size else (
            MediaErrors(0, 0)
        )
        self.mount_errors = MediaErrors(0, 0)
        held = [cartridge.attribute(identifier) for identifier in _LAST_LOADS[:-1]]
        for identifier, before in zip(_LAST_LOADS[1:], held, strict=True):
            if before is not None:
                cartridge.set_attribute(Attribute(identifier, AttributeFormat.ASCII, before.value))
        me = f"{self.identity.vendor:<8}{self.identity.serial:<32}"[:40].encode("ascii", "replace")
        cartridge.set_attribute(Attribute(_LAST_LOADS[0], AttributeFormat.ASCII, me))

    def leaving(self, cartridge: TapeMedium) -> None:
        """Its errors are written down in it."""
        super().leaving(cartridge)
        if self.life_errors != (0, 0) and not cartridge.read_only:
            counts = (min(each, 0xFFFFFFFF) for each in self.life_errors)
            cartridge.set_attribute(Attribute(_ERRORS, AttributeFormat.BINARY, _ERROR_COUNTS.pack(*counts)))

    # --- READ ATTRIBUTE ----------------------------------------------------------------------------------------

    @tape_operation(
        0x8C, "READ ATTRIBUTE", layouts.READ_ATTRIBUTE, data=DataDirection.IN, conflict=ReservationClass.READ,
        allocation="allocation_length", exclusive=True, standard="SPC-5 6.18",
    )
    def read_attribute(self, command: Command, cdb: CdbFields) -> Completion:
        """Values or identifiers from FIRST ATTRIBUTE IDENTIFIER on; or which partitions and volumes there are."""
        cartridge = self._memory(cdb)
        action = cdb.service_action
        if action == _ReadAction.LOGICAL_VOLUMES:
            return Completion(bytes((0, 2, 0, 1)))
        if action == _ReadAction.PARTITIONS:
            return Completion(bytes((0, 2, 0, cartridge.partitions)))
        if action == _ReadAction.SUPPORTED:
            return Completion(_with_length(b"".join(number.to_bytes(2, "big") for number in sorted(ATTRIBUTES))))
        if action not in (_ReadAction.VALUES, _ReadAction.LIST):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="service_action")
        found = dict(self.attribute_values(cartridge, cdb.partition))
        if cdb.first_attribute not in found:    # SPC-5 6.18.2: it has to exist
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="first_attribute")
        wanted = [found[number] for number in sorted(found) if number >= cdb.first_attribute]
        if action == _ReadAction.LIST:
            return Completion(_with_length(b"".join(each.identifier.to_bytes(2, "big") for each in wanted)))
        return Completion(_with_length(b"".join(_encode(each) for each in wanted)))

    def _memory(self, cdb: CdbFields) -> TapeMedium:
        """The cartridge whose memory a command is for. Raises CheckCondition."""
        if not self.memory_ready:
            self.check_loaded()
        assert self.cartridge is not None
        if cdb.logical_volume_number:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="logical_volume_number")
        if cdb.partition >= self.cartridge.partitions:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="partition")
        return self.cartridge

    @property
    def memory_ready(self) -> bool:
        """Whether the cartridge's memory can be read."""
        return self.cartridge is not None and self.load_state in (LoadState.HELD, LoadState.READY)

    def attribute_values(self, cartridge: TapeMedium, partition: int) -> Iterator[tuple[int, Attribute]]:
        """All attributes that exist, by identifier."""
        for number, make in self._made_attributes().items():
            kind = ATTRIBUTES[number]
            raw = make(cartridge, partition)
            assert kind.format is not None
            if raw:
                yield number, Attribute(number, kind.format, raw)
        for each in cartridge.attributes(0):
            kept = attribute_kind(each.identifier)
            if kept is not None and kept.rules != HostRules.HOST_PER_PARTITION:
                yield each.identifier, each
        for each in cartridge.attributes(partition):
            kept = attribute_kind(each.identifier)
            if kept is not None and kept.rules == HostRules.HOST_PER_PARTITION:
                yield each.identifier, each

    def _made_attributes(self) -> dict[int, Callable[[TapeMedium, int], bytes]]:
        """Device and medium attributes that are made from state, by identifier."""
        density = self.kind.density
        medium = next(
            (each for each in self.kind.media if each.medium_type == self.medium_type), self.kind.media[0]
        )
        written, read = self.loaded_with
        return {
            0x0000: lambda tape, number: _mebibytes(tape.size(number) - tape.used(number)),
            0x0001: lambda tape, number: _mebibytes(tape.size(number)),
            0x0002: lambda tape, number: self.alerts.flags(self.alerts.active),
            0x0003: lambda tape, number: tape.loads.to_bytes(8, "big"),
            0x0004: lambda tape, number: tape.attribute_room().to_bytes(8, "big"),
            0x0005: lambda tape, number: _ascii(density.organization, 8),
            0x0006: lambda tape, number: bytes((tape.state.density,)),
            0x0007: lambda tape, number: min(tape.state.formats, 0xFFFF).to_bytes(2, "big"),
            0x0009: lambda tape, number: volume_change_reference(tape),
            0x0220: lambda tape, number: _mebibytes(tape.bytes_written),
            0x0221: lambda tape, number: _mebibytes(tape.bytes_read),
            0x0222: lambda tape, number: _mebibytes(tape.bytes_written - written),
            0x0223: lambda tape, number: _mebibytes(tape.bytes_read - read),
            0x0400: lambda tape, number: _kept(tape, 0x0400) or _ascii(self.kind.vendor, 8),
            0x0401: lambda tape, number: _kept(tape, 0x0401) or medium_serial(tape),
            0x0402: lambda tape, number: medium.length.to_bytes(4, "big"),
            0x0403: lambda tape, number: medium.width.to_bytes(4, "big"),
            0x0404: lambda tape, number: _ascii(density.organization, 8),
            0x0405: lambda tape, number: bytes((medium.densities[0] if medium.densities else 0,)),
            0x0406: lambda tape, number: _kept(tape, 0x0406),
            0x0407: lambda tape, number: ATTRIBUTE_SPACE.to_bytes(8, "big"),
            0x0408: lambda tape, number: bytes((_MEDIUM_TYPES.get(tape.state.kind, 0),)),
            0x0409: lambda tape, number: (
                _CLEANINGS if tape.state.kind == CartridgeKind.CLEANING else 0
            ).to_bytes(2, "big"),
        }

    # --- WRITE ATTRIBUTE ---------------------------------------------------------------------------------------

    @tape_operation(
        0x8D, "WRITE ATTRIBUTE", layouts.WRITE_ATTRIBUTE, data=DataDirection.OUT, exclusive=True,
        parameter_list="parameter_list_length", standard="SPC-5 6.55",
    )
    def write_attribute(self, command: Command, cdb: CdbFields) -> Steps:
        """Host attributes; one without a value is removed. All of the list, or nothing."""
        cartridge = self._memory(cdb)
        if cartridge.read_only:
            raise CheckCondition(asc.WRITE_PROTECTED)
        if not cdb.parameter_list_length:
            return Completion()
        changes = self._parse_attributes(command.parameter_list)
        before = [cartridge.attributes(number) for number in range(cartridge.partitions)]
        for kind, change in changes:
            partition = cdb.partition if kind.rules == HostRules.HOST_PER_PARTITION else 0
            cartridge.set_attribute(change, partition)
        if cartridge.attribute_room() < 0:
            cartridge.replace_attributes(before)
            raise CheckCondition(_OUT_OF_SPACE)
        yield from cartridge.save()
        return Completion()

    def _parse_attributes(self, data: bytes) -> list[tuple[AttributeKind, Attribute]]:
        """The attributes of a parameter list. Raises CheckCondition at the first that cannot be taken (SPC-5 7.4.1).
        PARAMETER DATA LENGTH is ignored: LTFS counts itself in it."""
        end = len(data)
        if end < 4:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        at, last = 4, -1
        found = []
        while at < end:
            if at + _HEAD.size > end:
                raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
            number, flags, length = _HEAD.unpack_from(data, at)
            raw = data[at + _HEAD.size : at + _HEAD.size + length]
            kind = attribute_kind(number)
            if number <= last or kind is None or not kind.writable:
                raise _invalid(at)
            if flags & ~0x03 or (length and kind.format is not None and flags != kind.format):
                raise _invalid(at + 2)
            if not kind.takes(length):
                raise _invalid(at + 3)
            if at + _HEAD.size + length > end:
                raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
            found.append((kind, Attribute(number, flags, raw)))
            at, last = at + _HEAD.size + length, number
        return found

    # --- READ MEDIA SERIAL NUMBER ------------------------------------------------------------------------------

    @tape_operation(
        0xAB, "READ MEDIA SERIAL NUMBER", layouts.READ_MEDIA_SERIAL_NUMBER, service_action=0x01,
        data=DataDirection.IN, conflict=ReservationClass.ALWAYS, needs_ready=True, allocation="allocation_length",
        standard="SPC-5 6.30",
    )
    def read_media_serial_number(self, command: Command, cdb: CdbFields) -> Completion:
        """The serial number of the cartridge, a multiple of four bytes."""
        serial = _kept(self.tape, 0x0401) or medium_serial(self.tape)
        padded = serial + bytes(-len(serial) % 4)
        return Completion(len(padded).to_bytes(4, "big") + padded)


def medium_serial(cartridge: TapeMedium) -> bytes:
    """The serial number of a cartridge that was given none: made from its volume number."""
    return _ascii(f"{cartridge.state.volume:08X}", 32)


def volume_change_reference(cartridge: TapeMedium) -> bytes:
    """Another number whenever what is on the medium is another, and only then (SSC-5 4.2.17)."""
    seed = repr((cartridge.state.volume, cartridge.contents_mark())).encode()
    return (crc32c(seed) or 1).to_bytes(4, "big")


def _kept(cartridge: TapeMedium, number: int) -> bytes:
    """The value of an attribute that the cartridge was made with, empty where it was not."""
    attribute = cartridge.attribute(number)
    return attribute.value if attribute is not None else b""


def _mebibytes(number: int) -> bytes:
    return max(number >> _MEBIBYTE, 0).to_bytes(8, "big")


def _ascii(text: str, length: int) -> bytes:
    return text.encode("ascii", "replace")[:length].ljust(length)


def _with_length(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def _encode(attribute: Attribute) -> bytes:
    kind = attribute_kind(attribute.identifier)
    read_only = 0 if kind is not None and kind.writable else _READ_ONLY
    return _HEAD.pack(attribute.identifier, read_only | attribute.format, len(attribute.value)) + attribute.value


def _invalid(byte: int) -> CheckCondition:
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(byte, in_cdb=False))
