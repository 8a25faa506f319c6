"""sg3_utils and sdparm read every page that SPC gives a unit, from bytes in a file, without complaint."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

from engine_spc_unit import PlainServer, World  # the harness of the engine's tests

from scsiemu.identity import Identity
from scsiemu.testing.initiator import StateDictionary

pytestmark = pytest.mark.oracle

Judge = Callable[..., str]


@pytest.fixture
def judge(tmp_path: Path, require_tool: Callable[[str], str]) -> Judge:
    """Run a tool on bytes in a file; its standard output. It must succeed and not complain."""

    def run(tool: str, option: str, data: bytes, *more: str) -> str:
        path = tmp_path / "hex"
        path.write_text(" ".join(f"{byte:02x}" for byte in data))
        command = [require_tool(tool), f"--{option}={path}", *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        assert "trunc" not in (done.stdout + done.stderr).lower()
        assert "malformed" not in (done.stdout + done.stderr).lower()
        return done.stdout

    return run


@pytest.fixture
def world() -> World:
    """A unit that has everything."""
    made = World(state=StateDictionary(), server=PlainServer(Identity(serial="SER-1", eui64=bytes(range(1, 9)))))
    made.server.counters.read_commands = 11
    made.server.counters.non_medium_errors = 5
    made.server.counters.start_stop_cycles = 3
    return made


def test_inquiry_standard_oracle(world: World, judge: Judge) -> None:
    """sg_inq reads the standard INQUIRY data as we mean it."""
    text = judge("sg_inq", "inhex", world.one.command("INQUIRY").data, "-d")

    for wanted in ("[SPC-4]", "NormACA=1", "HiSUP=1", "TPGS=3", "MultiP=1", "CmdQue=1", "length=96 (0x60)",
                   "Vendor identification: SCSIEMU", "Product identification: PLAIN UNIT", "SAM-5", "iSCSI"):
        assert wanted in text, wanted


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        (0x00, ["Device identification [di]", "SCSI ports [sp]", "Mode page policy [mpp]"]),
        (0x80, ["Unit serial number: SER-1"]),
        (0x83, ["NAA 3, Locally assigned", "EUI-64 based 8 byte", "vendor id: SCSIEMU", "Relative target port: 0x1",
                "Target port group: 0x1", "iqn.2026-11.org.example:spc,t,0x0001", "naa.3"]),
        (0x86, ["HEADSUP=1", "ORDSUP=1", "SIMPSUP=1", "LUICLR=1", "RTD_SUP=1",
                "Maximum supported sense data length=252"]),
        (0x87, ["Policy page code: 0xa,  subpage code: 0x1", "Policy: shared"]),
        (0x88, ["Relative port=1", "Relative port=2", "iqn.2026-11.org.example:spc,t,0x0002"]),
    ],
)
def test_inquiry_vpd_oracle(world: World, judge: Judge, page: int, wanted: list[str]) -> None:
    """sg_vpd reads every VPD page as we mean it."""
    text = judge("sg_vpd", "inhex", world.one.command("INQUIRY", evpd=1, page_code=page).data, "-l")

    for each in wanted:
        assert each in text, each


# Field values that we set, and what sdparm calls them.
MODE_FIELDS = [
    (0x02, 0, {"buffer_full_ratio": 3, "maximum_burst_size": 128, "emdp": 1, "dtdc": 2, "first_burst_size": 99},
     {"BFR": 3, "BER": 0, "MBS": 128, "EMDP": 1, "DTDC": 2, "FBS": 99}),
    (0x0A, 0, {"tst": 1, "d_sense": 1, "queue_algorithm_modifier": 1, "qerr": 3, "ua_intlck_ctrl": 2, "swp": 1,
               "tas": 1, "extended_self_test_completion_time": 7},
     {"TST": 1, "TMF_ONLY": 0, "D_SENSE": 1, "GLTSD": 1, "QAM": 1, "QERR": 3, "UA_INTLCK": 2, "SWP": 1, "ATO": 0,
      "TAS": 1, "BTP": -1, "ESTCT": 7}),
    (0x0A, 1, {"initial_command_priority": 5, "maximum_sense_data_length": 96},
     {"TCMOS": 1, "SCSIP": 1, "IALUAE": 1, "INIT_PR": 5, "MSDL": 96}),
    (0x1A, 0, {"standby_y": 1, "idle_b": 1, "idle_c_condition_timer": 77, "standby_y_condition_timer": 88,
               "ccf_stopped": 2},
     {"STANDBY_Y": 1, "IDLE_B": 1, "IDLE_A": 0, "ICCT": 77, "SYCT": 88, "CCF_IDLE": 0, "CCF_STOPP": 2}),
    (0x1C, 0, {"ewasc": 1, "dexcpt": 1, "mrie": 2, "interval_timer": 600, "report_count": 4},
     {"EWASC": 1, "DEXCPT": 1, "TEST": 0, "MRIE": 2, "INTT": 600, "REPC": 4}),
]


@pytest.mark.parametrize(("page", "subpage", "values", "wanted"), MODE_FIELDS)
def test_mode_sense_oracle(
    world: World, judge: Judge, page: int, subpage: int, values: dict[str, int], wanted: dict[str, int]
) -> None:
    """sdparm reads the fields of every mode page where we put them."""
    world.server.set_mode_fields(page, subpage, **values)
    world.one.clear_attentions()
    for name, more in (("MODE SENSE(10)", ()), ("MODE SENSE(6)", ("--six",))):
        data = world.one.command(name, page_code=page, subpage_code=subpage).data
        text = judge("sdparm", "inhex", data, "-l", "--all", *more)
        fields = {words[0]: int(words[1], 0) for words in map(str.split, text.splitlines()[1:]) if len(words) > 1}
        found = {field: fields.get(field) for field in wanted}
        assert found == wanted, text


@pytest.mark.parametrize(
    ("page", "subpage", "wanted"),
    [
        (0x00, 0, ["Self test results [str]", "Informational exceptions [ie]"]),
        (0x00, 0xFF, ["0x00,0xff   Supported log pages and subpages"]),
        (0x06, 0, ["Non-medium error count = 5"]),
        (0x0E, 0, ["Accumulated start-stop cycles = 3", "Accumulated load-unload cycles = 0"]),
        (0x0F, 0, ["8f 00 40 00 00 00 03 fc"]),
        (0x10, 0, ["self-test code: background short [1]", "aborted by SEND DIAGNOSTIC"]),
        (0x19, 0, ["number of read commands = 11", "time interval"]),
        (0x2F, 0, ["IE asc = 0x0, ascq = 0x0"]),
    ],
)
def test_log_sense_oracle(world: World, judge: Judge, page: int, subpage: int, wanted: list[str]) -> None:
    """sg_logs reads every log page as we mean it."""
    world.one.command("SEND DIAGNOSTIC", self_test_code=1)
    world.one.command("SEND DIAGNOSTIC", self_test_code=4)
    data = world.one.command("LOG SENSE", pc=1, page_code=page, subpage_code=subpage).data
    more = ("-H",) if page == 0x0F else ()      # sg_logs only dumps this one
    text = judge("sg_logs", "in", data, *more)

    for each in wanted:
        assert each.lower() in text.lower(), text


def test_read_buffer_descriptor_oracle(world: World, judge: Judge) -> None:
    """sg_read_buffer reads the descriptor."""
    text = judge("sg_read_buffer", "inhex", world.one.command("READ BUFFER(10)", mode=3).data, "-m", "desc")

    assert "BUFFER CAPACITY: 65536" in text


def test_request_sense_oracle(world: World, require_tool: Callable[[str], str]) -> None:
    """sg_decode_sense reads progress of a self-test in both formats."""
    world.one.command("SEND DIAGNOSTIC", self_test_code=1)
    for desc in (0, 1):
        data = world.one.command("REQUEST SENSE", desc=desc).data
        text = subprocess.run(
            [require_tool("sg_decode_sense"), *(f"{byte:02x}" for byte in data)],
            capture_output=True, text=True, check=True, timeout=30,
        ).stdout
        assert "self-test in progress" in text.lower()
        assert "progress indication" in text.lower()
