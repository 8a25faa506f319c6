"""sg3_utils and sdparm read every page of every device type, from bytes in a file: whatever a unit lists is decoded.

The pages of disks and those that SPC gives all have tests of their own, field by field; here a page that is new to any
type is judged without being named. `UNREAD` are the pages that these versions do not know for that type, with what they
say; an entry that is read after all fails, too.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scsiemu.testing.initiator import Initiator
from scsiemu.testing.served import ScsiTarget

pytestmark = pytest.mark.oracle

Judge = Callable[..., str]
UNITS = {
    "disk": ("--disk", "8M,pi=1"), "tape": ("--tape", "64M"), "optical": ("--optical", "8M"),
    "changer": ("--library", "{}/library,drives=2,slots=24,create=3"), "osd": ("--osd", ":memory:"),
}
PAGES = ("VPD", "mode", "log")
# Device type, kind of page, page and subpage.
UNREAD = {
    ("disk", "log", 0x15, 0xFF): "Unable to decode",
    ("optical", "mode", 0x07, 0): "no fields found", ("optical", "mode", 0x08, 0): "no fields found",
    ("optical", "mode", 0x0D, 0): "no fields found", ("optical", "mode", 0x0E, 0): "no fields found",
    ("changer", "log", 0x2E, 0): "Unable to decode",
    ("osd", "VPD", 0xB0, 0): "OSD information VPD page (OSD):",
    ("osd", "VPD", 0xB1, 0): "Security token VPD page (OSD):",
}
COMPLAINTS = re.compile(r"unable|truncated (?!after 64)|malformed|too short|too long|no fields|bad ", re.IGNORECASE)


@pytest.fixture
def judge(tmp_path: Path, require_tool: Callable[[str], str]) -> Judge:
    """Run a tool on bytes in a file; both its outputs. It must succeed."""

    def run(tool: str, data: bytes, *words: str) -> str:
        path = tmp_path / "hex"
        path.write_text(data.hex(" "))
        command = [require_tool(tool), *(word.replace("FILE", str(path)) for word in words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout + done.stderr

    return run


@pytest.fixture
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Initiator]:
    """An initiator of a unit of the type that the parameter names."""
    option, value = UNITS[request.param]
    with ScsiTarget(option, value.format(tmp_path)) as here:
        yield here.initiator


def listed(unit: Initiator, kind: str) -> list[tuple[int, int, bytes]]:
    """Every page of a kind that the unit says it has: page, subpage, data."""
    do = unit.command
    if kind == "VPD":
        return [(page, 0, do("INQUIRY", evpd=1, page_code=page).data) for page in do("INQUIRY", evpd=1).data[4:]]
    if kind == "log":
        codes = do("LOG SENSE", pc=1, subpage_code=0xFF).data[4:]
        pairs = [(code & 0x3F, subpage) for code, subpage in zip(codes[::2], codes[1::2], strict=True)]
        return [(*pair, do("LOG SENSE", pc=1, page_code=pair[0], subpage_code=pair[1]).data) for pair in pairs]
    found = []
    everything = do("MODE SENSE(10)", page_code=0x3F, subpage_code=0xFF, data_in=65535).data
    at = 8 + int.from_bytes(everything[6:8], "big")
    while at < len(everything):
        long = bool(everything[at] & 0x40)
        page, subpage = everything[at] & 0x3F, everything[at + 1] if long else 0
        at += int.from_bytes(everything[at + 2 : at + 4], "big") + 4 if long else everything[at + 1] + 2
        found.append((page, subpage, do("MODE SENSE(10)", page_code=page, subpage_code=subpage, data_in=65535).data))
    assert at == len(everything)
    return found


def read(judge: Judge, unit: Initiator, kind: str, data: bytes) -> str:
    """What the tool for this kind of page says."""
    device_type = f"--pdt={unit.command('INQUIRY').data[0] & 0x1F}"
    words = {
        "VPD": ("sg_vpd", data, "--inhex=FILE", "-l"),
        "mode": ("sdparm", data, "--inhex=FILE", "--all", "-l", device_type),
        "log": ("sg_logs", data, "--in=FILE", device_type),
    }[kind]
    return judge(*words)


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize("unit", UNITS, indirect=True)
def test_pages_are_read(unit: Initiator, kind: str, judge: Judge, request: pytest.FixtureRequest) -> None:
    """Each page that is listed is there, and is decoded without complaint."""
    name = request.node.callspec.params["unit"]
    pages = listed(unit, kind)
    assert len(pages) >= 5
    for page, subpage, data in pages:
        assert len(data) >= 4, (page, subpage)
        text = read(judge, unit, kind, data)
        complaint = COMPLAINTS.search(text)
        said = UNREAD.get((name, kind, page, subpage))
        if said is None:
            assert complaint is None, (hex(page), hex(subpage), text)
        else:
            assert said in text, f"{page:#x},{subpage:#x} is read: take it from the list\n{text}"


INQUIRY = {
    "disk": ("Peripheral device type: disk", "RMB=0", "Protect=1"), "osd": ("PDT=17", "CmdQue=1"),
    "tape": ("Peripheral device type: tape", "RMB=1"), "optical": ("Peripheral device type: cd/dvd", "RMB=1"),
    "changer": ("Peripheral device type: medium changer", "RMB=1"),
}


@pytest.mark.parametrize("unit", UNITS, indirect=True)
def test_pages_inquiry(unit: Initiator, judge: Judge, request: pytest.FixtureRequest) -> None:
    """sg_inq reads the standard INQUIRY data of each type."""
    text = judge("sg_inq", unit.command("INQUIRY").data, "--inhex=FILE", "-d")

    for wanted in (*INQUIRY[request.node.callspec.params["unit"]], "Vendor identification: SCSIEMU"):
        assert wanted in text, text


# Device type, kind, page, subpage, and what is said of it in `worked`.
CONTENTS = [
    ("tape", "VPD", 0xB1, 0, ["Manufacturer-assigned serial number: "]),
    ("tape", "VPD", 0xB5, 0, ["method: 1, info_len: 4, LBP_W_C=1, LBP_R_C=1"]),
    ("tape", "mode", 0x0F, 0, [r"DCE +0 ", r"DCC +1 ", r"COMPR_A +\d+"]),
    ("tape", "mode", 0x11, 0, [r"MAX_AP +3 ", r"APD +0 ", r"PSUM +2 "]),
    ("tape", "log", 0x02, 0, [r"Total bytes processed = 300000\n"]),
    ("tape", "log", 0x03, 0, [r"Total bytes processed = 100000\n"]),
    ("tape", "log", 0x0E, 0, [r"Accumulated load-unload cycles = 1\n"]),
    ("tape", "log", 0x11, 0, ["MPRSNT=1 MSTD=1 MTHRD=1 MOUNTED=1"]),
    ("tape", "log", 0x14, 0, ["Lifetime media loads: 1\n"]),
    ("tape", "log", 0x17, 0, ["Thread count: 1\n", r"Write protect: 0\n"]),
    ("tape", "log", 0x19, 0, ["number of write commands = 3\n", "number of read commands = 1\n"]),
    ("tape", "log", 0x32, 0, ["Bytes transferred from server: 300000\n", "Bytes transferred to server: 100000\n"]),
    ("changer", "mode", 0x1D, 0, [r"NSE +24 ", r"NDTE +2 ", r"NMTE +1 "]),
    ("changer", "mode", 0x1F, 0, [r"STORDT +1 ", r"STORST +1 ", r"STORMT +0 "]),
    ("changer", "log", 0x14, 0, ["Number of moves: 1\n"]),
    ("optical", "mode", 0x2A, 0, [r"CD_R_R +1 ", r"LOCK +1 ", r"EJECT +1 "]),
    ("optical", "log", 0x19, 0, ["number of read commands = 1\n"]),
    ("osd", "VPD", 0x83, 0, ["vendor id: SCSIEMU", r"naa\.3[0-9A-F]{15}"]),
]


@pytest.mark.parametrize(("unit", "kind", "page", "subpage", "wanted"), CONTENTS, indirect=["unit"])
def test_pages_contents(
    unit: Initiator, kind: str, page: int, subpage: int, wanted: list[str], judge: Judge,
    request: pytest.FixtureRequest,
) -> None:
    """Fields are where the tools look, with what the unit has done."""
    worked(unit, request.node.callspec.params["unit"])
    (data,) = [data for *where, data in listed(unit, kind) if where == [page, subpage]]
    text = read(judge, unit, kind, data)

    assert [pattern for pattern in wanted if not re.search(pattern, text)] == [], text


def worked(unit: Initiator, name: str) -> None:
    """Let a unit do something that its pages tell of."""
    do = unit.command
    if name == "tape":
        for _ in range(3):
            assert do("WRITE(6)", transfer_length=100_000, data_out=bytes(range(250)) * 400).good
        assert do("REWIND").good
        assert do("READ(6)", transfer_length=100_000, data_in=100_000).good
    elif name == "changer":
        assert do("MOVE MEDIUM", source_address=0x1000, destination_address=0x1014).good
    elif name == "optical":
        assert do("READ(10)", transfer_length=2, data_in=4096).good


@pytest.mark.parametrize("unit", ["tape"], indirect=True)
def test_pages_medium_attributes(unit: Initiator, judge: Judge) -> None:
    """sg_read_attr reads the cartridge memory as we mean it."""
    worked(unit, "tape")
    text = judge("sg_read_attr", unit.command("READ ATTRIBUTE", data_in=4096).data, "--in=FILE")

    for wanted in ("Maximum capacity in partition [MiB]: 64\n", "Load count: 1\n", "Medium manufacturer: SCSIEMU"):
        assert wanted in text, text
    assert not COMPLAINTS.search(text)
