"""Our own drive for the MMC cases, with the disc that a case asks for, and that disc in the state which it has then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from conformance import ConformanceUnit, LocalUnit
from mmc_drive import (
    CLOSED_DISCS,
    PROFILES,
    RAW,
    Drive,
    blank,
    blocks,
    cue,
    prevent,
    send_cue_sheet,
    start_stop,
)

from devtypes.vmmc import OpticalConfig, OpticalDrive
from devtypes.vmmc.disc_format import stored_size
from devtypes.vmmc.profiles import KINDS
from devtypes.vmmc.sector import mode_1_sector, mode_2_sector, xa_sector
from iohandlers.memory import open_store
from scsiemu.io_requests import Store, Write
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.target import Target

_ROOM: Final = 65536                    # blocks of recordable discs
_BURNT: Final = 30                      # blocks of a command

# The mixed disc: a data track, a pause that belongs to the first song, two songs, the lead-out.
_DATA, _PAUSE, _SONG, _SECOND, _END = 0, 300, 450, 700, 900
_MIXED: Final = cue(
    (0x02, 0, 0, 0, -150), (0x41, 0, 0, 0x14, -150), (0x41, 1, 0, 0x14, -150), (0x41, 1, 1, 0x10, _DATA),
    (0x01, 2, 0, 0x00, _PAUSE), (0x01, 2, 1, 0x00, _SONG), (0x01, 2, 2, 0x00, _SONG + 100), (0x03, 3, 0, 0, 0),
    (0x03, 3, 0, 0, 0), (0x01, 3, 1, 0x00, _SECOND), (0x01, 0xAA, 1, 0x01, _END),
)


def _store(data: bytes) -> Store:
    store = open_store(size=len(data))
    store.submit(Write(0, len(data), data), None)  # type: ignore[arg-type]  # the ticket is opaque
    return store


def _mode_2() -> bytes:
    """Sectors of mode 2: form 1, form 2 and formless ones in turn."""
    made = []
    for lba in range(300):
        data = blocks(1, lba)
        if lba % 3 == 0:
            made.append(xa_sector(lba, bytes((0, 0, 8, 0)) * 2 + data))
        elif lba % 3 == 1:
            made.append(xa_sector(lba, bytes((0, 0, 0x20, 0)) * 2 + data + bytes(276)))
        else:
            made.append(mode_2_sector(lba, b"no subheader" + data + bytes(276)))
    return b"".join(made)


def _with_channels() -> bytes:
    """Sectors of mode 1 with sub-channels: Q says 11 22 33 ..., R to W are 05h."""
    q = bytes(range(0x11, 0xDD, 0x11))[:12]
    bits = (q[at // 8] >> (7 - at % 8) & 1 for at in range(96))
    channels = bytes(bit << 6 | 5 for bit in bits)
    return b"".join(mode_1_sector(lba, blocks(1, lba)) + channels for lba in range(200))


def _target(store: Store, config: OpticalConfig) -> LocalUnit:
    target = Target("iqn.2026-11.org.example:mmc")
    target.add_port(TargetPort("iqn.2026-11.org.example:mmc,t,0x0001", 1, 1, Protocol.ISCSI))
    target.add_unit(0, OpticalDrive(config), performer=store.submit, capabilities=lambda: store.capabilities)
    return LocalUnit(target)


def _burn_mixed(unit: LocalUnit) -> None:
    drive = Drive(unit)
    drive.write_parameters(write_type=2)
    sheet = bytearray(_MIXED)
    sheet[1:8] = b"1234567"                                 # ADR 2: the media catalogue number, in two lines
    sheet[0:8] += b"\x02890123\0"
    at = sheet.index(b"\x03\x03")
    sheet[at : at + 16] = b"\x03\x03DEABC1\x03\x03234567"
    assert drive.execute(send_cue_sheet(len(sheet)), bytes(sheet)).good
    for begin, end, size in ((_DATA, _PAUSE, 2048), (_PAUSE, _END, RAW)):
        for lba in range(begin, end, _BURNT):
            count = min(_BURNT, end - lba)
            drive.written(lba, b"".join(blocks(1, lba + number, size) for number in range(count)), size)


@pytest.fixture
def local_unit(request: pytest.FixtureRequest) -> ConformanceUnit:
    """A drive with the disc that the case asks for; a CD of data where it does not ask."""
    spec = getattr(request.node, "callspec", None)
    name: str = spec.params.get("drive", "cd-data") if spec is not None else "cd-data"
    if name == "none":
        return _target(_store(bytes(2048)), OpticalConfig(empty=True))
    if name == "cd-data":
        return _target(_store(b"".join(blocks(1, lba) for lba in range(400))), OpticalConfig())
    if name == "cd-audio":
        return _target(_store(b"".join(blocks(1, lba, RAW) for lba in range(1000))),
                       OpticalConfig(sector=RAW, audio=True))
    if name == "cd-xa":
        return _target(_store(_mode_2()), OpticalConfig())
    if name == "cd-sub":
        return _target(_store(_with_channels()), OpticalConfig())
    if name in ("dvd-rom", "bd-rom"):
        return _target(_store(b"".join(blocks(1, lba) for lba in range(400))), OpticalConfig(kind=name))
    kind = "cd-r" if name == "cd-mixed" else name
    unit = _target(open_store(size=stored_size(KINDS[kind], _ROOM)), OpticalConfig(blank=kind))
    if name == "cd-mixed":
        _burn_mixed(unit)
    return unit


@pytest.fixture
def drive(unit: ConformanceUnit, request: pytest.FixtureRequest) -> Iterator[Drive]:
    """The drive, ready, with the disc that the case asks for: blank where it can be recorded.

    By URL a case is skipped where another disc is in the drive, or one that cannot be made blank.
    """
    name: str = getattr(request, "param", "cd-data")
    made = Drive(unit)
    _check(made, name)
    yield made
    unit.attentions()
    made.execute(prevent(0))
    made.execute(prevent(2))
    made.execute(start_stop(loej=1, start=1))
    unit.attentions()
    if name not in CLOSED_DISCS and name != "none":
        made.write_parameters()


def _check(drive: Drive, name: str) -> None:
    unit = drive.unit
    profile = drive.profile
    if name == "dvd-rw" and profile == 0x13:                # formatted by a case before
        drive.good(blank(1))
        profile = drive.profile
    if profile not in PROFILES[name]:
        unit.not_supported(f"profile {profile:04x} is in the drive, {name} is asked for")
    if name == "none":
        return
    drive.settle()
    if name in ("cd-rw", "dvd-rw") and drive.disc().status:
        drive.good(blank(1))
    if name in CLOSED_DISCS:
        _check_tracks(drive, name)
    elif name not in ("dvd-ram", "dvd+rw", "bd-re") and drive.disc().status:
        unit.not_supported(f"a blank {name} is asked for")


def _check_tracks(drive: Drive, name: str) -> None:
    if drive.disc().status != 2 or drive.disc().sessions != 1:
        drive.unit.not_supported(f"{name}: the disc is not closed, or has several sessions")
    if drive.profile == 0x0A:               # what is on it is what a case before has left there
        drive.unit.not_supported(f"{name} is asked for, a CD-RW is in the drive")
    audio = {not control & 4 for control, _ in drive.toc().values()}
    wanted = {"cd-audio": {True}, "cd-mixed": {True, False}}.get(name, {False})
    if audio != wanted or (name in ("cd-xa", "cd-sub") and drive.track(1).data_mode != {"cd-xa": 2, "cd-sub": 1}[name]):
        drive.unit.not_supported(f"{name} is asked for")
