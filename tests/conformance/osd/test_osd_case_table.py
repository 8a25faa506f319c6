"""The suite is whole: every command has its cases, and the table of sense codes names cases that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from osd_clauses import COMMANDS, TOPICS

from devtypes.osd import ObjectStorageDevice
from scsiemu import asc
from scsiemu.operations import OperationTable
from scsiemu.sense import SenseCode

FOLDER = Path(__file__).parent
SOURCES = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("test_conformance_osd_*.py"))]
CASES = {name for text in SOURCES for name in re.findall(r"^def test_(\w+)", text, re.MULTILINE)}
TITLES = {
    title
    for text in SOURCES
    for line in re.findall(r"^@about\((.*)\)$", text, re.MULTILINE)
    for title in re.findall(r'"([^"]+)"', line)
}
NAMES = {
    declared.name.removesuffix(" (OSD-1)")
    for declared in OperationTable(ObjectStorageDevice)
    if declared.opcode == 0x7F
}
# Those of the OSC target, whose cases are in a file of their own.
VENDOR = {"COMPARE AND SWAP", "FETCH AND ADD", "CONDITIONAL SET ATTRIBUTES", "GENERAL COMPARE AND SWAP"}
# What object commands end with.
CODES = [
    asc.INVALID_COMMAND_OPERATION_CODE, asc.INVALID_FIELD_IN_CDB, asc.PARAMETER_LIST_LENGTH_ERROR,
    asc.INVALID_FIELD_IN_PARAMETER_LIST, asc.PARTITION_OR_COLLECTION_CONTAINS_USER_OBJECTS,
    SenseCode(0x1, 0x3B, 0x17), asc.QUOTA_ERROR, asc.SYSTEM_RESOURCE_FAILURE, SenseCode(0x2, 0x04, 0x04),
    asc.RESERVATIONS_RELEASED, asc.NONCE_NOT_UNIQUE, asc.NONCE_TIMESTAMP_OUT_OF_RANGE,
    asc.INVALID_DATA_OUT_BUFFER_INTEGRITY_CHECK_VALUE, asc.WRITE_PROTECTED,
]


def rows() -> list[tuple[str, str, list[str]]]:
    """Sense, code and cases of the table in docs/conformance.md."""
    text = (FOLDER.parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
    section = text.partition("## Cases of object storage")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (.+?) \| (\S*?) ?\| (`.+?) \|$", section, re.MULTILINE)
    return [(sense, code, re.findall(r"`(\w+)`", cases)) for sense, code, cases in found]


def test_every_command_has_cases() -> None:
    """Each operation of the unit, and each command of the standard, is named by the clause of a case."""
    assert set(COMMANDS) >= NAMES - VENDOR
    assert set(COMMANDS) & NAMES <= TITLES
    assert set(COMMANDS) | set(TOPICS) >= TITLES


def test_cases_enough() -> None:
    """There are as many as the document says."""
    assert len(CASES) > 280


@pytest.mark.parametrize("code", CODES, ids=str)
def test_every_code_has_cases(code: SenseCode) -> None:
    """Each sense code has a row."""
    assert f"{code.key:X}/{code.asc:02X}/{code.ascq:02X}" in {row[1] for row in rows()}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_rows_name_cases(row: tuple[str, str, list[str]]) -> None:
    """Each row names cases that there are."""
    assert row[2]
    assert set(row[2]) <= CASES
