"""Cue sheets of CD images: the text of `*.cue` files (`devtypes.vmmc.cue`)."""

from __future__ import annotations

from devtypes.vmmc import OpticalConfig, OpticalDrive
from devtypes.vmmc.disc import Disc
from iohandlers.memory import open_store
from scsiemu.events import InternalFailure
from scsiemu.io_requests import Write
from scsiemu.media import CUE_MAGIC
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator

__all__ = ["fuzz_cue"]

_FILE = 600 * 2352


def fuzz_cue(data: bytes) -> None:
    """Whatever a sheet says, the drive has a disc or says that it cannot read it; a disc's tracks do not overlap, lie
    in the store, and can be read from end to end.

    The input is the text; `@` stands for the place of a file of 600 sectors. No exception is allowed.
    """
    blank = b"0" * 8 + b" " + b"0" * 8
    at = len(CUE_MAGIC) + 4 + len(data.replace(b"@", blank))
    text = data.replace(b"@", b"%08d %08d" % (at, _FILE))
    whole = CUE_MAGIC + len(text).to_bytes(4, "big") + text
    store = open_store(size=at + _FILE)
    store.submit(Write(0, len(whole), whole), None)  # type: ignore[arg-type]  # the ticket is opaque
    target = Target("iqn.2026-11.fuzz:a")
    drive = OpticalDrive(OpticalConfig())
    target.add_unit(0, drive, performer=store.submit, capabilities=lambda: store.capabilities)
    initiator = Initiator(target)
    if drive.disc is not None:
        _check(drive.disc, initiator, at + _FILE)
    while (event := target.next_event()) is not None:
        if isinstance(event, InternalFailure):
            raise event.error


def _check(disc: Disc, initiator: Initiator, size: int) -> None:
    """Every track is where it can be read."""
    end = -150
    for track in disc.tracks:
        assert end <= track.start - track.pregap <= track.base <= track.start < track.end, track
        assert 0 <= track.place(track.base) <= track.place(track.end) <= size, track
        end = track.end
        for lba in (track.start - track.pregap, track.start, track.end - 1):
            fields = {"lba": lba & 0xFFFFFFFF, "transfer_length": 1, "user_data": 1, "sub_channel": 1}
            assert initiator.command("READ CD", **fields).good, (track, lba)
    assert disc.capacity_end == end
