"""Configuration, VPD pages, mode pages and referrals of the virtual disk."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from vd_bench import Bench, add_disk

from devtypes.vd import DiskConfig
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.io_requests import Flush, Write
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator


@pytest.mark.parametrize(
    "wrong",
    [
        {"block_size": 513}, {"capacity": 0}, {"capacity": (1 << 64) + 1}, {"pi_type": 4}, {"physical_exponent": 16},
        {"rotation_rate": 2}, {"max_compare": 256}, {"max_unmap_descriptors": 4096}, {"store_size": 100},
    ],
)
def test_config_refuses(wrong: dict[str, Any]) -> None:
    """A disk that cannot be is refused when it is configured."""
    with pytest.raises(ValueError, match=r"\w"):
        DiskConfig(**{"capacity": 100, **wrong})


def test_config_for_store() -> None:
    """The capacity follows from the store, less the protection information; a read-only store is write protected."""
    store = open_store(size=520 * 100 + 7, read_only=True)

    config = DiskConfig.for_store(store.capabilities, pi_type=1)

    assert (config.capacity, config.pi_offset, config.write_protect) == (100, 51200, True)


def test_block_limits_page() -> None:
    """VPD B0h has the limits that commands are checked against (SBC-4 6.6.4)."""
    bench = Bench(
        max_transfer=64, max_compare=9, max_unmap_blocks=1000, max_unmap_descriptors=7, unmap_granularity=16,
        max_write_same=500, max_atomic=32, atomic_alignment=4, atomic_granularity=2, physical_exponent=1,
    )

    page = bench.do("INQUIRY", evpd=1, page_code=0xB0).data

    assert len(page) == 64
    assert page[4:6] == bytes((0, 9))
    assert struct.unpack_from(">HIII", page, 6) == (2, 64, 64, 0)
    assert struct.unpack_from(">IIIIQ", page, 20) == (1000, 7, 16, 0x80000000, 500)
    assert struct.unpack_from(">IIIII", page, 44) == (32, 4, 2, 0, 0)


def test_compare_and_write_limit() -> None:
    """MAXIMUM COMPARE AND WRITE LENGTH is no more than MAXIMUM TRANSFER LENGTH (SBC-4 6.6.4), and is what counts."""
    bench = Bench(max_transfer=4)
    page = bench.do("INQUIRY", evpd=1, page_code=0xB0).data

    assert page[5] == int.from_bytes(page[8:12], "big") == 4
    assert bench.do("COMPARE AND WRITE", transfer_length=4, data_out=bytes(8 * 512)).good
    assert bench.do("COMPARE AND WRITE", transfer_length=5, data_out=bytes(10 * 512)).code == asc.INVALID_FIELD_IN_CDB


def test_other_vpd_pages() -> None:
    """B1h rotation rate, B2h provisioning, B3h referrals, B7h streams."""
    bench = Bench(rotation_rate=7200, max_streams=5)

    def page(code: int) -> bytes:
        return bench.do("INQUIRY", evpd=1, page_code=code).data[4:]

    assert page(0xB1)[:2] == (7200).to_bytes(2, "big")
    assert len(page(0xB1)) == 60
    assert page(0xB2)[1:3] == bytes((0xE4, 2))
    assert len(page(0xB3)) == 12
    assert page(0xB7)[2:4] == (5).to_bytes(2, "big")
    supported = bench.do("INQUIRY", evpd=1, page_code=0).data[4:]
    assert supported == bytes((0x00, 0x80, 0x83, 0x86, 0x87, 0x88, 0x8F, 0xB0, 0xB1, 0xB2, 0xB3, 0xB7))


def test_report_referrals() -> None:
    """One user data segment of all blocks with the target port group in its state (SBC-4 5.25)."""
    data = Bench().do("REPORT REFERRALS").data

    assert data == struct.pack(">HH3xBQQBBH", 0, 24, 1, 0, 2047, 0, 0, 1)


def test_mode_pages_are_there() -> None:
    """The pages that the issue lists, and the six-byte form holds all pages without subpages."""
    bench = Bench()

    data = bench.do("MODE SENSE(6)", page_code=0x3F).data
    assert data[0] == len(data) - 1
    found, at = [], 12
    while at < len(data):
        found.append(data[at] & 0x3F)
        at += 2 + data[at + 1]
    assert found == [0x01, 0x02, 0x08, 0x0A, 0x1A, 0x1C]
    for page, subpage in ((0x0A, 1), (0x0A, 2), (0x0A, 5), (0x1C, 2)):
        assert bench.do("MODE SENSE(10)", page_code=page, subpage_code=subpage).good
    assert bench.do("MODE SENSE(6)", page_code=0x3F, subpage_code=0xFF).code == asc.INVALID_FIELD_IN_CDB


def test_write_cache_enable_has_effect() -> None:
    """WCE zero makes every write force unit access; switching it off flushes (SBC-4 6.5.6)."""
    seen: list[Any] = []

    def wrap(submit: Any) -> Any:
        def perform(request: Any, ticket: Any) -> Any:
            if isinstance(request, Write):
                seen.append(request.fua)
            elif isinstance(request, Flush):
                seen.append("flush")
            return submit(request, ticket)

        return perform

    bench = Bench(wrap=wrap)
    bench.write(0, bytes(512))
    page = bench.do("MODE SENSE(6)", page_code=0x08, dbd=1).data[4:]
    off = bytes((page[0] & 0x7F, page[1], page[2] & ~0x04)) + page[3:]
    assert bench.do("MODE SELECT(6)", pf=1, data_out=bytes(4) + off).good
    bench.write(0, bytes(512))
    assert bench.do("WRITE SAME(10)", transfer_length=1, data_out=bytes(512)).good

    assert seen == [False, "flush", True, "flush"]


def test_wce_default() -> None:
    """The configuration's write cache is the default value of WCE."""
    for enabled in (True, False):
        data = Bench(write_cache=enabled).do("MODE SENSE(6)", page_code=0x08, pc=2, dbd=1).data
        assert bool(data[6] & 4) == enabled


def test_device_specific_parameter() -> None:
    """DPOFUA is always there, WP when the medium is protected (SBC-4 6.5.1)."""
    assert Bench().do("MODE SENSE(6)", page_code=0x08).data[2] == 0x10
    assert Bench(write_protect=True).do("MODE SENSE(6)", page_code=0x08).data[2] == 0x90


@pytest.mark.parametrize("name", ["MODE SENSE(6)", "MODE SENSE(10)"])
def test_write_protection_of_a_nexus(name: str) -> None:
    """WP tells a nexus that may not write that it may not, and no other one."""
    bench = Bench()
    reader = bench.another()
    reader.nexus.units[0].read_only = True
    at = 2 if name.endswith("(6)") else 3

    assert reader.command(name, page_code=0x08).data[at] == 0x90
    assert reader.command("WRITE(10)", transfer_length=1, data_out=bytes(512)).code == asc.WRITE_PROTECTED
    assert bench.do(name, page_code=0x08).data[at] == 0x10


def test_long_block_descriptor() -> None:
    """LLBAA gives the long form (SBC-4 6.5.2)."""
    data = Bench().do("MODE SENSE(10)", page_code=0x08, llbaa=1).data

    assert data[4] == 1
    assert data[6:8] == b"\0\x10"
    assert data[8:24] == struct.pack(">Q4xI", 2048, 512)


def test_statistics_count_fast_and_slow() -> None:
    """Log page 19h counts commands and blocks of both ways."""
    bench = Bench()
    bench.write(0, bytes(1024))
    bench.read(0, 2)
    assert bench.do("READ(12)", transfer_length=3).good

    data = bench.do("LOG SENSE", page_code=0x19, pc=1).data

    assert struct.unpack_from(">QQQQ", data, 8) == (2, 1, 2, 5)


@pytest.mark.parametrize("page", [0x02, 0x03, 0x05])
def test_error_counter_pages_reset(page: int) -> None:
    """LOG SELECT with PCR sets the error counters to zero."""
    bench = Bench()
    bench.disk.read_errors.uncorrected = bench.disk.write_errors.uncorrected = 3
    bench.disk.verify_errors.uncorrected = 3

    assert bench.do("LOG SENSE", page_code=page, pc=1).data[-8:] == (3).to_bytes(8, "big")
    assert bench.do("LOG SELECT", pcr=1, pc=1, page_code=page).good
    assert bench.do("LOG SENSE", page_code=page, pc=1).data[-8:] == bytes(8)


def test_log_background_scan_powered_minutes() -> None:
    """ACCUMULATED POWER ON MINUTES counts from when the unit was made, not from the zero of the clock (SBC-4 6.4.2)."""
    target = Target("iqn.2026-11.org.example:late", now=86400.0)
    add_disk(target)
    initiator = Initiator(target)
    target.advance(86400.0 + 180)

    page = initiator.command("LOG SENSE", pc=1, page_code=0x15).data

    assert int.from_bytes(page[8:12], "big") == 3
