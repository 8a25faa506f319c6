"""`scsiemu decode`: bytes explained, for people and as JSON."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.hexbytes import parse_hex
from scsiemu.app.main import main


@pytest.mark.parametrize(
    "words",
    [
        ("12 00 00 00 24 00",), ("120000002400",), ("12:00:00:00:24:00",), ("0x12", "0", "0", "0", "0x24", "0"),
        ("12", "000000", "24 0"),
    ],
)
def test_decode_hex_forms(words: tuple[str, ...]) -> None:
    """Bytes can be written in all the usual ways."""
    assert parse_hex(words, what="test") == bytes.fromhex("120000002400")


@given(st.binary(min_size=1), st.sampled_from(["", " ", ":", ", ", "\n"]))
def test_decode_hex_round_trip(data: bytes, between: str) -> None:
    """Whatever divides them, the bytes are the same."""
    assert parse_hex([between.join(f"{byte:02X}" for byte in data)], what="test") == data


@given(st.text(max_size=30))
def test_decode_hex_hostile(text: str) -> None:
    """Text that is no hexadecimal is a Failure of the command line."""
    try:
        data = parse_hex([text], what="test")
    except Failure as failure:
        assert failure.code == ExitCode.USAGE  # noqa: PT017  # both ends are right
    else:
        assert data


def test_decode_cdb(capsys: pytest.CaptureFixture[str]) -> None:
    """A CDB gets its name and fields from the operation tables."""
    assert main(["decode", "cdb", "28 00 00 00 10 00 00 00 08 00", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["title"] == "READ(10)"
    assert (told["fields"]["lba"], told["fields"]["transfer_length"]) == (4096, 8)


def test_decode_sense(capsys: pytest.CaptureFixture[str]) -> None:
    """Sense data is named by the tables of T10."""
    assert main(["decode", "sense", "70 00 05 00 00 00 00 0a 00 00 00 00 24 00 00 c0 00 02"]) == 0

    assert capsys.readouterr().out.startswith("ILLEGAL REQUEST: INVALID FIELD IN CDB (fixed format, current)\n")


def test_decode_data(capsys: pytest.CaptureFixture[str]) -> None:
    """Data is read as its CDB says."""
    assert main(["decode", "data", "000007ff00000200", "--cdb", "25" + "00" * 9, "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["fields"] == {"returned_logical_block_address": 2047, "logical_block_length": 512}


def test_decode_data_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A parameter list is read with --out."""
    assert main(["decode", "data", "--out", "--cdb", "42 00 00 00 00 00 00 00 18 00",
                 "0016 0010 00000000 0000000000000008 00000004 00000000", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["title"] == "UNMAP list"


def test_decode_pdu_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A SCSI Command PDU is explained, and the CDB in it."""
    header = bytes.fromhex(
        "01c1000000000000 0001000000000000 00000007 00000200 00000003 00000004 28000000001000000100 000000000000"
    )

    assert main(["decode", "pdu", header.hex(), "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["title"] == "iSCSI SCSI Command"
    assert told["fields"]["itt"] == 7
    assert told["inside"][0]["title"] == "READ(10)"


def test_decode_pdu_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A login request shows its keys; a data segment that is cut is said to be."""
    data = b"InitiatorName=iqn.a:b\0AuthMethod=None\0"
    header = bytearray(48)
    header[0:2] = b"\x43\x87"
    header[7] = len(data) + 1

    assert main(["decode", "pdu", (bytes(header) + data).hex(), "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["title"] == "iSCSI Login Request"
    assert told["fields"]["data"] == ["InitiatorName=iqn.a:b", "AuthMethod=None"]
    assert told["notes"] == [f"cut: {len(data)} of {len(data) + 1} bytes of the data segment"]


def test_decode_stdin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A dash reads from stdin."""
    monkeypatch.setattr("sys.stdin", io.StringIO("00 00 00\n00 00 00\n"))

    assert main(["decode", "cdb", "-"]) == 0

    assert capsys.readouterr().out.startswith("TEST UNIT READY\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("sense", "ff 00"), 4),
        (("cdb", "ff"), 4),
        (("pdu", "3e"), 4),
        (("pdu", "01 80"), 4),
        (("cdb", "no"), 2),
        (("data", "00"), 2),
        (("song", "00"), 2),
        ((), 2),
    ],
)
def test_decode_exit_codes(words: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing decoded is 4, a wrong command line 2."""
    assert main(["decode", *words]) == code

    captured = capsys.readouterr()
    assert bool(captured.out) == (code == 4)


@given(st.sampled_from(["cdb", "sense", "pdu"]), st.binary(min_size=1, max_size=120))
def test_decode_hostile(what: str, data: bytes) -> None:
    """No bytes make it fail otherwise than by exit code 4."""
    assert main(["decode", what, data.hex(), "--json"]) in (0, 4)
