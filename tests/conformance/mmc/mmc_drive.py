"""An optical drive by its commands: CDBs, answers taken apart, and discs in the state that a case begins with."""

from __future__ import annotations

import struct
from binascii import crc_hqx
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic, sleep
from typing import Final

import pytest
from conformance import Answer, ConformanceUnit

from scsiemu import asc
from scsiemu.sense import SenseCode, SenseKey

__all__ = [
    "ALL_PROFILES", "BLANK_CHECK", "BLOCK", "CLOSED_DISCS", "NOT_FOR_THIS_MEDIUM", "NOT_WRITABLE", "OPEN", "PROFILES",
    "RAW", "Disc", "Drive", "Feature", "Track", "blank", "blocks", "close_track", "cue", "digits", "disc",
    "edc_is_right", "event", "format_unit", "get_configuration", "get_performance", "lba_of", "load_unload",
    "mechanism_status", "mode_select", "mode_sense", "msf_of", "pause_resume", "play", "play_msf", "prevent",
    "q_is_right", "q_of", "read_10", "read_12", "read_buffer_capacity", "read_capacity", "read_cd", "read_cd_msf",
    "read_disc_information", "read_disc_structure", "read_format_capacities", "read_sub_channel", "read_toc",
    "read_track_information", "repair_track", "report_key", "reserve_track", "scan", "send_cue_sheet",
    "send_disc_structure", "send_key", "send_opc", "set_cd_speed", "set_read_ahead", "set_streaming", "start_stop",
    "synchronize_cache", "verify_10", "write_10", "write_12", "write_and_verify",
]

BLOCK: Final = 2048
RAW: Final = 2352
_PATIENCE: Final = 30.0

OPEN: Final = asc.MEDIUM_NOT_PRESENT_TRAY_OPEN
BLANK_CHECK: Final = asc.with_key(asc.NO_ADDITIONAL_SENSE_INFORMATION, SenseKey.BLANK_CHECK)
NOT_WRITABLE: Final = asc.with_key(asc.CANNOT_WRITE_MEDIUM_INCOMPATIBLE_FORMAT, SenseKey.ILLEGAL_REQUEST)
NOT_FOR_THIS_MEDIUM: Final = asc.with_key(asc.CANNOT_READ_MEDIUM_INCOMPATIBLE_FORMAT, SenseKey.ILLEGAL_REQUEST)

# Discs that cases ask for by name, with the profiles that they may have.
PROFILES: Final = {
    "none": (0,), "cd-data": (0x08, 0x09, 0x0A), "cd-audio": (0x08, 0x09, 0x0A), "cd-xa": (0x08, 0x09, 0x0A),
    "cd-mixed": (0x08, 0x09, 0x0A), "cd-sub": (0x08, 0x09, 0x0A), "dvd-rom": (0x10,), "bd-rom": (0x40,),
    "cd-r": (0x09,), "cd-rw": (0x0A,), "dvd-r": (0x11,), "dvd-ram": (0x12,), "dvd-rw": (0x14,), "dvd-r-dl": (0x15,),
    "dvd+rw": (0x1A,), "dvd+r": (0x1B,), "dvd+r-dl": (0x2B,), "bd-r": (0x41,), "bd-re": (0x43,),
}
CLOSED_DISCS: Final = ("cd-data", "cd-audio", "cd-xa", "cd-mixed", "cd-sub", "dvd-rom", "bd-rom")
# Those of MMC-6 table 93 that an emulated drive is asked for.
ALL_PROFILES: Final = frozenset((
    0x08, 0x09, 0x0A, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x1A, 0x1B, 0x2B, 0x40, 0x41, 0x42, 0x43,
))


def disc(*names: str) -> pytest.MarkDecorator:
    """What has to be in the drive, for the fixture `drive`."""
    return pytest.mark.parametrize("drive", names, indirect=True)


# --- CDBs ---------------------------------------------------------------------------------------------------------


def get_configuration(rt: int = 0, start: int = 0, length: int = 0xFFFF) -> bytes:
    """GET CONFIGURATION."""
    return struct.pack(">BBHxxxHx", 0x46, rt, start, length)


def event(classes: int, *, polled: int = 1, length: int = 0xFF) -> bytes:
    """GET EVENT STATUS NOTIFICATION."""
    return struct.pack(">BBxxBxxHx", 0x4A, polled, classes, length)


def start_stop(
    *, loej: int = 0, start: int = 0, immed: int = 0, power: int = 0, fl: int = 0, layer: int = 0
) -> bytes:
    """START STOP UNIT."""
    return bytes((0x1B, immed, 0, layer, power << 4 | fl << 2 | loej << 1 | start, 0))


def load_unload(*, loej: int = 0, start: int = 0, immed: int = 0, slot: int = 0) -> bytes:
    """LOAD/UNLOAD MEDIUM."""
    return bytes((0xA6, immed, 0, 0, loej << 1 | start, 0, 0, 0, slot, 0, 0, 0))


def prevent(value: int) -> bytes:
    """PREVENT ALLOW MEDIUM REMOVAL."""
    return bytes((0x1E, 0, 0, 0, value, 0))


def mechanism_status(length: int = 8) -> bytes:
    """MECHANISM STATUS."""
    return struct.pack(">B7xHxx", 0xBD, length)


def read_capacity() -> bytes:
    """READ CAPACITY."""
    return bytes((0x25, *bytes(9)))


def read_format_capacities(length: int = 0xFC) -> bytes:
    """READ FORMAT CAPACITIES."""
    return struct.pack(">B6xHx", 0x23, length)


def read_buffer_capacity(*, block: int = 0, length: int = 12) -> bytes:
    """READ BUFFER CAPACITY."""
    return struct.pack(">BB5xHx", 0x5C, block, length)


def read_10(lba: int, count: int = 1, *, fua: int = 0) -> bytes:
    """READ(10)."""
    return struct.pack(">BBIxHx", 0x28, fua << 3, lba & 0xFFFFFFFF, count)


def read_12(lba: int, count: int = 1, *, fua: int = 0, streaming: int = 0) -> bytes:
    """READ(12)."""
    return struct.pack(">BBIIBx", 0xA8, fua << 3, lba & 0xFFFFFFFF, count, streaming << 7)


def verify_10(lba: int, count: int, *, check: int = 0) -> bytes:
    """VERIFY(10)."""
    return struct.pack(">BBIxHx", 0x2F, check << 1, lba, count)


def read_cd(
    lba: int, count: int = 1, *, kind: int = 0, flags: int = 0x10, channels: int = 0, dap: int = 0
) -> bytes:
    """READ CD. `flags` is byte 9: sync 80h, header codes 60h, user data 10h, EDC and ECC 08h, C2 06h."""
    head = struct.pack(">BBI", 0xBE, kind << 2 | dap << 1, lba & 0xFFFFFFFF)
    return head + count.to_bytes(3, "big") + bytes((flags, channels, 0))


def read_cd_msf(
    start: tuple[int, int, int], end: tuple[int, int, int], *, kind: int = 0, flags: int = 0x10, channels: int = 0
) -> bytes:
    """READ CD MSF."""
    return bytes((0xB9, kind << 2, 0, *start, *end, flags, channels, 0))


def read_toc(form: int = 0, track: int = 0, *, msf: int = 0, length: int = 0xFFFF) -> bytes:
    """READ TOC/PMA/ATIP."""
    return struct.pack(">BBBxxxBHx", 0x43, msf << 1, form, track, length)


def read_sub_channel(kind: int, track: int = 0, *, msf: int = 0, subq: int = 1, length: int = 48) -> bytes:
    """READ SUB-CHANNEL."""
    return struct.pack(">BBBBxxBHx", 0x42, msf << 1, subq << 6, kind, track, length)


def read_disc_information(kind: int = 0, length: int = 0xFFFF) -> bytes:
    """READ DISC INFORMATION."""
    return struct.pack(">BB5xHx", 0x51, kind, length)


def read_track_information(kind: int, address: int, *, opened: int = 0, length: int = 0xFFFF) -> bytes:
    """READ TRACK INFORMATION. `kind`: 0 an LBA, 1 a track, 2 a session."""
    return struct.pack(">BBIxHx", 0x52, opened << 2 | kind, address, length)


def read_disc_structure(form: int, *, media: int = 0, layer: int = 0, length: int = 0xFFFF) -> bytes:
    """READ DISC STRUCTURE."""
    return struct.pack(">BBIBBHBx", 0xAD, media, 0, layer, form, length, 0)


def get_performance(kind: int, data_type: int = 0, *, lba: int = 0, count: int = 64) -> bytes:
    """GET PERFORMANCE."""
    return struct.pack(">BBIxxHBx", 0xAC, data_type, lba, count, kind)


def set_streaming(length: int = 28, kind: int = 0) -> bytes:
    """SET STREAMING."""
    return struct.pack(">B7xBHx", 0xB6, kind, length)


def set_cd_speed(read: int, write: int = 0xFFFF, *, rotation: int = 0) -> bytes:
    """SET CD SPEED."""
    return struct.pack(">BBHH5xx", 0xBB, rotation, read, write)


def set_read_ahead(trigger: int, ahead: int) -> bytes:
    """SET READ AHEAD."""
    return struct.pack(">BxIIxx", 0xA7, trigger, ahead)


def report_key(form: int, *, key_class: int = 0, length: int = 8) -> bytes:
    """REPORT KEY."""
    return struct.pack(">B6xBHBx", 0xA4, key_class, length, form)


def send_key(form: int, length: int, *, key_class: int = 0) -> bytes:
    """SEND KEY."""
    return struct.pack(">B6xBHBx", 0xA3, key_class, length, form)


def mode_sense(page: int, *, control: int = 0, length: int = 0xFFFF) -> bytes:
    """MODE SENSE(10)."""
    return struct.pack(">BBBBxxxHx", 0x5A, 8, control << 6 | page, 0, length)


def mode_select(length: int, *, pf: int = 1, save: int = 0) -> bytes:
    """MODE SELECT(10)."""
    return struct.pack(">BB5xHx", 0x55, pf << 4 | save, length)


def play(lba: int, count: int) -> bytes:
    """PLAY AUDIO(10)."""
    return struct.pack(">BxIxHx", 0x45, lba & 0xFFFFFFFF, count)


def play_msf(start: tuple[int, int, int], end: tuple[int, int, int]) -> bytes:
    """PLAY AUDIO MSF."""
    return bytes((0x47, 0, 0, *start, *end, 0))


def pause_resume(*, resume: int) -> bytes:
    """PAUSE/RESUME."""
    return bytes((0x4B, 0, 0, 0, 0, 0, 0, 0, resume, 0))


def scan(start: int, *, kind: int = 0, back: int = 0) -> bytes:
    """SCAN. `kind`: 0 an LBA, 1 a time, 2 a track."""
    return struct.pack(">BBI3xBxx", 0xBA, back << 4, start, kind << 6)


def write_10(lba: int, count: int, *, fua: int = 0) -> bytes:
    """WRITE(10)."""
    return struct.pack(">BBIxHx", 0x2A, fua << 3, lba & 0xFFFFFFFF, count)


def write_12(lba: int, count: int, *, fua: int = 0, streaming: int = 0) -> bytes:
    """WRITE(12)."""
    return struct.pack(">BBIIBx", 0xAA, fua << 3, lba & 0xFFFFFFFF, count, streaming << 7)


def write_and_verify(lba: int, count: int) -> bytes:
    """WRITE AND VERIFY(10)."""
    return struct.pack(">BBIxHx", 0x2E, 0, lba & 0xFFFFFFFF, count)


def synchronize_cache(*, immed: int = 0) -> bytes:
    """SYNCHRONIZE CACHE."""
    return bytes((0x35, immed << 1, *bytes(8)))


def reserve_track(size: int, *, arsv: int = 0) -> bytes:
    """RESERVE TRACK."""
    return struct.pack(">BB3xIx", 0x53, arsv, size)


def close_track(function: int, track: int = 0, *, immed: int = 0) -> bytes:
    """CLOSE TRACK/SESSION. `function`: 1 a track, 2 a session, 6 all of the disc."""
    return struct.pack(">BBBxHxxxx", 0x5B, immed, function, track)


def repair_track(track: int) -> bytes:
    """REPAIR TRACK."""
    return struct.pack(">BBxxHxxxx", 0x58, 0, track)


def send_opc(length: int = 0, *, perform: int = 1) -> bytes:
    """SEND OPC INFORMATION."""
    return struct.pack(">BB5xHx", 0x54, perform, length)


def send_cue_sheet(length: int) -> bytes:
    """SEND CUE SHEET."""
    return b"\x5d" + bytes(5) + length.to_bytes(3, "big") + b"\0"


def send_disc_structure(form: int, length: int, *, media: int = 0) -> bytes:
    """SEND DISC STRUCTURE."""
    return struct.pack(">BB5xBHxx", 0xBF, media, form, length)


def blank(kind: int, address: int = 0, *, immed: int = 0) -> bytes:
    """BLANK."""
    return struct.pack(">BBI6x", 0xA1, immed << 4 | kind, address)


def format_unit(*, data: int = 1, code: int = 1) -> bytes:
    """FORMAT UNIT."""
    return bytes((0x04, data << 4 | code, 0, 0, 0, 0))


# --- what the answers mean ----------------------------------------------------------------------------------------


def msf_of(lba: int) -> tuple[int, int, int]:
    """Minute, second, frame; 00:02:00 is address 0 (MMC-6 4.2.8)."""
    frames = lba + 150
    return frames // 4500, frames // 75 % 60, frames % 75


def lba_of(msf: bytes | tuple[int, ...]) -> int:
    """The address of a minute, a second and a frame."""
    minute, second, frame = msf
    return (minute * 60 + second) * 75 + frame - 150


def digits(number: int) -> int:
    """A number of two decimal digits as a byte has them."""
    return int(str(number), 16)


def edc_is_right(data: bytes) -> bool:
    """Whether the last four bytes are the EDC of those before: the polynomial of ECMA-130 14.3 divides all of it."""
    value = 0
    for byte in data:
        for bit in range(8):
            value = value << 1 | byte >> bit & 1
            if value >> 32:
                value ^= 0x18001801B
    return value == 0


def q_is_right(q: bytes) -> bool:
    """Whether 12 bytes of Q have their CRC, which is recorded inverted (ECMA-130 22.3.6)."""
    return crc_hqx(q[:10], 0) ^ 0xFFFF == int.from_bytes(q[10:12], "big")


def q_of(channels: bytes) -> bytes:
    """The 12 bytes of Q in 96 bytes of P to W."""
    return int("".join(str(byte >> 6 & 1) for byte in channels), 2).to_bytes(12, "big")


def blocks(count: int, seed: int = 0, size: int = BLOCK) -> bytes:
    """Blocks that can be told apart."""
    return b"".join(struct.pack(">HH", seed, number) * (size // 4) for number in range(count))


def cue(*lines: tuple[int, int, int, int, int]) -> bytes:
    """A cue sheet from CONTROL and ADR, track, index, data form, address."""
    return b"".join(bytes((first, track, index, form, 0, *msf_of(lba))) for first, track, index, form, lba in lines)


@dataclass(frozen=True)
class Feature:
    """A feature descriptor."""

    code: int
    version: int
    persistent: bool
    current: bool
    data: bytes


@dataclass(frozen=True)
class Track:
    """READ TRACK INFORMATION."""

    number: int
    session: int
    control: int
    reserved: bool
    blank: bool
    packet: bool
    fixed: bool
    data_mode: int
    next_valid: bool
    last_valid: bool
    start: int
    next: int
    free: int
    packet_size: int
    size: int
    last: int


@dataclass(frozen=True)
class Disc:
    """READ DISC INFORMATION, the standard block."""

    status: int
    last_session: int
    erasable: bool
    first_track: int
    sessions: int
    first_in_last: int
    last_in_last: int
    kind: int
    lead_in: bytes
    lead_out: bytes


class Drive:
    """Commands to the drive under test."""

    def __init__(self, unit: ConformanceUnit) -> None:
        self.unit = unit

    # --- one command ------------------------------------------------------------------------------------------------

    def execute(self, cdb: bytes, data_out: bytes = b"", data_in: int = 0) -> Answer:
        """A command, however it ends."""
        return self.unit.execute(cdb, data_out, data_in)

    def good(self, cdb: bytes, data_out: bytes = b"", data_in: int = 0) -> bytes:
        """A command that must end with GOOD."""
        return self.unit.good(cdb, data_out, data_in)

    def read(self, cdb: bytes, most: int = 1 << 16) -> bytes:
        """The data of a command that must end with GOOD."""
        return self.unit.good(cdb, data_in=most)

    def refused(self, cdb: bytes, code: SenseCode, data_out: bytes = b"", data_in: int = 1 << 16) -> None:
        """A command that must end with this key, ASC and ASCQ."""
        self.unit.refused(cdb, code, data_out, 0 if data_out else data_in)

    def invalid(self, cdb: bytes, data_out: bytes = b"") -> None:
        """A command that must end with INVALID FIELD IN CDB."""
        self.refused(cdb, asc.INVALID_FIELD_IN_CDB, data_out)

    # --- what there is ----------------------------------------------------------------------------------------------

    @property
    def profile(self) -> int:
        """The current profile."""
        return int.from_bytes(self.read(get_configuration(2))[6:8], "big")

    def features(self, rt: int = 0, start: int = 0) -> list[Feature]:
        """Feature descriptors."""
        data = self.read(get_configuration(rt, start))
        return list(_features(data[8 : int.from_bytes(data[:4], "big") + 4]))

    def feature(self, code: int) -> Feature:
        """The descriptor of a feature that has to be there."""
        found = {each.code: each for each in self.features()}
        assert code in found, f"feature {code:04x} is not there"
        return found[code]

    def current(self, code: int) -> bool:
        """Whether a feature is current."""
        return self.feature(code).current

    def capacity(self) -> int:
        """Blocks by READ CAPACITY."""
        last, size = struct.unpack(">II", self.read(read_capacity()))
        assert size == BLOCK
        return int(last) + 1

    def disc(self) -> Disc:
        """READ DISC INFORMATION."""
        data = self.read(read_disc_information())
        return Disc(
            data[2] & 3, data[2] >> 2 & 3, bool(data[2] & 0x10), data[3], data[4] | data[9] << 8,
            data[5] | data[10] << 8, data[6] | data[11] << 8, data[8], data[16:20], data[20:24],
        )

    def track(self, number: int, *, kind: int = 1, opened: int = 0) -> Track:
        """READ TRACK INFORMATION."""
        data = self.read(read_track_information(kind, number, opened=opened))
        return Track(
            data[2] | data[32] << 8, data[3] | data[33] << 8, data[5] & 0xF, bool(data[6] & 0x80),
            bool(data[6] & 0x40), bool(data[6] & 0x20), bool(data[6] & 0x10), data[6] & 0xF, bool(data[7] & 1),
            bool(data[7] & 2), *struct.unpack(">6I", data[8:32]),
        )

    def last_track(self) -> Track:
        """The last track that the disc tells of."""
        return self.track(self.disc().last_in_last)

    def toc(self) -> dict[int, tuple[int, int]]:
        """CONTROL and address of each track, the lead-out's under AAh."""
        data = self.read(read_toc())
        rows = range(4, int.from_bytes(data[:2], "big") + 2, 8)
        return {data[at + 2]: (data[at + 1] & 0xF, int.from_bytes(data[at + 4 : at + 8], "big")) for at in rows}

    def data_track(self) -> int:
        """Where the first data track begins."""
        return next(lba for number, (control, lba) in self.toc().items() if control & 4 and number != 0xAA)

    def audio_track(self) -> tuple[int, int]:
        """Where the first audio track begins, and where the following one does."""
        rows = sorted((lba, control) for control, lba in self.toc().values())
        return next((start, end) for (start, control), (end, _) in pairwise(rows) if not control & 4)

    def event(self, classes: int) -> tuple[int, bytes]:
        """The next event of these classes: its class and its four bytes."""
        data = self.read(event(classes))
        return data[2] & 7, data[4:8]

    def events(self, classes: int) -> list[tuple[int, bytes]]:
        """The events that are waiting."""
        found = []
        while (told := self.event(classes))[1][0] & 0xF:
            found.append(told)
        return found

    def page(self, number: int, *, control: int = 0) -> bytes:
        """A mode page, its header included."""
        data = self.read(mode_sense(number, control=control))
        return data[8 + int.from_bytes(data[6:8], "big") :]

    def select(self, page: bytes) -> Answer:
        """MODE SELECT of a page."""
        sent = bytes(8) + bytes((page[0] & 0x3F,)) + page[1:]
        return self.execute(mode_select(len(sent)), sent)

    def write_parameters(
        self, *, write_type: int = 1, block_type: int = 8, track_mode: int = 4, multi: int = 0, test: int = 0,
        fixed: int = 0, packet: int = 0,
    ) -> None:
        """Set the write parameters page, its other fields zero."""
        page = bytearray(self.page(0x05))
        page[2:] = bytes(len(page) - 2)
        page[2] = 0x40 | test << 4 | write_type
        page[3] = multi << 6 | fixed << 5 | track_mode
        page[4] = block_type
        page[10:14] = packet.to_bytes(4, "big")
        page[14:16] = (150).to_bytes(2, "big")
        answer = self.select(bytes(page))
        assert answer.good, answer

    # --- doing ------------------------------------------------------------------------------------------------------

    def write(self, lba: int, data: bytes, size: int = BLOCK) -> Answer:
        """WRITE(10)."""
        return self.execute(write_10(lba, len(data) // size), data)

    def written(self, lba: int, data: bytes, size: int = BLOCK) -> None:
        """WRITE(10) that must end with GOOD."""
        answer = self.write(lba, data, size)
        assert answer.good, answer

    def format(self, number: int, count: int, *, subtype: int = 0, parameter: int = 0) -> Answer:
        """FORMAT UNIT with one descriptor."""
        word = number << 26 | subtype << 24 | parameter
        return self.execute(format_unit(), bytes((0, 0, 0, 8)) + struct.pack(">II", count, word))

    def formats(self) -> dict[int, int]:
        """Blocks by format type, as READ FORMAT CAPACITIES has them."""
        data = self.read(read_format_capacities())
        rows = struct.iter_unpack(">II", data[12 : 4 + data[3]])
        return {word >> 26: count for count, word in rows}

    def settle(self) -> None:
        """Wait until the drive is ready, unit attentions taken."""
        until = monotonic() + _PATIENCE
        while not (answer := self.execute(bytes(6))).good:
            assert monotonic() < until, answer
            if answer.code is not None and answer.code.key == SenseKey.NOT_READY:
                sleep(0.01)

    def another(self) -> Drive:
        """The drive by another nexus."""
        return Drive(self.unit.another())


def _features(data: bytes) -> Iterator[Feature]:
    at = 0
    while at < len(data):
        code, flags, length = struct.unpack_from(">HBB", data, at)
        yield Feature(code, flags >> 2 & 0xF, bool(flags & 2), bool(flags & 1), data[at + 4 : at + 4 + length])
        at += 4 + length
    assert at == len(data), "a feature descriptor is cut off"
