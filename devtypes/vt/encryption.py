"""Tape data encryption: SECURITY PROTOCOL IN and OUT of protocols 00h and 20h (SSC-5 4.2.22, 8.5; SPC-5 6.46, 6.47).

Parameters are those of all I_T nexuses, or a nexus has its own. They are in memory only: a reset forgets them, a
cartridge, a trace or a saved state never has them.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from devtypes.vt import layouts
from devtypes.vt.base import LoadState
from devtypes.vt.cipher import WrongKey, can_encrypt, open_block, parse_sealed, seal_block
from devtypes.vt.compression import COMPRESSED
from devtypes.vt.encryption_pages import (
    CapabilityPages,
    DecryptionMode,
    EncryptionMode,
    EncryptionScope,
    Parameters,
    capabilities,
    encode_kads,
    page,
    parse_set_data_encryption,
)
from devtypes.vt.layouts import tape_operation
from devtypes.vt.medium_layout import ENCRYPTED, Asking
from devtypes.vt.medium_values import Block, Record
from devtypes.vt.vpd_pages import TapeVpd
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Buffer, Command, Completion, Steps
from scsiemu.io_requests import DataOut
from scsiemu.logical_unit import NexusState
from scsiemu.nexus import Nexus
from scsiemu.operations import DataDirection, ReservationClass, Result, operation
from scsiemu.reservations import Change, PersistentReservations
from scsiemu.reserve_out import registrant_of
from scsiemu.sense import CheckCondition, FieldPointer, SenseKey

__all__ = ["Encryption"]

_INFORMATION: Final = 0x00                  # security protocol information
_TAPE_DATA_ENCRYPTION: Final = 0x20
_UNIT: Final = 512                          # INC_512
_LONGEST_LIST: Final = 1 << 16
_COUNTER_CHANGED: Final = asc.with_key(
    asc.DATA_ENCRYPTION_KEY_INSTANCE_COUNTER_HAS_CHANGED, SenseKey.DATA_PROTECT
)
_NONE: Final = Parameters()


class _InPage:
    """Pages that SECURITY PROTOCOL IN returns (SSC-5 table 141)."""

    IN_SUPPORT: Final = 0x0000
    OUT_SUPPORT: Final = 0x0001
    CAPABILITIES: Final = 0x0010
    KEY_FORMATS: Final = 0x0011
    MANAGEMENT: Final = 0x0012
    STATUS: Final = 0x0020
    NEXT_BLOCK: Final = 0x0021


_IN_PAGES: Final = (0x0000, 0x0001, 0x0010, 0x0011, 0x0012, 0x0020, 0x0021)
_SET_DATA_ENCRYPTION: Final = 0x0010


class _BlockStatus:
    """COMPRESSION STATUS and ENCRYPTION STATUS of the next block (SSC-5 tables 151 and 152)."""

    NOT_A_BLOCK: Final = 0x22
    NOT_COMPRESSED: Final = 0x30
    COMPRESSED: Final = 0x40
    NOT_ENCRYPTED: Final = 0x03
    UNKNOWN_ALGORITHM: Final = 0x04
    KEY_IS_RIGHT: Final = 0x05
    KEY_IS_WRONG: Final = 0x06


class Encryption(TapeVpd):
    """Encryption of blocks, and the commands that control it.

    Attributes:
        shared: parameters of all I_T nexuses that have none of their own.
        local: parameters of nexuses that have.
        sharing: the nexus whose `shared` are; None where it is lost or has others now.
        registered: nexuses that have used the protocol: they hear of parameters that change (SSC-5 4.2.22.5).
        locked: the key instance counters that nexuses have locked themselves to.
        instance: KEY INSTANCE COUNTER.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.shared = _NONE
        self.local: dict[Nexus, Parameters] = {}
        self.sharing: Nexus | None = None
        self.registered: set[Nexus] = set()
        self.locked: dict[Nexus, int] = {}
        self.instance = 0
        super().__init__(*args, **options)

    @property
    def encrypts(self) -> bool:
        """Whether this drive can encrypt at all."""
        return self.kind.encryption and can_encrypt()

    def parameters_of(self, nexus: Nexus | None) -> Parameters:
        """The parameters that count for a nexus."""
        return self.local.get(nexus, self.shared) if nexus is not None else self.shared

    # --- blocks --------------------------------------------------------------------------------------------------

    def seal(self, block: Block, number: int, nexus: Nexus | None) -> Block:
        parameters = self.parameters_of(nexus)
        self._check_lock(nexus, parameters)
        if parameters.encryption != EncryptionMode.ENCRYPT:
            return super().seal(block, number, nexus)
        tape, partition = self.tape, self.position.partition
        place = repr((tape.state.volume, partition, number, tape.contents_mark(), block.flags)).encode()
        return Block(seal_block(block.data, parameters, place), block.logical, block.flags | ENCRYPTED)

    def unseal(self, record: Record, nexus: Nexus | None) -> tuple[Buffer, int]:
        parameters = self.parameters_of(nexus)
        self._check_lock(nexus, parameters)
        flags, mode = record.header.flags, parameters.decryption
        if not flags & ENCRYPTED:
            if mode in (DecryptionMode.DECRYPT, DecryptionMode.RAW):
                raise CheckCondition(asc.UNENCRYPTED_DATA_ENCOUNTERED_WHILE_DECRYPTING)
            return super().unseal(record, nexus)
        sealed = parse_sealed(record.data)
        if mode == DecryptionMode.DISABLE or sealed is None:
            raise CheckCondition(asc.UNABLE_TO_DECRYPT_DATA)
        if parameters.check_mode == 2:          # CEEM 10b: only what was written in EXTERNAL mode
            raise CheckCondition(asc.ENCRYPTION_MODE_MISMATCH_ON_READ)
        if mode == DecryptionMode.RAW:
            if not sealed.raw_readable:
                raise CheckCondition(asc.ENCRYPTED_BLOCK_NOT_RAW_READ_ENABLED)
            return record.data, 0
        try:
            return open_block(sealed, parameters.key), flags & ~ENCRYPTED
        except WrongKey as wrong:
            if wrong.damaged:
                raise CheckCondition(asc.CRYPTOGRAPHIC_INTEGRITY_VALIDATION_FAILED) from None
            raise CheckCondition(asc.INCORRECT_DATA_ENCRYPTION_KEY) from None

    def _check_lock(self, nexus: Nexus | None, parameters: Parameters) -> None:
        """A nexus that locked itself to its parameters does not go on with others (SSC-5 4.2.22.9)."""
        if nexus is not None and self.locked.get(nexus, parameters.instance) != parameters.instance:
            raise CheckCondition(_COUNTER_CHANGED)

    # --- SECURITY PROTOCOL IN --------------------------------------------------------------------------------------

    @tape_operation(
        0xA2, "SECURITY PROTOCOL IN", layouts.SECURITY_PROTOCOL_IN, data=DataDirection.IN,
        conflict=ReservationClass.READ, exclusive=True, standard="SPC-5 6.46, SSC-5 8.5",
    )
    def security_protocol_in(self, command: Command, cdb: CdbFields) -> Result:
        """What can be encrypted how, and what is."""
        length = cdb.allocation_length * (_UNIT if cdb.inc_512 else 1)
        command.allocation = length
        specific = cdb.security_protocol_specific
        if cdb.security_protocol == _INFORMATION:
            return Completion(self._protocol_information(specific))
        if cdb.security_protocol != _TAPE_DATA_ENCRYPTION or not self.encrypts:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="security_protocol")
        self.registered.add(command.nexus)
        if specific == _InPage.NEXT_BLOCK:
            return self._next_block_page(command)
        bodies = {
            _InPage.IN_SUPPORT: b"".join(code.to_bytes(2, "big") for code in _IN_PAGES),
            _InPage.OUT_SUPPORT: _SET_DATA_ENCRYPTION.to_bytes(2, "big"),
            _InPage.CAPABILITIES: capabilities(mounted=self.not_ready() is None),
            _InPage.KEY_FORMATS: CapabilityPages.KEY_FORMATS,
            _InPage.MANAGEMENT: CapabilityPages.MANAGEMENT,
            _InPage.STATUS: self._status(command.nexus),
        }
        if specific not in bodies:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="security_protocol_specific")
        return Completion(page(specific, bodies[specific]))

    def _protocol_information(self, specific: int) -> bytes:
        """Security protocol information (SPC-5 7.6.1): the protocols, and an empty list of certificates."""
        if specific == 0x0000:
            protocols = bytes((_INFORMATION, _TAPE_DATA_ENCRYPTION) if self.encrypts else (_INFORMATION,))
            return bytes(6) + len(protocols).to_bytes(2, "big") + protocols
        if specific == 0x0001:
            return bytes(4)
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="security_protocol_specific")

    def _status(self, nexus: Nexus) -> bytes:
        """Data encryption status page (SSC-5 8.5.2.7)."""
        parameters = self.parameters_of(nexus)
        scope = EncryptionScope.LOCAL if nexus in self.local else (
            EncryptionScope.ALL_NEXUSES if nexus is self.sharing else EncryptionScope.PUBLIC
        )
        # Logical block encryption scope: whose parameters count.
        counting = EncryptionScope.LOCAL if nexus in self.local else (
            EncryptionScope.ALL_NEXUSES if self.shared.instance else EncryptionScope.PUBLIC
        )
        active = parameters.encryption or parameters.decryption
        head = bytes((scope << 5 | counting, parameters.encryption, parameters.decryption, 1 if active else 0))
        raw = 0 if parameters.raw_readable else 1                       # RDMD
        control = 0x20 if parameters.instance else 0                    # not exclusively controlled by others
        tail = bytes((control | parameters.check_mode << 1 & 0x06 | raw, parameters.kad_format)) + bytes(10)
        kads = encode_kads(parameters.u_kad, parameters.a_kad)
        return head + parameters.instance.to_bytes(4, "big") + tail + kads

    def _next_block_page(self, command: Command) -> Steps:
        self.check_loaded()
        body = yield from self._next_block(command.nexus)
        return Completion(page(_InPage.NEXT_BLOCK, body))

    def _next_block(self, nexus: Nexus) -> Asking[bytes]:
        """Next block encryption status page (SSC-5 8.5.2.8): of the block that a READ would come to."""
        record = yield from self.tape.read(self.position)
        number = self.position.object.to_bytes(8, "big")
        if record is None or record.header.is_mark:
            return number + bytes((_BlockStatus.NOT_A_BLOCK, 0, 0, 0))
        flags = record.header.flags
        status = _BlockStatus.COMPRESSED if flags & COMPRESSED else _BlockStatus.NOT_COMPRESSED
        if not flags & ENCRYPTED:
            return number + bytes((status | _BlockStatus.NOT_ENCRYPTED, 0, 0, 0))
        sealed = parse_sealed(record.data)
        if sealed is None:
            return number + bytes((status | _BlockStatus.UNKNOWN_ALGORITHM, 0, 0, 0))
        right = sealed.has_key(self.parameters_of(nexus).key)
        status |= _BlockStatus.KEY_IS_RIGHT if right else _BlockStatus.KEY_IS_WRONG
        head = bytes((status, 1, 0 if sealed.raw_readable else 1, sealed.kad_format))
        # A-KAD: authenticated where the key is right, else no attempt was made.
        return number + head + encode_kads(sealed.u_kad, sealed.a_kad, authenticated=3 if right else 2)

    # --- SECURITY PROTOCOL OUT -------------------------------------------------------------------------------------

    @operation(
        0xB5, "SECURITY PROTOCOL OUT", layouts.SECURITY_PROTOCOL_OUT, data=DataDirection.OUT, exclusive=True,
        available=lambda drive: drive.encrypts and drive.offers("SECURITY PROTOCOL OUT"), nominal_timeout=60,
        recommended_timeout=600, standard="SPC-5 6.47, SSC-5 8.5",
    )
    def security_protocol_out(self, command: Command, cdb: CdbFields) -> Steps:
        """Set data encryption."""
        if cdb.security_protocol != _TAPE_DATA_ENCRYPTION:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="security_protocol")
        if cdb.security_protocol_specific != _SET_DATA_ENCRYPTION:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="security_protocol_specific")
        length = cdb.transfer_length * (_UNIT if cdb.inc_512 else 1)
        if length > _LONGEST_LIST:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")
        if not length:
            return Completion()
        raw: Buffer = yield from DataOut(length)
        data = bytes(raw)
        if len(data) < 4:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        # With INC_512 pad bytes follow the page (SPC-5 6.47).
        end = 4 + int.from_bytes(data[2:4], "big")
        wanted = parse_set_data_encryption(data[:end] if cdb.inc_512 else data)
        self._check_clearing(command.nexus, wanted)
        self.registered.add(command.nexus)
        self._set(command.nexus, wanted)
        return Completion()

    def _check_clearing(self, nexus: Nexus, wanted: Parameters) -> None:
        """Raises CheckCondition for a key that is to be cleared by the end of what is not (SSC-5 8.5.3.2)."""
        persistent = self.persistent.is_holder(registrant_of(nexus))
        for wrong, bit in (
            (wanted.clear_on_demount and self.load_state != LoadState.READY, 2),
            (wanted.clear_on_preempt and not persistent, 1),
            (wanted.clear_on_loss and not persistent and self.unit_reservation is not nexus, 0),
        ):
            if wrong:
                pointer = FieldPointer(5, bit, in_cdb=False)
                raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)

    def _set(self, nexus: Nexus, wanted: Parameters) -> None:
        """Establish parameters (SSC-5 4.2.22.8)."""
        if nexus is self.sharing:
            self.sharing = None
        if wanted.scope == EncryptionScope.PUBLIC:
            # Back to what all nexuses have.
            self.local.pop(nexus, None)
            parameters = self.shared
        else:
            self.instance = (self.instance + 1) & 0xFFFFFFFF or 1
            parameters = dataclasses.replace(wanted, instance=self.instance)
            if wanted.scope == EncryptionScope.LOCAL:
                self.local[nexus] = parameters
            else:
                self.local.pop(nexus, None)
                self.shared, self.sharing = parameters, nexus
                self._tell_others(nexus)
        if wanted.lock:
            self.locked[nexus] = parameters.instance
        else:
            self.locked.pop(nexus, None)

    def _tell_others(self, nexus: Nexus) -> None:
        """A unit attention for nexuses whose parameters have changed by another's doing."""
        code = asc.DATA_ENCRYPTION_PARAMETERS_CHANGED_BY_ANOTHER_I_T_NEXUS
        for other in self.unit.nexus_states:
            if other is not nexus and other in self.registered and other not in self.local:
                self.unit.attention(code, only=other)

    # --- when keys are forgotten -------------------------------------------------------------------------------------

    def unloaded(self) -> None:
        super().unloaded()
        self._forget("clear_on_demount")

    def reservations_changed(self, before: PersistentReservations, change: Change) -> None:
        super().reservations_changed(before, change)
        if change.preempted:
            self._forget("clear_on_preempt")
        if before.reservation_type and change.state.holder != before.holder:
            self._forget("clear_on_loss")

    def _note_reservations(self) -> None:
        super()._note_reservations()
        if not self.reserved:
            self._forget("clear_on_loss")

    def nexus_lost(self, state: NexusState) -> None:
        self.local.pop(state.nexus, None)
        self.locked.pop(state.nexus, None)
        self.registered.discard(state.nexus)
        if state.nexus is self.sharing:
            self.sharing = None
        super().nexus_lost(state)

    def reset(self, kind: str) -> None:
        self.shared, self.sharing = _NONE, None
        self.local.clear()
        self.locked.clear()
        self.registered.clear()
        super().reset(kind)

    def _forget(self, why: str) -> None:
        """Drop the parameters that were set to end so."""
        if getattr(self.shared, why):
            self.shared, self.sharing = _NONE, None
            self.instance += 1
        for nexus in [nexus for nexus, parameters in self.local.items() if getattr(parameters, why)]:
            del self.local[nexus]
