"""The state of a virtual disk and the checks that its commands share (SBC-4 4.4 to 4.7, 4.21, 5.2.2).

Whether the unit is ready, what write protects it, which blocks there are, and which protection information is
checked are decided here and nowhere else. The commands are in the mixins that `disk.VirtualDisk` is made of.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, Final

from devtypes.vd.config import PI_SIZE, DiskConfig
from devtypes.vd.protection import ProtectionCheck, invert, make_protection
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Buffer, Command, Completion, Steps
from scsiemu.errors import IoFailed, IoFault
from scsiemu.identity import Identity
from scsiemu.io_requests import Fill, Flush, IoRequest, Read, Write
from scsiemu.logical_unit import NexusState
from scsiemu.nexus import Nexus
from scsiemu.operations import Operation
from scsiemu.sense import CheckCondition, FieldPointer, Sense
from scsiemu.spc_removal import RemovalPrevention

__all__ = ["DiskBase", "ErrorCounters", "Ongoing"]

# During FORMAT UNIT and SANITIZE only these are performed (SBC-4 4.32, 4.11): INQUIRY, REPORT LUNS, REQUEST
# SENSE, LOG SENSE, RECEIVE and REPORT commands of the management kind.
_ALWAYS_PERFORMED: Final = frozenset((0x03, 0x12, 0x4D, 0xA0, 0xA3))
_SANITIZE: Final = 0x48
_VARIABLE_LENGTH: Final = 0x7F
_ADDITIONAL_LENGTH: Final = 0x18
_TELLS_NOTHING: Final = frozenset((0x03, 0x12, 0xA0))     # of deferred errors: REQUEST SENSE has its own way

# Which fields PROTECT checks: guard, application tag, reference tag (SBC-4 tables 43, 78, 82).
_CHECKS: Final = {
    0: (True, True, True), 1: (True, True, True), 2: (False, True, True), 3: (False, False, False),
    4: (True, False, False), 5: (True, True, True),
}


class Ongoing:
    """A format or sanitize operation.

    Attributes:
        not_ready: the sense code that other commands get meanwhile.
        done, total: bytes; their ratio is the PROGRESS INDICATION.
        stopped: it is over, done or failed.
    """

    __slots__ = ("done", "not_ready", "stopped", "total")

    def __init__(self, not_ready: Any, total: int) -> None:
        self.not_ready = not_ready
        self.done = 0
        self.total = max(total, 1)
        self.stopped = False

    @property
    def progress(self) -> int:
        """Of 65536."""
        return min(self.done * 0x10000 // self.total, 0xFFFF)


class ErrorCounters:
    """What an error counter log page reports of one kind of access (SPC-5 7.3.8)."""

    __slots__ = ("bytes_processed", "uncorrected")

    def __init__(self) -> None:
        self.bytes_processed = 0
        self.uncorrected = 0


class DiskBase(RemovalPrevention):
    """Base of the mixins of a virtual disk.

    Args:
        config: what the disk is made of.
        identity: names of the unit; what is empty is derived.
        options: further arguments of `RemovalPrevention`.

    Attributes:
        present: the medium is there (always, unless the disk is removable).
        stopped: by START STOP UNIT.
        power_condition: the last one that START STOP UNIT selected, 1 is active.
        unreadable: blocks marked by WRITE LONG with WR_UNCOR.
        grown_defects: blocks given to REASSIGN BLOCKS.
        ongoing: the format or sanitize operation that keeps the unit busy, if any.
        failure: the sense code of an operation that failed and left the medium unusable.
        deferred: errors of commands that have ended, by the nexus whose next command tells them (SPC-5 4.4.7).
    """

    peripheral_device_type: ClassVar[int] = 0x00
    config: DiskConfig

    def __init__(self, config: DiskConfig, identity: Identity | None = None, **options: Any) -> None:
        self.config = config
        self.present = True
        self.stopped = False
        self.power_condition = 1
        self.unreadable: set[int] = set()
        self.grown_defects: set[int] = set()
        self.ongoing: Ongoing | None = None
        self.failure: Any = None
        self.deferred: dict[Nexus, Sense] = {}
        self.write_cache = config.write_cache
        self.threshold_armed = False
        self.read_errors = ErrorCounters()
        self.write_errors = ErrorCounters()
        self.verify_errors = ErrorCounters()
        self.fast_read = self.fast_write = False
        super().__init__(identity=identity, **options)
        self.take_geometry()

    def take_geometry(self) -> None:
        """Plain integers for the hot path, from the configuration."""
        self.block_size = self.config.block_size
        self.blocks = self.config.capacity
        self.max_transfer = self.config.max_transfer
        self.pi_type = self.config.pi_type
        self.refresh()

    def refresh(self) -> None:
        """Decide whether the fast forms of READ and WRITE may be used: after each change of what they rely on."""
        plain = (
            self.present and not self.stopped and self.ongoing is None and self.failure is None
            and not self.config.pi_type and not self.unreadable and not self.deferred
        )
        self.fast_read = plain
        protected = self.config.write_protect or self.control.swp
        self.fast_write = plain and not protected and not self.threshold_armed

    # --- readiness and access ----------------------------------------------------------------------------------

    def not_ready(self) -> Sense | None:
        """Why the unit is not ready, as REQUEST SENSE and refused commands tell it; None where it is ready."""
        if self.ongoing is not None:
            return CheckCondition(self.ongoing.not_ready, progress=self.ongoing.progress).sense
        if self.failure is not None:
            return Sense(self.failure)
        if not self.present:
            return Sense(asc.MEDIUM_NOT_PRESENT)
        if self.stopped:
            return Sense(asc.LOGICAL_UNIT_NOT_READY_INITIALIZING_COMMAND_REQUIRED)
        return None

    def check_ready(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        sense = self.not_ready()
        if sense is not None:
            raise _refused(sense)

    def check_access(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        opcode = operation.opcode
        if self.ongoing is not None and opcode not in _ALWAYS_PERFORMED:
            sense = self.not_ready()
            assert sense is not None
            raise _refused(sense)
        # SBC-4 4.11.3: after a failed sanitize only what may mend it is performed.
        sanitize_failed = self.failure == asc.SANITIZE_COMMAND_FAILED
        if sanitize_failed and opcode not in _ALWAYS_PERFORMED and opcode != _SANITIZE:
            raise CheckCondition(self.failure)
        # SPC-5 4.2.3.2: the 32-byte forms have 18h more bytes after byte 7.
        if opcode == _VARIABLE_LENGTH and cdb.additional_cdb_length != _ADDITIONAL_LENGTH:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="additional_cdb_length")
        if self.deferred and opcode not in _TELLS_NOTHING:
            sense = self.take_deferred(command.nexus)
            if sense is not None:
                raise _refused(sense)
        super().check_access(command, operation, cdb)

    def check_effects(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        if operation.name in self.medium_writers:
            self.check_writable(command)
        super().check_effects(command, operation, cdb)

    # Names of the operations that change the medium by requests; `disk.VirtualDisk` has them. The others that
    # change it ask `check_writable` themselves.
    medium_writers: ClassVar[frozenset[str]] = frozenset()

    def check_writable(self, command: Command | None) -> None:
        """Raises CheckCondition with DATA PROTECT where the medium cannot be written (SBC-4 4.16)."""
        if self.config.write_protect:
            raise CheckCondition(asc.WRITE_PROTECTED)
        if self.control.swp:
            raise CheckCondition(asc.LOGICAL_UNIT_SOFTWARE_WRITE_PROTECTED)
        if command is not None and command.nexus_state.read_only:
            raise CheckCondition(asc.WRITE_PROTECTED)

    def check_range(self, lba: int, blocks: int) -> None:
        """Raises CheckCondition where a block of the range is not on the medium; INFORMATION is the first one
        that is not (SBC-4 4.18.1)."""
        if lba + blocks > self.blocks:
            code = asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
            raise CheckCondition(code, field="lba", information=max(lba, self.blocks))

    def check_transfer(self, lba: int, blocks: int) -> None:
        """The range, and MAXIMUM TRANSFER LENGTH (SBC-4 6.6.4)."""
        self.check_range(lba, blocks)
        if blocks > self.max_transfer:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")

    def io_failed(self, command: Command, request: IoRequest[Any], failure: IoFailed) -> Sense:
        """Medium errors name the block in INFORMATION (SBC-4 4.18.1)."""
        if isinstance(request, Read):
            self.read_errors.uncorrected += 1
        elif isinstance(request, (Write, Fill)):
            self.write_errors.uncorrected += 1
        sense = super().io_failed(command, request, failure)
        if failure.fault != IoFault.MEDIUM:
            return sense
        offset = failure.offset if failure.offset is not None else getattr(request, "offset", None)
        if offset is None or offset >= self.config.pi_offset:
            return sense
        return Sense(sense.code, information=offset // self.block_size)

    # --- protection information --------------------------------------------------------------------------------

    def check_protect(self, cdb: CdbFields, *, thirty_two: bool) -> int:
        """The PROTECT field, where it may have this value (SBC-4 4.21.2). 0 for CDBs without the field."""
        protect = getattr(cdb, "protect", 0)
        if not protect:
            return 0
        if not self.pi_type:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="protect")
        if self.pi_type == 2 and not thirty_two:
            # SBC-4 5.x: the short forms carry no expected tags for type 2.
            raise CheckCondition(asc.INVALID_COMMAND_OPERATION_CODE, pointer=FieldPointer(0))
        if protect not in _CHECKS:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="protect")
        return int(protect)

    def protection_check(self, cdb: CdbFields, protect: int, lba: int, blocks: int) -> ProtectionCheck:
        """What to check of protection information that is read (`protect` 0 too) or received."""
        guard, application, reference = _CHECKS[protect]
        if not protect and self.control.dpicz:      # SPC-5 7.5.10: disable checking if the field is zero
            guard = application = reference = False
        if self.pi_type == 2:
            # Only the 32-byte forms say what to expect (SBC-4 4.21.2.4).
            known = protect != 0
            return ProtectionCheck(
                2, guard, application and known and self.application_tag_owner, reference and known,
                getattr(cdb, "expected_application_tag", 0), getattr(cdb, "application_tag_mask", 0),
                getattr(cdb, "expected_reference_tag", 0),
            )
        tag = self.known_application_tag(lba, blocks)
        return ProtectionCheck(
            self.pi_type, guard, application and tag is not None, reference and self.pi_type == 1,
            tag or 0, 0xFFFF, lba & 0xFFFFFFFF,
        )

    def known_application_tag(self, lba: int, blocks: int) -> int | None:
        """The tag that the application tag mode page gives to a range; None where it says nothing."""
        return None

    def generated_protection(self, cdb: CdbFields, data: Buffer, lba: int) -> bytes:
        """Protection information for data that came without (SBC-4 4.21.2, WRPROTECT 000b)."""
        tag = self.known_application_tag(lba, len(data) // self.block_size)
        if tag is None:
            # ATO zero: the tag is the device server's; one: of unknown contents, not to be checked.
            tag = 0xFFFF if self.application_tag_owner else 0
        return make_protection(data, self.block_size, pi_type=self.pi_type, lba=lba, application_tag=tag)

    @property
    def application_tag_owner(self) -> bool:
        """ATO of the control mode page: the application client owns the application tag."""
        return False

    def read_blocks(self, lba: int, blocks: int) -> Generator[IoRequest[Any], Any, Buffer]:
        """User data of a range that was checked."""
        self.check_readable(lba, blocks)
        data: Buffer = yield from Read(lba * self.block_size, blocks * self.block_size)
        return data

    def read_protection(self, lba: int, blocks: int) -> Generator[IoRequest[Any], Any, bytes]:
        """Protection information of a range."""
        stored: Buffer = yield from Read(self.config.pi_offset + lba * PI_SIZE, blocks * PI_SIZE)
        return invert(stored)

    def write_blocks(
        self, lba: int, data: bytes, protection: bytes | None, *, fua: bool
    ) -> Generator[IoRequest[Any], Any, None]:
        """Write user data and its protection information, None where the disk has none."""
        if not data:
            return
        write = Write(lba * self.block_size, len(data), data, fua=fua)
        write.owned = True
        yield from write
        if protection is not None:
            yield from self.write_protection(lba, protection, fua=fua)
        self.mark_written(lba, len(data) // self.block_size)

    def allocation_changed(self) -> None:
        """Blocks may have been allocated or deallocated: whoever watches thresholds looks."""

    def flush_steps(self, nexus: Nexus | None = None) -> Steps:
        """Background work: what a volatile cache holds goes to the medium. An error is told by the next command of the
        nexus that asked for it; where none did, of every nexus."""
        try:
            yield from Flush()
        except IoFailed:
            for each in self.unit.nexus_states if nexus is None else (nexus,):
                if each in self.unit.nexus_states:
                    self.deferred.setdefault(each, Sense(asc.WRITE_ERROR, deferred=True))
            self.refresh()
            raise
        return Completion()

    def take_deferred(self, nexus: Nexus) -> Sense | None:
        """The deferred error that a nexus is to be told now, once."""
        sense = self.deferred.pop(nexus, None)
        if sense is not None:
            self.refresh()
        return sense

    def nexus_lost(self, state: NexusState) -> None:
        self.take_deferred(state.nexus)
        super().nexus_lost(state)

    def reset(self, kind: str) -> None:
        self.deferred.clear()
        super().reset(kind)

    def write_protection(
        self, lba: int, protection: bytes, *, fua: bool = False
    ) -> Generator[IoRequest[Any], Any, None]:
        """Write protection information of the blocks from `lba` on."""
        write = Write(self.config.pi_offset + lba * PI_SIZE, len(protection), invert(protection), fua=fua)
        write.owned = True
        yield from write

    def check_readable(self, lba: int, blocks: int) -> None:
        """Raises CheckCondition at the first block that WRITE LONG marked unreadable (SBC-4 4.18.2)."""
        if not self.unreadable:
            return
        bad = min((block for block in self.unreadable if lba <= block < lba + blocks), default=None)
        if bad is not None:
            self.read_errors.uncorrected += 1
            raise CheckCondition(asc.READ_ERROR_LBA_MARKED_BAD_BY_APPLICATION_CLIENT, information=bad)

    def mark_written(self, lba: int, blocks: int) -> None:
        """Blocks have been written: they are readable again (SBC-4 4.18.2)."""
        if self.unreadable:
            self.unreadable = {block for block in self.unreadable if not lba <= block < lba + blocks}
            self.refresh()


def _refused(sense: Sense) -> CheckCondition:
    """The refusal with this sense data."""
    refusal = CheckCondition(sense.code)
    refusal.sense = sense
    return refusal
