"""The ASC/ASCQ table: constants and texts agree with each other and with sg_decode_sense."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest

from scsiemu import asc
from scsiemu.asc_table import ASC_NAMES, ASC_RANGES
from scsiemu.sense import SENSE_KEY_NAMES, Sense, SenseCode, SenseKey

CONSTANTS = {name: value for name, value in vars(asc).items() if isinstance(value, SenseCode)}

# Assigned after the tool was released; the clause where each is used.
NEWER_THAN_THE_TOOL = {
    (0x00, 0x23),   # SBC-4 4.29: overlapping atomic commands
}


def test_asc_constants_are_the_table() -> None:
    """One constant for each entry, named by its text in upper snake case, punctuation dropped."""
    expected = {
        re.sub(r"[^A-Z0-9_]+", "_", text.upper()).strip("_"): code for code, text in ASC_NAMES.items()
    }

    assert {name: (value.asc, value.ascq) for name, value in CONSTANTS.items()} == expected


def test_asc_constants_have_sense_keys() -> None:
    """Every constant has a sense key that exists."""
    assert {value.key for value in CONSTANTS.values()} <= set(SENSE_KEY_NAMES)


@pytest.mark.parametrize(
    ("codes", "key"),
    [
        ((0x28, 0x29, 0x2A, 0x2F, 0x3F), SenseKey.UNIT_ATTENTION),
        ((0x04, 0x3A), SenseKey.NOT_READY),
        ((0x1A, 0x20, 0x21, 0x24, 0x25, 0x26, 0x39), SenseKey.ILLEGAL_REQUEST),
        ((0x27,), SenseKey.DATA_PROTECT),
        ((0x1D,), SenseKey.MISCOMPARE),
        ((0x4E, 0x4B), SenseKey.ABORTED_COMMAND),
        ((0x17, 0x18), SenseKey.RECOVERED_ERROR),
    ],
)
def test_asc_families_have_their_key(codes: tuple[int, ...], key: int) -> None:
    """SPC-5 table 49 and its kin: whole families of codes belong to one sense key."""
    assert {value.key for value in CONSTANTS.values() if value.asc in codes} == {key}


def test_asc_name_of_ranges() -> None:
    """40h/NN, 4Dh/NN and 70h/NN carry a number in the qualifier."""
    assert asc.name_of(0x40, 0x85) == "DIAGNOSTIC FAILURE ON COMPONENT 85h"
    assert asc.name_of(0x4D, 0x01) == "TAGGED OVERLAPPED COMMANDS (TASK TAG 01h)"
    assert asc.name_of(0x70, 0x10) == "DECOMPRESSION EXCEPTION SHORT ALGORITHM ID OF 10h"
    assert asc.name_of(0x40, 0x00) == "RAM FAILURE (SHOULD USE 40 NN)"


def test_asc_name_of_every_code() -> None:
    """Every byte pair has a text; 80h and up is the vendor's."""
    assert all(asc.name_of(code, qualifier) for code in range(256) for qualifier in range(256))
    assert asc.name_of(0x80, 0x01).startswith("VENDOR SPECIFIC")
    assert asc.name_of(0x7E, 0x01).startswith("UNKNOWN")


def test_asc_with_key() -> None:
    """The same code under another key."""
    assert asc.with_key(asc.WRITE_PROTECTED, SenseKey.ILLEGAL_REQUEST) == SenseCode(5, 0x27, 0x00)


def test_asc_codes_with_a_number() -> None:
    """The codes that are made from a number lie in the ranges of the table."""
    ranges = {code for code, *_ in ASC_RANGES}

    made = [asc.diagnostic_failure_on_component(0x80), asc.tagged_overlapped_commands(0x1234)]

    assert [(code.asc, code.ascq) for code in made] == [(0x40, 0x80), (0x4D, 0x34)]
    assert {code.asc for code in made} <= ranges


@pytest.mark.oracle
def test_asc_names_sg_decode_sense_agrees(require_tool: Callable[[str], str]) -> None:
    """sg_decode_sense has the same words for every entry of the table (one run of xargs for all)."""
    require_tool("sg_decode_sense")
    entries = [(code, text) for code, text in ASC_NAMES.items() if code not in NEWER_THAN_THE_TOOL]
    lines = "".join(
        Sense(SenseCode(5, *code)).encode(descriptor=False).hex(" ") + "\n" for code, _ in entries
    )

    run = subprocess.run(
        ["xargs", "-L1", "sg_decode_sense"], input=lines, capture_output=True, text=True, check=True
    )

    theirs = re.findall(r"Additional sense: (.*)", run.stdout)
    assert len(theirs) == len(entries)
    assert [words(text) for _, text in entries] == [words(text) for text in theirs]


def words(text: str) -> str:
    """Lower case, punctuation dropped."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
