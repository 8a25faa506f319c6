"""Log pages, TapeAlert, cleaning, informational exceptions and VPD pages of a tape drive: values are of its state."""

from __future__ import annotations

import random

import pytest
from vt_bench import Bench
from vt_store import perform

from devtypes.vt import SMALLEST, CartridgeKind, NewCartridge, TapeMedium
from devtypes.vt.medium_layout import DATA_START
from iohandlers._shelf import Shelf
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Read
from scsiemu.sam import TaskManagementFunction
from scsiemu.sense import SenseKey
from scsiemu.testing.initiator import Initiator

MEGABYTE = 1_000_000
HALF = random.Random(1).randbytes(50_000) + bytes(50_000)


def log(bench: Bench, page: int, *, who: Initiator | None = None) -> dict[int, bytes]:
    """The parameters of a log page."""
    data = (who or bench.initiator).command("LOG SENSE", page_code=page, pc=1, allocation_length=4096).data
    assert int.from_bytes(data[2:4], "big") == len(data) - 4
    found, at = {}, 4
    while at < len(data):
        found[int.from_bytes(data[at : at + 2], "big")] = data[at + 4 : at + 4 + data[at + 3]]
        at += 4 + data[at + 3]
    return found


def numbers(bench: Bench, page: int) -> dict[int, int]:
    """The same, as numbers."""
    return {code: int.from_bytes(value, "big") for code, value in log(bench, page).items()}


def set_exceptions(bench: Bench, **fields: int) -> bool:
    """MODE SELECT of the informational exceptions page."""
    page = bytes((
        0x1C, 10, fields.get("dexcpt", 0) << 3 | fields.get("test", 0) << 2, fields.get("mrie", 6), 0, 0, 0, 0,
    )) + (fields.get("number", 0) & 0xFFFFFFFF).to_bytes(4, "big")
    return bench.do("MODE SELECT(6)", pf=1, data_out=bytes(4) + page).good


class FailingStore:
    """A memory store whose reads of blocks fail on demand; those of headers do not."""

    def __init__(self) -> None:
        self._store = open_store(size=(1 << 20) + DATA_START)
        self.capabilities = self._store.capabilities
        self.fails = False

    def submit(self, request, ticket):  # type: ignore[no-untyped-def]  # a stand-in for a store of any kind
        """The performer."""
        if self.fails and isinstance(request, Read) and request.length >= 1000:
            return IoFailed(IoFault.MEDIUM, "as told")
        return self._store.submit(request, ticket)


def test_log_pages_that_there_are() -> None:
    """The supported pages are those of SSC-5 and those that LTO drives have beside them."""
    bench = Bench()
    listed = set(bench.do("LOG SENSE", page_code=0, pc=1).data[4:])

    assert listed >= {0x00, 0x02, 0x03, 0x0C, 0x11, 0x12, 0x13, 0x14, 0x17, 0x1B, 0x2E, 0x30, 0x31, 0x32}


def test_log_counts_blocks_compressed_and_not() -> None:
    """Host and medium bytes differ by what compression saved: ratios are theirs."""
    bench = Bench(compression=True, size=4 << 20)
    for _ in range(10):
        assert bench.write(HALF).good
    bench.mark()
    bench.rewind()
    bench.read(100_000)
    device, compression = numbers(bench, 0x0C), numbers(bench, 0x1B)

    assert device[0] == MEGABYTE
    assert device[3] == 100_000
    assert 500_000 < device[1] < 510_000
    assert device[2] * 10 == device[1]
    assert compression[1] == compression[0] == device[0] * 100 // device[1]
    assert (compression[6], compression[7]) == (1, 0)                       # megabytes and bytes from the server
    assert (compression[8], compression[9]) == (0, device[1])
    assert (compression[2], compression[3]) == (0, 100_000)
    assert compression[0x100] == 1
    assert numbers(bench, 0x32) == {code: each for code, each in compression.items() if code != 0x100}
    assert numbers(bench, 2)[5] == MEGABYTE
    assert numbers(bench, 3)[5] == 100_000
    assert bench.do("LOG SELECT", pcr=1, pc=1, page_code=0x1B).good
    assert numbers(bench, 0x1B)[7] == 0


def test_log_capacity_follows_the_tape() -> None:
    """Where end of data, early warning and the position are, in megabytes."""
    bench = Bench(size=20 * MEGABYTE, early_warning=2 * MEGABYTE)
    for _ in range(5):
        bench.write(bytes(MEGABYTE))
    bench.mark()
    bench.do("SPACE(6)", code=0, count=(1 << 24) - 1)
    bench.do("LOCATE(10)", logical_object_identifier=2)
    device, capacity = numbers(bench, 0x0C), numbers(bench, 0x31)

    assert [device[code] for code in (4, 5, 6, 7)] == [5, 18, 2, 2]
    assert capacity == {1: 14, 2: 0, 3: 19, 4: 0}                           # MiB
    bench.do("LOAD UNLOAD")
    assert 4 not in numbers(bench, 0x0C)


def test_log_volume_statistics() -> None:
    """What the cartridge has seen in its life, and in this mount; without one the page is not valid."""
    bench = Bench(size=20 * MEGABYTE, barcode="ABC123L8", partitions=(1, 1))
    bench.write(bytes(2 * MEGABYTE))
    bench.mark()
    bench.do("LOAD UNLOAD")
    assert log(bench, 0x17) == {0: b"\0"}
    bench.do("LOAD UNLOAD", load=1)
    bench.read(2 * MEGABYTE)
    volume = log(bench, 0x17)

    assert volume[0] == b"\1"
    assert int.from_bytes(volume[0x01], "big") == 2                         # threads
    assert [int.from_bytes(volume[code], "big") for code in (0x0E, 0x0F, 0x10, 0x11)] == [0, 2, 2, 2]
    assert volume[0x42] == b"ABC123L8".ljust(32)
    assert volume[0x81] == b"\0"
    assert volume[0x202] == bytes.fromhex("07000000 0000000a 07000001 0000000a")
    assert volume[0x203] == bytes.fromhex("07000000 00000002 07000001 00000000")
    assert volume[0x204] == bytes.fromhex("07000000 00000007 07000001 0000000a")


def test_log_errors_and_cleaning() -> None:
    """Errors of a mount and of the cartridge's life; after three the drive asks to be cleaned, by TapeAlert, too."""
    store = FailingStore()
    bench = Bench(store=store)
    for _ in range(4):
        bench.write(bytes(1000))
    bench.mark()
    bench.rewind()
    store.fails = True
    for number in range(1, 4):
        assert bench.read(1000).code == asc.UNRECOVERED_READ_ERROR
        assert bench.where()[1] == number
    store.fails = False
    volume = numbers(bench, 0x17)
    assert (volume[0x0009], volume[0x000D], volume[0x0004]) == (3, 3, 0)
    assert numbers(bench, 3)[6] == 3
    assert {flag for flag, on in numbers(bench, 0x2E).items() if on} == {3, 5, 20}
    assert numbers(bench, 0x0C)[0x100] == 1
    assert log(bench, 0x13)[0] == b"\x0d"
    assert log(bench, 0x11)[0][0] & 2
    bench.do("LOAD UNLOAD")
    bench.do("LOAD UNLOAD", load=1)
    volume = numbers(bench, 0x17)
    assert (volume[0x0009], volume[0x000D]) == (3, 0)
    assert {flag for flag, on in numbers(bench, 0x2E).items() if on} == set()   # told already
    assert numbers(bench, 0x12)[0] == 1 << 64 - 20                              # still active


def test_log_tape_alert_first_byte() -> None:
    """The first byte of the TapeAlert page is its page code alone, which is what smartctl looks at."""
    data = Bench().do("LOG SENSE", page_code=0x2E, pc=1, allocation_length=4096).data

    assert data[:4] == bytes((0x2E, 0x00, 0x01, 0x40))


def test_log_tape_alert_is_told_once() -> None:
    """Each nexus is told of a flag once by page 2Eh; page 12h tells as long as it is active."""
    bench = Bench(write_protect=True)
    other = Initiator(bench.target, "iqn.2026-11.org.example:other")
    other.clear_attentions()
    bench.write(b"x")
    assert [flag for flag, on in numbers(bench, 0x2E).items() if on] == [9]
    assert [flag for flag, on in numbers(bench, 0x2E).items() if on] == []
    assert log(bench, 0x2E, who=other)[9] == b"\1"
    assert numbers(bench, 0x12)[0] == 1 << 64 - 9
    bench.do("LOAD UNLOAD")

    assert numbers(bench, 0x12)[0] == 0


@pytest.mark.parametrize("how", ["LOG SELECT", "LOG SELECT of all pages", "reset"])
def test_tape_alert_is_cleared(how: str) -> None:
    """LOG SELECT with PCR and a reset clear the flags for everyone."""
    bench = Bench(write_protect=True)
    other = Initiator(bench.target, "iqn.2026-11.org.example:other")
    bench.write(b"x")
    if how == "reset":
        bench.initiator.manage(TaskManagementFunction.LOGICAL_UNIT_RESET)
    else:
        assert bench.do("LOG SELECT", pcr=1, pc=3, page_code=0 if "all" in how else 0x2E).good
    bench.initiator.clear_attentions()
    other.clear_attentions()

    assert numbers(bench, 0x12)[0] == 0
    assert not any(log(bench, 0x2E, who=other)[9])


@pytest.mark.parametrize(("number", "flags"), [(7, {7}), (32767, set(range(1, 65)))])
def test_tape_alert_test_flag(number: int, flags: set[int]) -> None:
    """TEST with a TEST FLAG NUMBER sets flags, the negative of it clears them."""
    bench = Bench()
    assert set_exceptions(bench, test=1, number=number)
    assert {flag for flag, on in numbers(bench, 0x2E).items() if on} == flags
    if number < 65:
        assert set_exceptions(bench, test=1, number=-number)
        assert numbers(bench, 0x12)[0] == 0
    assert not set_exceptions(bench, test=1, number=65)
    assert not set_exceptions(bench, test=1, dexcpt=1)


def test_tape_alert_is_an_informational_exception() -> None:
    """With DEXCPT zero an active flag is FAILURE PREDICTION THRESHOLD EXCEEDED: on request, or by unit attention; by
    default flags are only polled."""
    bench = Bench(write_protect=True)
    bench.write(b"x")
    assert bench.do("REQUEST SENSE").data[12:14] == b"\0\0"
    set_exceptions(bench, mrie=6)
    assert bench.do("REQUEST SENSE").data[12:14] == b"\x5d\0"
    bench = Bench(write_protect=True)
    set_exceptions(bench, mrie=2)
    for code in (asc.with_key(asc.FAILURE_PREDICTION_THRESHOLD_EXCEEDED, SenseKey.UNIT_ATTENTION), None):
        bench.write(b"x")                           # the second time it is nothing new
        assert bench.do("TEST UNIT READY").code == code


def test_log_device_status() -> None:
    """Very high frequency data: in the drive, mounted, prevented, in transition; what the drive is doing."""
    bench = Bench()
    assert log(bench, 0x11)[0] == bytes((0x21, 0x37, 0, 0))
    assert log(bench, 0x11)[1] == (1000).to_bytes(2, "big")
    bench.do("PREVENT ALLOW MEDIUM REMOVAL", prevent=1)
    assert log(bench, 0x11)[0][0] == 0xA1
    bench.do("PREVENT ALLOW MEDIUM REMOVAL", prevent=0)
    bench.do("LOAD UNLOAD", hold=1)
    assert log(bench, 0x11)[0][:2] == bytes((0x21, 0x34))
    bench.do("LOAD UNLOAD")
    assert log(bench, 0x11)[0][:2] == bytes((0x01, 0x30))


def test_log_device_status_tells_what_goes_on() -> None:
    """With physics a REWIND with IMMED goes on for a while: activity 08h; loading is 02h, in transition."""
    bench = Bench(physics=True)
    bench.target.advance(100.0)
    bench.initiator.clear_attentions()
    bench.write(bytes(100_000))
    bench.target.advance(200.0)
    assert bench.do("REWIND", immed=1).good
    assert log(bench, 0x11)[0][2] == 0x08
    assert bench.do("TEST UNIT READY").code == asc.LOGICAL_UNIT_NOT_READY_OPERATION_IN_PROGRESS
    assert bench.do("REQUEST SENSE").data[12:14] == bytes((0x00, 0x1A))
    bench.target.advance(1000.0)
    assert log(bench, 0x11)[0][2] == 0


def test_cleaning_cartridge() -> None:
    """A cleaning cartridge cleans when it is loaded, is no tape, and is good for fifty times."""
    store = open_store(size=SMALLEST)
    perform(TapeMedium.format(store.capabilities, NewCartridge(kind=CartridgeKind.CLEANING, medium_type=0x80)), store)
    bench = Bench(store=store)
    for number in range(1, 51):
        assert bench.do("TEST UNIT READY").code == asc.CLEANING_CARTRIDGE_INSTALLED
        assert numbers(bench, 0x14)[1] == number
        assert log(bench, 0x12)[0] == (1 << 64 - 11).to_bytes(8, "big")
        bench.do("LOAD UNLOAD")
        bench.do("LOAD UNLOAD", load=1)
    assert bench.do("TEST UNIT READY").code == asc.CLEANING_VOLUME_EXPIRED
    assert numbers(bench, 0x14)[1] == 50
    assert log(bench, 0x12)[0] == (1 << 64 - 22).to_bytes(8, "big")


def test_cleaning_cartridge_by_its_label() -> None:
    """A blank medium of a shelf whose barcode begins with CLN becomes a cleaning cartridge; it cleans and can go."""
    shelf = Shelf({name: open_store(size=SMALLEST) for name in ("CLN001L8", "A00001L8")})
    bench = Bench(store=shelf.drive(), shelf=True)
    for name, code in (("CLN001L8", asc.CLEANING_CARTRIDGE_INSTALLED), ("A00001L8", None)):
        bench.drive.insert(name)
        bench.initiator.clear_attentions()
        assert bench.do("TEST UNIT READY").code == code
        assert bench.do("READ ATTRIBUTE", first_attribute=0x0806).data[9:41] == name.ljust(32).encode()
        assert bench.do("LOAD UNLOAD").good
        bench.drive.remove()
    assert numbers(bench, 0x14)[1] == 1


def test_vpd_pages() -> None:
    """B0h WORM, B1h and B3h serial numbers, B2h flags that can be set, B5h methods of protection."""
    bench = Bench()

    def page(code: int) -> bytes:
        data = bench.do("INQUIRY", evpd=1, page_code=code, allocation_length=255).data
        assert data[:2] == bytes((1, code))
        assert int.from_bytes(data[2:4], "big") == len(data) - 4
        return data[4:]

    assert set(page(0)) >= {0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2, 0xB3, 0xB5}
    assert page(0xB0) == b"\1\0"
    assert page(0xB1) == page(0x80)
    assert page(0xB2) == b"\xff" * 8
    assert page(0xB5) == bytes(4) + bytes.fromhex("030104c0 030204c0")


def test_log_pages_of_an_empty_drive() -> None:
    """Without a cartridge every page is still answered."""
    store = Shelf({}).drive()
    bench = Bench(store=store, shelf=True)
    for page in bench.do("LOG SENSE", page_code=0, pc=1).data[4:]:
        assert bench.do("LOG SENSE", page_code=page, pc=1, allocation_length=4096).good
    assert log(bench, 0x11)[0][1] == 0x20
    assert bench.do("TEST UNIT READY").code == asc.MEDIUM_NOT_PRESENT
