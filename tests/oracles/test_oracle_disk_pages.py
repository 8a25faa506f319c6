"""sg3_utils, sdparm and Wireshark read what a disk tells of itself, from bytes in a file, as we mean it."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scsiemu import asc
from scsiemu.testing.initiator import Initiator
from scsiemu.testing.served import ScsiTarget

pytestmark = pytest.mark.oracle

Judge = Callable[..., str]
BLOCKS = 131072


@pytest.fixture
def judge(tmp_path: Path, require_tool: Callable[[str], str]) -> Judge:
    """Run a tool on bytes in a file; its standard output. It must succeed and not complain."""

    def run(tool: str, option: str, data: bytes, *more: str) -> str:
        path = tmp_path / "hex"
        path.write_text(data.hex(" "))
        command = [require_tool(tool), f"--{option}={path}", *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert not re.search("trunc|malformed|too short|invalid", done.stdout.lower()), done.stdout
        return done.stdout

    return run


@pytest.fixture
def initiator(request: pytest.FixtureRequest) -> Iterator[Initiator]:
    """Of a disk of 64 MiB, with the options of the parameter."""
    with ScsiTarget("--disk", "64M" + getattr(request, "param", "")) as here:
        yield here.initiator


VPD = [
    ("", 0x8F, ["Extended copy(LID1)", "Receive copy status(LID1)", "Receive copy operating parameters",
                "Receive copy failure details(LID1)", "block -> block [0x2]",
                "CSCD: Identification Descriptor [0xe4]"]),
    ("", 0xB0, ["Maximum compare and write length: 255 blocks", "Optimal transfer length granularity: 1 blocks",
                "Maximum transfer length: 16384 blocks", "Maximum unmap LBA count: -1 [unbounded]",
                "Maximum unmap block descriptor count: 4095", "Maximum write same length: 0xffff blocks",
                "Maximum atomic transfer length: 16384 blocks"]),
    (",block=4096,max-write-same=100,max-unmap=50", 0xB0,
     ["Maximum transfer length: 2048 blocks", "Maximum write same length: 0x64 blocks",
      "Maximum unmap LBA count: 50"]),
    ("", 0xB1, ["Non-rotating medium", "ZONED=0"]),
    (",rpm=7200", 0xB1, ["Nominal rotation rate: 7200 rpm"]),
    ("", 0xB2, ["(LBPU): 1", "(LBPWS): 1", "(LBPWS10): 1", "(LBPRZ): 1", "Provisioning type: 2 (thin provisioned)"]),
    (",thick", 0xB2, ["(LBPU): 0", "(LBPWS): 0", "(LBPWS10): 0"]),
    ("", 0xB3, ["User data segment size: 0"]),
    ("", 0xB7, ["Maximum number of streams: 16"]),
    (",pi=1", 0x86, ["GRD_CHK=1", "APP_CHK=1", "REF_CHK=1"]),
    ("", 0x86, ["GRD_CHK=0", "APP_CHK=0", "REF_CHK=0"]),
]


@pytest.mark.parametrize(("initiator", "page", "wanted"), VPD, indirect=["initiator"])
def test_disk_vpd_oracle(initiator: Initiator, judge: Judge, page: int, wanted: list[str]) -> None:
    """sg_vpd reads the VPD pages of a disk as we mean them."""
    text = judge("sg_vpd", "inhex", initiator.command("INQUIRY", evpd=1, page_code=page).data, "-l")

    for each in wanted:
        assert each in text, text


def test_disk_vpd_pages_are_all_known(initiator: Initiator, judge: Judge) -> None:
    """sg_vpd knows every page that the disk lists, and calls none of them vendor specific."""
    for page in initiator.command("INQUIRY", evpd=1).data[4:]:
        text = judge("sg_vpd", "inhex", initiator.command("INQUIRY", evpd=1, page_code=page).data)
        assert "VPD" in text or "Unit serial number" in text, text
        assert "unknown" not in text.lower(), text


# Values of fields as sdparm names them.
MODE = [
    ("", 0x01, 0, {"AWRE": 0, "ARRE": 0, "DTE": 0, "LBPERE": 1, "RRC": 0, "WRC": 0, "RTL": 0}),
    ("", 0x08, 0, {"IC": 0, "WCE": 1, "RCD": 0, "DRA": 0, "NV_DIS": 0}),
    (",wce=off", 0x08, 0, {"WCE": 0, "RCD": 0}),
    ("", 0x0A, 0, {"D_SENSE": 0, "SWP": 0, "ATO": 0, "TAS": 0}),
    ("", 0x0A, 2, {"AT_LAST": 0, "AT_LBAT": 0, "AT_COUNT": 0}),
    ("", 0x0A, 5, {"IOA_MODE": 1, "CS_EN": 0}),
    ("", 0x1A, 0, {"STANDBY_Y": 0, "IDLE_B": 0}),
    ("", 0x1C, 0, {"DEXCPT": 0, "TEST": 0, "MRIE": 6}),
]


@pytest.mark.parametrize(("initiator", "page", "subpage", "wanted"), MODE, indirect=["initiator"])
def test_disk_mode_oracle(
    initiator: Initiator, judge: Judge, page: int, subpage: int, wanted: dict[str, int]
) -> None:
    """sdparm reads the mode pages of a disk as we mean them, behind both headers and the block descriptor."""
    for name, more in (("MODE SENSE(10)", ()), ("MODE SENSE(6)", ("--six",))):
        result = initiator.command(name, page_code=page, subpage_code=subpage, data_in=65535)
        if page == 0x0A and subpage == 5 and more:
            assert result.code == asc.INVALID_FIELD_IN_CDB      # 1 KiB: does not fit behind a 6-byte header
            continue
        data = result.data
        text = judge("sdparm", "inhex", data, "-l", "--all", *more)
        rows = (line.split() for line in text.splitlines()[1:])
        fields = {words[0]: int(words[1], 0) for words in rows if len(words) > 1}
        assert {field: fields.get(field) for field in wanted} == wanted, text


def test_disk_mode_select_oracle(initiator: Initiator, judge: Judge) -> None:
    """What MODE SELECT turned off is off where sdparm looks."""
    page = bytearray(initiator.command("MODE SENSE(10)", page_code=8, dbd=1).data[8:])
    page[0] &= 0x3F
    page[2] &= ~0x04
    assert initiator.command("MODE SELECT(10)", pf=1, data_out=bytes(8) + bytes(page)).good

    text = judge("sdparm", "inhex", initiator.command("MODE SENSE(10)", page_code=8).data, "--get=WCE")
    assert re.search(r"WCE\s+0", text), text


LOG = [
    (0x00, 0x00, ["Write error [we]", "Read error [re]", "Verify error [ve]", "Logical block provisioning [lbp]",
                  "Background scan results [bsr]", "Power condition transitions [pct]"]),
    (0x00, 0xFF, ["0x15,0x01   Pending defects [pd]"]),
    (0x02, 0x00, ["Write error counter page", "Total uncorrected errors = 0"]),
    (0x03, 0x00, ["Read error counter page", "Total uncorrected errors = 1"]),
    (0x05, 0x00, ["Verify error counter page", "Total bytes processed = 512"]),
    (0x0C, 0x00, ["Available LBA mapping threshold resource count:", "Used LBA mapping threshold resource count:"]),
    (0x0E, 0x00, ["Accumulated start-stop cycles ="]),
    (0x15, 0x00, ["Status: no background scans active"]),
    (0x15, 0x01, ["Pending defect count:   1", "0x28"]),
    (0x19, 0x00, ["number of read commands = 1", "number of logical blocks received = 12",
                  "number of logical blocks transmitted = 8"]),
    (0x1A, 0x00, ["Accumulated transitions to active"]),
]


@pytest.mark.parametrize(("page", "subpage", "wanted"), LOG)
def test_disk_log_oracle(initiator: Initiator, judge: Judge, page: int, subpage: int, wanted: list[str]) -> None:
    """sg_logs reads the log pages of a disk as we mean them, after some work and a bad block."""
    do = initiator.command
    assert do("WRITE(10)", lba=8, transfer_length=12, data_out=bytes(12 * 512)).good
    assert do("READ(10)", lba=8, transfer_length=8).good
    assert do("VERIFY(10)", lba=8, transfer_length=1).good
    assert do("WRITE LONG(10)", wr_uncor=1, lba=40).good
    assert not do("READ(10)", lba=40, transfer_length=1).good
    text = judge("sg_logs", "in", do("LOG SENSE", pc=1, page_code=page, subpage_code=subpage).data)

    for each in wanted:
        assert each in text, text


def test_disk_lba_status_oracle(initiator: Initiator, judge: Judge) -> None:
    """sg_get_lba_status reads mapped and deallocated ranges as we mean them."""
    assert initiator.command("WRITE(16)", lba=96, transfer_length=8, data_out=b"x" * 4096).good
    text = judge("sg_get_lba_status", "inhex", initiator.command("GET LBA STATUS(16)").data, "--maxlen=256")

    assert re.findall(r"LBA: 0x([0-9a-f]+)\s+blocks:\s+(\d+)\s+(\w+)", text) == [
        (f"{0:016x}", "96", "deallocated"), (f"{96:016x}", "8", "mapped"),
        (f"{104:016x}", str(BLOCKS - 104), "deallocated"),
    ]


def wireshark(require_tool: Callable[[str], str], folder: Path, cdb: bytes, data: bytes, *fields: str) -> list[str]:
    """The fields that Wireshark's SBC dissector reads in a command's Data-In, carried by iSCSI PDUs."""
    request = struct.pack(">BBHIQIIII16s", 0x01, 0xC0, 0, 0, 0, 1, len(data), 1, 1, cdb.ljust(16, b"\0"))
    answer = struct.pack(">BBHIQIIIIIIII", 0x25, 0x81, 0, len(data), 0, 1, 0xFFFFFFFF, 1, 2, 33, 0, 0, 0)
    lines = []
    for direction, pdu in (("O", request), ("I", answer + data + bytes(-len(data) % 4))):
        lines += [direction, *(f"{at:06x} {pdu[at : at + 16].hex(' ')}" for at in range(0, len(pdu), 16))]
    text, capture = folder / "pdus", folder / "pdus.pcapng"
    text.write_text("\n".join(lines) + "\n")
    subprocess.run(
        [require_tool("text2pcap"), "-q", "-D", "-T", "40000,3260", str(text), str(capture)], check=True, timeout=60,
        capture_output=True,
    )
    command = [require_tool("tshark"), "-r", str(capture), "-d", "tcp.port==3260,iscsi", "-T", "fields"]
    for field in ("_ws.malformed", *fields):
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    malformed, *values = done.stdout.splitlines()[-1].split("\t")
    assert malformed == ""
    return values


@pytest.mark.parametrize(
    ("initiator", "wanted"),
    [
        ("", ["512", "0", "0", "0", "1", "1", "0"]), (",block=4096", ["4096", "0", "0", "0", "1", "1", "0"]),
        (",physical=3", ["512", "0", "0", "3", "1", "1", "0"]),
        (",pi=1", ["512", "1", "0", "0", "1", "1", "0"]), (",thick", ["512", "0", "0", "0", "0", "0", "0"]),
    ],
    indirect=["initiator"],
)
def test_disk_read_capacity_16_oracle(
    initiator: Initiator, require_tool: Callable[[str], str], tmp_path: Path, wanted: list[str]
) -> None:
    """Wireshark reads the READ CAPACITY(16) data as we mean it."""
    name = "READ CAPACITY(16)"
    found = wireshark(
        require_tool, tmp_path, initiator.cdb(name), initiator.command(name).data, "scsi_sbc.blocksize",
        "scsi_sbc.prot_en", "scsi_sbc.p_i_exponent", "scsi_sbc.lbppbe", "scsi_sbc.lbpme", "scsi_sbc.lbprz",
        "scsi_sbc.lalba",
    )

    assert found == wanted


def test_disk_read_capacity_10_oracle(
    initiator: Initiator, require_tool: Callable[[str], str], tmp_path: Path
) -> None:
    """Wireshark reads the READ CAPACITY(10) data as we mean it."""
    name = "READ CAPACITY(10)"
    found = wireshark(
        require_tool, tmp_path, initiator.cdb(name), initiator.command(name).data, "scsi_sbc.returned_lba",
        "scsi_sbc.blocksize",
    )

    assert found == [str(BLOCKS - 1), "512"]


def test_disk_lba_status_wire_oracle(
    initiator: Initiator, require_tool: Callable[[str], str], tmp_path: Path
) -> None:
    """Wireshark reads the GET LBA STATUS data as we mean it."""
    assert initiator.command("WRITE(16)", lba=96, transfer_length=8, data_out=b"x" * 4096).good
    name, at = "GET LBA STATUS(16)", "scsi_sbc.get_lba_status."
    found = wireshark(
        require_tool, tmp_path, initiator.cdb(name), initiator.command(name).data, f"{at}start_lba",
        f"{at}num_blocks", f"{at}provisioning_type",
    )

    assert found == ["0,96,104", f"96,8,{BLOCKS - 104}", "1,0,1"]
