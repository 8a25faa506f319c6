"""What a virtual disk reports of itself: VPD pages, log pages, referrals (SBC-4 6.4, 6.6, 5.25).

Every number comes from the configuration that commands are checked against, or from state. Not here: format status,
solid state media (nothing wears), temperature.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from devtypes.vd.base import ErrorCounters
from devtypes.vd.modes import DiskModes
from scsiemu import asc
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion, Steps
from scsiemu.log_pages import LogFormat, LogParameter, log_page
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition
from scsiemu.spc_inquiry import VersionDescriptor
from scsiemu.vpd import vpd_page

__all__ = ["REPORT_REFERRALS", "DiskReports"]

REPORT_REFERRALS: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 lba:64 allocation_length:32 _:7 one_seg control:8"
)

_BLOCK_LIMITS: Final = struct.Struct(">BBHIIIIIIIQIIIII")
_UNMAP_ALIGNMENT_VALID: Final = 0x80000000
_THIN: Final = 2
_PROVISIONING_PAGE: Final = 0x0C
_PROTECT: Final = 0x01
_THIRD_PARTY_COPY: Final = 0x08
_SBC_3: Final = 0x04C0
_MINUTE: Final = 60


class DiskReports(DiskModes):
    """INQUIRY data, VPD pages and log pages."""

    default_product: ClassVar[str] = "VIRTUAL DISK"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.has_start_stop = True

    def inquiry_bits(self) -> tuple[int, int]:
        return _THIRD_PARTY_COPY | (_PROTECT if self.pi_capable else 0), 0

    def version_descriptors(self) -> tuple[int, ...]:
        return (_SBC_3, VersionDescriptor.SBC_4)

    def extended_inquiry(self) -> dict[str, int]:
        """Protection types 1, 2 and 3 where any; WRITE LONG's bits; a volatile cache."""
        fields = {**super().extended_inquiry(), "wu_sup": 1, "crd_sup": 1, "v_sup": 1, "r_sup": 1}
        if self.pi_capable:
            fields |= {"spt": 7, "grd_chk": 1, "app_chk": 1, "ref_chk": 1}
        return fields

    # --- VPD ---------------------------------------------------------------------------------------------------

    @vpd_page(0xB0, "Block limits", standard="SBC-4 6.6.4")
    def vpd_block_limits(self, command: Command) -> bytes:
        """The limits that commands are checked against. WSNZ is zero."""
        config = self.config
        unmap = (config.max_unmap_blocks, config.max_unmap_descriptors) if config.thin else (0, 0)
        granularity = config.unmap_granularity if config.thin else 0
        alignment = _UNMAP_ALIGNMENT_VALID | config.lowest_aligned if config.thin else 0
        return _BLOCK_LIMITS.pack(
            0, config.max_compare, min(config.blocks_per_physical, 0xFFFF), config.max_transfer,
            config.max_transfer, 0, *unmap, granularity, alignment, config.max_write_same, config.max_atomic,
            config.atomic_alignment, config.atomic_granularity, 0, 0,
        )

    @vpd_page(0xB1, "Block device characteristics", standard="SBC-4 6.6.2")
    def vpd_block_device_characteristics(self, command: Command) -> bytes:
        """Rotation rate; after an erasing sanitize reads give data without error (01b); background operation
        control; VERIFY of unmapped blocks."""
        return struct.pack(">HBBB", self.config.rotation_rate, 0, 0x50, 0x05) + bytes(55)

    @vpd_page(0xB2, "Logical block provisioning", standard="SBC-4 6.6.7")
    def vpd_logical_block_provisioning(self, command: Command) -> bytes:
        """UNMAP, WRITE SAME(10) and (16) unmap; unmapped blocks read as zeros."""
        if not self.config.thin:
            return bytes(4)
        return bytes((self.threshold_exponent, 0xE0 | self.config.promises_zeros << 2, _THIN, 0))

    @vpd_page(0xB3, "Referrals", standard="SBC-4 6.6.8")
    def vpd_referrals(self, command: Command) -> bytes:
        """Segments are of any size: there is one, all of the unit."""
        return bytes(12)

    @vpd_page(0xB7, "Block limits extension", standard="SBC-4 6.6.5")
    def vpd_block_limits_extension(self, command: Command) -> bytes:
        """Streams. No scattered writes."""
        return struct.pack(">BBHHI", 0, 0, self.config.max_streams, 1, 1) + bytes(50)

    @operation(
        0x9E, "REPORT REFERRALS", REPORT_REFERRALS, service_action=0x13, data=DataDirection.IN,
        conflict=ReservationClass.PERSISTENT_ALLOWED, needs_ready=True, allocation="allocation_length",
        standard="SBC-4 5.25",
    )
    def report_referrals(self, command: Command, cdb: CdbFields) -> Completion:
        """One user data segment: every target port group reaches all blocks, in its state."""
        if cdb.lba >= self.blocks:
            raise CheckCondition(asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, field="lba", information=cdb.lba)
        groups = sorted({port.group for port in self.unit.target.ports})[:255]
        states = b"".join(
            bytes((self.port_groups[group].state if group in self.port_groups else 0, 0)) + group.to_bytes(2, "big")
            for group in groups
        )
        segment = struct.pack(">3xBQQ", len(groups), 0, self.blocks - 1) + states
        return Completion(struct.pack(">2xH", len(segment)) + segment)

    # --- log pages ---------------------------------------------------------------------------------------------

    def log_sense(self, command: Command, cdb: CdbFields) -> Any:
        """The provisioning page is counted when it is asked for."""
        if cdb.page_code == _PROVISIONING_PAGE and self.config.thin:
            return self._counted_log_sense(command, cdb)
        return super().log_sense(command, cdb)

    def _counted_log_sense(self, command: Command, cdb: CdbFields) -> Steps:
        self.used = yield from self.used_blocks()
        return super().log_sense(command, cdb)

    @log_page(0x02, "Write error counters", reset="reset_write_errors", standard="SPC-5 7.3.8")
    def log_write_errors(self) -> Iterable[LogParameter]:
        """Errors of writing."""
        return _error_counters(self.write_errors, self.counters.blocks_written * self.block_size)

    @log_page(0x03, "Read error counters", reset="reset_read_errors", standard="SPC-5 7.3.8")
    def log_read_errors(self) -> Iterable[LogParameter]:
        """Errors of reading."""
        return _error_counters(self.read_errors, self.counters.blocks_read * self.block_size)

    @log_page(0x05, "Verify error counters", reset="reset_verify_errors", standard="SPC-5 7.3.8")
    def log_verify_errors(self) -> Iterable[LogParameter]:
        """Errors of verifying."""
        return _error_counters(self.verify_errors, self.verify_errors.bytes_processed)

    def reset_write_errors(self) -> None:
        """LOG SELECT resets page 02h."""
        self.write_errors = ErrorCounters()

    def reset_read_errors(self) -> None:
        """LOG SELECT resets page 03h."""
        self.read_errors = ErrorCounters()

    def reset_verify_errors(self) -> None:
        """LOG SELECT resets page 05h."""
        self.verify_errors = ErrorCounters()

    @log_page(
        _PROVISIONING_PAGE, "Logical block provisioning", standard="SBC-4 6.4.6",
        available=lambda disk: disk.config.thin,
    )
    def log_provisioning(self) -> Iterable[LogParameter]:
        """Available and used LBA mapping resources of this unit alone, in threshold sets."""
        available, used = self.resource_sets()
        return [
            LogParameter(0x0001, struct.pack(">IB3x", available, 1)),
            LogParameter(0x0002, struct.pack(">IB3x", used, 1)),
        ]

    @log_page(0x15, "Background scan results", standard="SBC-4 6.4.2")
    def log_background_scan(self) -> Iterable[LogParameter]:
        """No background scan runs; the time that the unit is powered."""
        return [LogParameter(0x0000, struct.pack(">IxBHHH", self._powered_minutes(), 0, 0, 0, 0))]

    @log_page(0x15, "Pending defects", subpage=0x01, standard="SBC-4 6.4.8")
    def log_pending_defects(self) -> Iterable[LogParameter]:
        """The blocks that were marked unreadable and not yet written again."""
        hours = self._powered_minutes() // 60
        found = sorted(lba for lba in self.unreadable if lba < self.blocks)[:0xEFFF]
        yield LogParameter(0x0000, len(found).to_bytes(4, "big"))
        for number, lba in enumerate(found, 1):
            yield LogParameter(number, struct.pack(">IQ", hours, lba))

    @log_page(0x1A, "Power condition transitions", standard="SPC-5 7.3.18")
    def log_power_transitions(self) -> Iterable[LogParameter]:
        """How often each power condition was entered: active, idle_a, standby_z."""
        return [
            LogParameter(code, self.power_transitions[condition].to_bytes(4, "big"))
            for code, condition in ((0x0001, 1), (0x0002, 2), (0x0008, 3))
        ]

    def _powered_minutes(self) -> int:
        return int(self.unit.now - self.powered_at) // _MINUTE & 0xFFFFFFFF


def _error_counters(errors: ErrorCounters, processed: int) -> list[LogParameter]:
    """Parameters 0000h to 0006h: nothing is corrected here, it works or it does not."""
    numbers = (0, 0, 0, 0, 0, processed, errors.uncorrected)
    return [
        LogParameter(code, number.to_bytes(8, "big"), LogFormat.BOUNDED_COUNTER) for code, number in enumerate(numbers)
    ]
