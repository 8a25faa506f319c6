"""The log pages of a tape drive: errors, data, TapeAlert, device and volume statistics, compression, and the pages 30h
to 32h that LTO drives have (SSC-5 8.2). Every value is from state; what this drive cannot know is not there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from devtypes.vt.attributes import Attributes, medium_serial
from devtypes.vt.base import LoadState
from devtypes.vt.tape_alert import TAPE_ALERT_COUNT
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion
from scsiemu.log_pages import LogFormat, LogParameter, log_page
from scsiemu.logical_unit import NexusState
from scsiemu.nexus import Nexus

__all__ = ["TapeLogs"]

_MEBIBYTE: Final = 1 << 20
_MEGABYTE: Final = 1_000_000
_NO_RECOVERY: Final = 0x00
_CLEAN: Final = 0x0D                        # recovery procedure "request creation of a drive cleaning"
# DT DEVICE ACTIVITY (ADC-4 table 33).
_LOAD_ACTIVITIES: Final = {LoadState.LOADING: 0x02, LoadState.UNLOADING: 0x03}
_ACTIVITIES: Final = {
    asc.LOCATE_OPERATION_IN_PROGRESS: 0x07, asc.REWIND_OPERATION_IN_PROGRESS: 0x08,
    asc.ERASE_OPERATION_IN_PROGRESS: 0x09, asc.OPERATION_IN_PROGRESS: 0x0A,
}
_UNLIMITED: Final = LogFormat.UNBOUNDED_COUNTER


def _has(page: int) -> Any:
    """For `available`: the personality has the page."""
    return lambda drive: page not in drive.kind.log_pages_without


def _counter(code: int, number: int, length: int) -> LogParameter:
    """An unbounded data counter."""
    return LogParameter(code, min(number, (1 << 8 * length) - 1).to_bytes(length, "big"), _UNLIMITED)


def _number(code: int, number: int, length: int) -> LogParameter:
    """A number that does not count."""
    return LogParameter(code, min(max(number, 0), (1 << 8 * length) - 1).to_bytes(length, "big"))


def _ratio(before: int, after: int) -> int:
    """Compression ratio times 100; 100 where nothing was compressed."""
    return before * 100 // after if after else 100


def _errors(uncorrected: int, processed: int) -> Iterable[LogParameter]:
    """An error counter page: nothing is ever corrected here (SPC-5 7.3.8)."""
    return [
        *(LogParameter(code, bytes(8), LogFormat.BOUNDED_COUNTER) for code in range(5)),
        LogParameter(0x0005, processed.to_bytes(8, "big"), LogFormat.BOUNDED_COUNTER),
        LogParameter(0x0006, uncorrected.to_bytes(8, "big"), LogFormat.BOUNDED_COUNTER),
    ]


class TapeLogs(Attributes):
    """Log pages.

    Attributes:
        reader: the nexus whose LOG SENSE is answered; TapeAlert flags are told to each once.
    """

    reader: Nexus | None = None

    def log_sense(self, command: Command, cdb: CdbFields) -> Completion:
        """As SPC says; the TapeAlert page is told to a nexus."""
        self.reader = command.nexus
        try:
            return super().log_sense(command, cdb)
        finally:
            self.reader = None

    def nexus_lost(self, state: NexusState) -> None:
        self.alerts.forget(state.nexus)
        super().nexus_lost(state)

    def reset_counted(self) -> None:
        """LOG SELECT resets what is counted."""
        self.counted.reset()

    def clear_alerts(self) -> None:
        """LOG SELECT clears TapeAlert flags: TASER is zero (SSC-5 8.3.8)."""
        self.alerts.clear()

    def reset(self, kind: str) -> None:
        """TapeAlert flags are cleared (SSC-5 4.2.20)."""
        super().reset(kind)
        self.alerts.clear()

    # --- errors ------------------------------------------------------------------------------------------------

    @log_page(0x02, "Write error counters", reset="reset_counted", available=_has(0x02), standard="SPC-5 7.3.8")
    def log_write_errors(self) -> Iterable[LogParameter]:
        """Errors of writing."""
        return _errors(self.counted.write_errors, self.counted.host_written)

    @log_page(0x03, "Read error counters", reset="reset_counted", available=_has(0x03), standard="SPC-5 7.3.8")
    def log_read_errors(self) -> Iterable[LogParameter]:
        """Errors of reading."""
        return _errors(self.counted.read_errors, self.counted.host_read)

    # --- sequential access ---------------------------------------------------------------------------------------

    @log_page(0x0C, "Sequential-access device", reset="reset_counted", available=_has(0x0C), standard="SSC-5 8.2.3")
    def log_sequential_access(self) -> Iterable[LogParameter]:
        """Data to and from the medium, capacity along the tape, cleaning."""
        counted = self.counted
        found = [
            _counter(0x0000, counted.host_written, 8),
            _counter(0x0001, counted.medium_written, 8),
            _counter(0x0002, counted.medium_read, 8),
            _counter(0x0003, counted.host_read, 8),
        ]
        if self.load_state == LoadState.READY and self.cartridge is not None and self.failure is None:
            tape, here = self.cartridge, self.position
            start = tape.beginning(here.partition).offset
            size, warning = tape.size(here.partition), self.early_warning(here.partition)
            found += [
                _number(0x0004, tape.used(here.partition) // _MEGABYTE, 8),     # beginning to end of data
                _number(0x0005, (size - warning) // _MEGABYTE, 8),              # beginning to early warning
                _number(0x0006, warning // _MEGABYTE, 8),                       # early warning to end of partition
                _number(0x0007, (here.offset - start) // _MEGABYTE, 8),         # beginning to here
            ]
        found += [
            _number(0x0008, 0, 8),                                              # in the object buffer
            _number(0x0100, int(self.cleaning_needed), 8),
            _number(0x8000, (counted.host_written + counted.host_read) // _MEGABYTE, 4),
            _number(0x8001, self.counters.load_unload_cycles, 4),
            _number(0x8002, counted.cleanings, 4),
        ]
        return found

    # --- the automation's view -----------------------------------------------------------------------------------

    @log_page(0x11, "DT device status", available=_has(0x11), standard="SSC-5 8.2.4, ADC-4 6.1.2.2")
    def log_device_status(self) -> Iterable[LogParameter]:
        """Very high frequency data, and how often a poller should ask for it."""
        return [LogParameter(0x0000, self._very_high_frequency_data()), _number(0x0001, 1000, 2)]

    def _very_high_frequency_data(self) -> bytes:
        """ADC-4 6.1.2.2.2."""
        state = self.load_state
        present = state != LoadState.EMPTY
        moving = state in (LoadState.LOADING, LoadState.UNLOADING)
        memory = self.memory_ready
        first = (
            (0x80 if self.preventing else 0) | (0x20 if memory else 0) | (0x10 if self.compressing else 0)
            | (0x08 if self.write_protected else 0) | (0x02 if self.cleaning_needed else 0) | 0x01
        )
        second = (
            (0x80 if moving else 0)                                             # INXTN
            | (0x20 if not moving else 0)                                       # RAA: robotic access allowed
            | (0x10 if present else 0) | (0x04 if present and state != LoadState.EJECTED else 0)
            | (0x02 if state == LoadState.READY else 0)
            | (0x01 if state == LoadState.READY and self.failure is None else 0)
        )
        activity = _LOAD_ACTIVITIES.get(state) or (_ACTIVITIES.get(self.motion, 0x04) if self.motion is not None else 0)
        flags = (0x04 if self.cleaning_needed else 0) | (0x01 if self.alerts.active else 0)     # RRQST, TAFC
        return bytes((first, second, activity, flags))

    @log_page(0x12, "TapeAlert response", available=_has(0x12), standard="SSC-5 8.2.5")
    def log_tape_alert_response(self) -> Iterable[LogParameter]:
        """All flags in one parameter; reading them changes nothing."""
        return [LogParameter(0x0000, self.alerts.flags(self.alerts.active))]

    @log_page(0x13, "Requested recovery", available=_has(0x13), standard="SSC-5 8.2.6")
    def log_requested_recovery(self) -> Iterable[LogParameter]:
        """What the drive wants to be done: nothing, or to be cleaned."""
        return [LogParameter(0x0000, bytes((_CLEAN if self.cleaning_needed else _NO_RECOVERY,)))]

    @log_page(
        0x2E, "TapeAlert", reset="clear_alerts", available=_has(0x2E), disable_save=False, standard="SSC-5 8.2.9",
    )
    def log_tape_alert(self) -> Iterable[LogParameter]:
        """Each flag in a parameter of its own; a nexus is told of each once. DS is zero, as it was while it was
        reserved (SPC-3): software takes the first byte for the page code."""
        told = self.alerts.tell(self.reader) if self.reader is not None else frozenset(self.alerts.active)
        return [LogParameter(flag, bytes((flag in told,))) for flag in range(1, TAPE_ALERT_COUNT + 1)]

    # --- statistics ------------------------------------------------------------------------------------------------

    @log_page(0x14, "Device statistics", available=_has(0x14), standard="SSC-5 8.2.7")
    def log_device_statistics(self) -> Iterable[LogParameter]:
        """Of the drive since it was switched on, which is as long as it remembers."""
        counted = self.counted
        serial = self.identity.serial.encode()
        return [
            _number(0x0000, self.counters.load_unload_cycles, 8),
            _number(0x0001, counted.cleanings, 8),
            _number(0x0002, int(self.unit.now - self.powered_at) // 3600, 8),
            _number(0x0004, int(self.physics.meters), 8),
            _number(0x000C, 1, 8),
            _number(0x000D, counted.loads, 8),
            _number(0x000E, counted.write_errors, 8),
            _number(0x000F, counted.read_errors, 8),
            LogParameter(0x0040, serial, LogFormat.ASCII_LIST),
            LogParameter(0x0041, serial, LogFormat.ASCII_LIST),
            _number(0x0080, int(bool(self.preventing)), 1),
        ]

    @log_page(0x17, "Volume statistics", available=_has(0x17), standard="SSC-5 8.2.8")
    def log_volume_statistics(self) -> Iterable[LogParameter]:
        """Of the cartridge. Without one only that the page is not valid."""
        cartridge = self.cartridge
        if cartridge is None:
            return [LogParameter(0x0000, b"\0")]
        written, read = self.loaded_with
        counted, mount, life = self.counted, self.mount_errors, self.life_errors
        usable = cartridge.usable // _MEGABYTE
        sizes = [cartridge.size(number) for number in range(cartridge.partitions)]
        used = [cartridge.used(number) for number in range(cartridge.partitions)]
        barcode = cartridge.attribute(0x0806)
        return [
            LogParameter(0x0000, b"\1"),
            _number(0x0001, cartridge.loads, 4),
            _number(0x0004, life.writing, 2),
            _number(0x0009, life.reading, 2),
            _number(0x000C, mount.writing, 2),
            _number(0x000D, mount.reading, 2),
            _number(0x000E, (cartridge.bytes_written - written) // _MEGABYTE, 4),
            _number(0x000F, (cartridge.bytes_read - read) // _MEGABYTE, 4),
            _number(0x0010, cartridge.bytes_written // _MEGABYTE, 8),
            _number(0x0011, cartridge.bytes_read // _MEGABYTE, 8),
            _number(0x0012, _ratio(counted.compressible_written, counted.compressed_written), 2),
            _number(0x0013, _ratio(counted.compressible_read, counted.compressed_read), 2),
            _number(0x0016, usable, 4),
            _number(0x0017, sum(used) // _MEGABYTE, 4),
            LogParameter(0x0040, medium_serial(cartridge), LogFormat.ASCII_LIST),
            LogParameter(0x0042, barcode.value if barcode is not None else b" " * 32, LogFormat.ASCII_LIST),
            LogParameter(0x0043, self.kind.vendor.ljust(8).encode(), LogFormat.ASCII_LIST),
            LogParameter(0x0045, self.kind.density.name.ljust(9)[:9].encode(), LogFormat.ASCII_LIST),
            _number(0x0080, int(self.write_protected), 1),
            _number(0x0081, int(cartridge.worm), 1),
            LogParameter(0x0202, _by_partition(size // _MEGABYTE for size in sizes)),
            LogParameter(0x0203, _by_partition(each // _MEGABYTE for each in used)),
            LogParameter(0x0204, _by_partition(
                (size - each) // _MEGABYTE for size, each in zip(sizes, used, strict=True)
            )),
        ]

    # --- compression ---------------------------------------------------------------------------------------------

    @log_page(
        0x1B, "Data compression", reset="reset_counted",
        available=lambda drive: drive.kind.compression and _has(0x1B)(drive), standard="SSC-5 8.2.10",
    )
    def log_data_compression(self) -> Iterable[LogParameter]:
        """Ratios, and what went in and out of the compressor."""
        return [*self._compression(), _number(0x0100, int(self.compressing), 1)]

    @log_page(
        0x32, "Data compression (LTO)", reset="reset_counted",
        available=lambda drive: drive.kind.compression and _has(0x32)(drive), standard="vendor specific",
    )
    def log_lto_compression(self) -> Iterable[LogParameter]:
        """The same, where older software of LTO drives looks for it."""
        return self._compression()

    def _compression(self) -> list[LogParameter]:
        counted = self.counted
        found = [
            _number(0x0000, _ratio(counted.compressible_read, counted.compressed_read), 2),
            _number(0x0001, _ratio(counted.compressible_written, counted.compressed_written), 2),
        ]
        amounts = (counted.host_read, counted.medium_read, counted.host_written, counted.medium_written)
        for index, amount in enumerate(amounts):
            found.append(_number(0x0002 + 2 * index, amount // _MEGABYTE, 4))
            found.append(_number(0x0003 + 2 * index, amount % _MEGABYTE, 4))
        return found

    # --- pages of LTO drives -------------------------------------------------------------------------------------

    @log_page(0x30, "Tape usage (LTO)", available=_has(0x30), standard="vendor specific")
    def log_tape_usage(self) -> Iterable[LogParameter]:
        """Loads of the cartridge and errors."""
        loads = self.cartridge.loads if self.cartridge is not None else 0
        return [
            _number(0x0001, loads, 4),
            _number(0x0004, self.life_errors.writing, 2),
            _number(0x0009, self.life_errors.reading, 2),
        ]

    @log_page(0x31, "Tape capacity (LTO)", available=_has(0x31), standard="vendor specific")
    def log_tape_capacity(self) -> Iterable[LogParameter]:
        """Remaining and maximum capacity of the first two partitions, in MiB."""
        tape = self.cartridge
        sizes = [tape.size(number) if tape is not None and number < tape.partitions else 0 for number in (0, 1)]
        used = [tape.used(number) if tape is not None and number < tape.partitions else 0 for number in (0, 1)]
        left = [size - each for size, each in zip(sizes, used, strict=True)]
        return [_number(code, size // _MEBIBYTE, 4) for code, size in enumerate((*left, *sizes), 1)]


def _by_partition(numbers: Iterable[int]) -> bytes:
    """Volume statistics partition records (SSC-5 table 138)."""
    return b"".join(
        b"\x07\0" + partition.to_bytes(2, "big") + min(number, 0xFFFFFFFF).to_bytes(4, "big")
        for partition, number in enumerate(numbers)
    )
