"""Commands that make the medium another: FORMAT MEDIUM, SET CAPACITY, ERASE, ALLOW OVERWRITE (SSC-5 clauses 5 to 7)."""

from __future__ import annotations

from typing import Final

from devtypes.vt import layouts
from devtypes.vt.layouts import tape_operation
from devtypes.vt.modes import TapeModes
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.operations import Result
from scsiemu.sense import CheckCondition, SenseKey

__all__ = ["Formatting"]

_POSITION_PAST_BEGINNING: Final = asc.with_key(asc.POSITION_PAST_BEGINNING_OF_MEDIUM, SenseKey.ILLEGAL_REQUEST)
_CANNOT_FORMAT: Final = asc.with_key(asc.CANNOT_FORMAT_MEDIUM_INCOMPATIBLE_MEDIUM, SenseKey.DATA_PROTECT)
_THE_REST: Final = 0xFFFF


class _Format:
    """FORMAT of FORMAT MEDIUM (SSC-5 table 31)."""

    DEFAULT: Final = 0
    PARTITION: Final = 1
    DEFAULT_THEN_PARTITION: Final = 2


class _AllowOverwrite:
    """ALLOW OVERWRITE (SSC-5 table 29)."""

    DISABLED: Final = 0
    CURRENT_POSITION: Final = 1
    FORMAT: Final = 2


class Formatting(TapeModes):
    """The commands that make the medium another."""

    # --- FORMAT MEDIUM -----------------------------------------------------------------------------------------

    @tape_operation(
        0x04, "FORMAT MEDIUM", layouts.FORMAT_MEDIUM, needs_ready=True, exclusive=True, recommended=3600,
        standard="SSC-5 7.1",
    )
    def format_medium(self, command: Command, cdb: CdbFields) -> Result:
        """One partition, or those of the medium partition page; only at the beginning of partition 0."""
        if cdb.format > _Format.DEFAULT_THEN_PARTITION:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="format")
        if cdb.transfer_length:                 # vendor specific format information: there is none
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")
        self._check_reformat(command)
        shares = (1,) if cdb.format == _Format.DEFAULT else self._wanted_partitions()
        steps = self._format_steps(shares)
        return self.perform(steps, immediate=bool(cdb.immed), doing=asc.OPERATION_IN_PROGRESS)

    def _check_reformat(self, command: Command) -> None:
        """Raises CheckCondition where the medium cannot be made another now."""
        self.check_writable(command)
        if self.position[:2] != (0, 0):
            raise CheckCondition(_POSITION_PAST_BEGINNING)
        if self.tape.worm and not self.tape.blank():
            raise CheckCondition(_CANNOT_FORMAT)
        if self.append_only and not self.tape.blank() and self.may_overwrite != "format":
            raise CheckCondition(asc.WORM_MEDIUM_OVERWRITE_ATTEMPTED)

    def _format_steps(self, shares: tuple[int, ...]) -> Steps:
        yield from self.tape.repartition(shares, density=self.kind.format_density(self.tape.state.medium_type))
        self._begin_anew()
        return Completion()

    def _begin_anew(self) -> None:
        self.may_overwrite = None
        self.unsynced = False
        self.position = self.tape.beginning(0)
        self.show_partitions(self.tape)

    def _wanted_partitions(self) -> tuple[int, ...]:
        """Bytes of each partition that the medium partition page asks for. Raises CheckCondition."""
        if (0x11, 0x00) not in self.mode_pages.pages:
            return (1,)
        page = self.mode_pages.fields(0x11)
        count = page.additional_partitions_defined + 1
        if not page.idp:                        # FDP, SDP or neither: the drive chooses sizes
            return (1,) * count
        unit = (1, 1 << 10, 1 << 20, 10**page.partition_units)[page.psum]
        sizes = [getattr(page, f"partition_size_{number}") for number in range(count)]
        usable = self.tape.usable
        given = sum(size * unit for size in sizes if size != _THE_REST)
        open_ended = sizes.count(_THE_REST)
        left = usable - given
        if left < 0 or (open_ended and left // open_ended <= 0) or 0 in sizes:
            raise CheckCondition(asc.PARAMETER_VALUE_INVALID)
        found = [left // open_ended if size == _THE_REST else size * unit for size in sizes]
        if not open_ended:
            found[-1] += left                   # what nobody asked for goes to the last one
        return tuple(found)

    # --- SET CAPACITY ------------------------------------------------------------------------------------------

    @tape_operation(
        0x0B, "SET CAPACITY", layouts.SET_CAPACITY, needs_ready=True, exclusive=True, recommended=1800,
        standard="SSC-5 7.11",
    )
    def set_capacity(self, command: Command, cdb: CdbFields) -> Result:
        """Use only a proportion of the medium, of 65535; its data is lost."""
        self._check_reformat(command)
        steps = self._capacity_steps(cdb.capacity_proportion)
        return self.perform(steps, immediate=bool(cdb.immed), doing=asc.SET_CAPACITY_OPERATION_IN_PROGRESS)

    def _capacity_steps(self, proportion: int) -> Steps:
        yield from self.tape.set_proportion(max(proportion, 1))
        self._begin_anew()
        return Completion()

    # --- ERASE -------------------------------------------------------------------------------------------------

    @tape_operation(
        0x19, "ERASE(6)", layouts.ERASE_6, needs_ready=True, exclusive=True, recommended=36000, standard="SSC-5 6.2",
    )
    @tape_operation(
        0x93, "ERASE(16)", layouts.ERASE_16, needs_ready=True, exclusive=True, recommended=36000, standard="SSC-5 5.2",
    )
    def erase(self, command: Command, cdb: CdbFields) -> Result:
        """From the position to the end of the partition with LONG; without, end of data is recorded at the position."""
        self.check_writable(command)
        steps = self._erase_steps(cdb)
        return self.perform(steps, immediate=bool(cdb.immed), doing=asc.ERASE_OPERATION_IN_PROGRESS)

    def _erase_steps(self, cdb: CdbFields) -> Steps:
        yield from self.address(cdb)
        yield from self.check_overwrite()
        if cdb.long:
            yield from self.tape.erase(self.position)
        else:
            yield from self.tape.truncate(self.position)
        self.may_overwrite = None
        self.unsynced = False
        return Completion()

    # --- ALLOW OVERWRITE ---------------------------------------------------------------------------------------

    @tape_operation(
        0x82, "ALLOW OVERWRITE", layouts.ALLOW_OVERWRITE, needs_ready=True, exclusive=True, standard="SSC-5 7.x",
    )
    def allow_overwrite(self, command: Command, cdb: CdbFields) -> Completion:
        """In append-only mode: the next write may overwrite what is behind this position, or format the medium."""
        if not self.append_only:
            raise CheckCondition(asc.ILLEGAL_COMMAND_WHEN_NOT_IN_APPEND_ONLY_MODE)
        self.may_overwrite = None
        if cdb.allow_overwrite == _AllowOverwrite.CURRENT_POSITION:
            where = (cdb.partition, cdb.logical_object_identifier)
            if where != self.position[:2]:
                code = asc.with_key(asc.SEQUENTIAL_POSITIONING_ERROR, SenseKey.ILLEGAL_REQUEST)
                raise CheckCondition(code)
            self.may_overwrite = where
        elif cdb.allow_overwrite == _AllowOverwrite.FORMAT:
            self.may_overwrite = "format"
        elif cdb.allow_overwrite != _AllowOverwrite.DISABLED:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="allow_overwrite")
        return Completion()
