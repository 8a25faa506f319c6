"""Object storage: what reservations and read-only nexuses forbid, also to commands that read and set attributes."""

from __future__ import annotations

import pytest
from osd_bench import PID, Osd

from scsiemu import asc
from scsiemu.nexus import InitiatorPort
from scsiemu.sam import Status

OID = 0x10000
READERS = ("GET ATTRIBUTES", "READ", "LIST", "LIST COLLECTION", "READ MAP")


def one(page: int, number: int, data: bytes) -> dict[str, int]:
    """CDB fields that set one attribute (CDBFMT 1)."""
    raw = page.to_bytes(4, "big") + number.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data.ljust(18, b"\0")
    return {"cdbfmt": 1, "attributes": int.from_bytes(raw, "big")}


def target(name: str) -> dict[str, int]:
    """Ids for a command that reads."""
    return {"partition_id": PID} if name.startswith("LIST") else {"partition_id": PID, "object_id": OID}


@pytest.fixture
def osd() -> Osd:
    """A formatted unit with an object."""
    made = Osd().formatted()
    assert made("CREATE", partition_id=PID, object_id=OID).good
    return made


@pytest.mark.parametrize("name", READERS)
def test_write_exclusive_lets_read_not_set(osd: Osd, name: str) -> None:
    """WRITE EXCLUSIVE lets others read; a read that sets an attribute is a write (SPC-5 5.14)."""
    other = Osd(of=osd)
    key = bytes(8) + bytes(7) + b"\1" + bytes(8)
    held = bytes(7) + b"\1" + bytes(16)
    assert osd.initiator.command("PERSISTENT RESERVE OUT (REGISTER)", data_out=key).good
    assert osd.initiator.command("PERSISTENT RESERVE OUT (RESERVE)", type=1, data_out=held).good

    assert other(name, **target(name)).good
    assert other(name, **target(name), **one(0x10001, 1, b"x")).status == Status.RESERVATION_CONFLICT
    assert osd(name, **target(name), **one(0x30010001 if name[:4] == "LIST" else 0x10001, 1, b"x")).good


@pytest.mark.parametrize("name", READERS)
def test_read_only_nexus_changes_nothing(osd: Osd, name: str) -> None:
    """A read-only nexus reads without leaving a trace, and may not set attributes."""
    port = osd.initiator.nexus.target_port
    reader = Osd(of=osd)
    nexus = osd.target.nexus_established(InitiatorPort("iqn.2026-11.org.example:reader", b"r"), port, read_only=True)
    reader.initiator.nexus = nexus
    reader.initiator.clear_attentions()
    before = _everything(osd)

    assert reader(name, **target(name)).good
    assert reader(name, **target(name), **one(0x10001, 1, b"x")).code == asc.WRITE_PROTECTED
    assert _everything(osd) == before


def _everything(osd: Osd) -> list[bytes | None]:
    """Attributes of the object, its partition and their timestamps, read without changing them."""
    everything = ((0xFFFFFFFF, 0xFFFFFFFF),)
    found = osd.get(PID, OID, *everything, timestamps_control=0x7F)
    return [*found, *osd.get(PID, 0, *everything, timestamps_control=0x7F)]
