"""LOAD UNLOAD, PREVENT ALLOW MEDIUM REMOVAL, readiness and unit attentions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance import ConformanceUnit, clause
from ssc_tape import (
    END,
    TEST_UNIT_READY,
    Tape,
    block,
    inquiry,
    load,
    mode_select,
    prevent,
    read,
    read_position,
    report_density,
    rewind,
    space,
    write,
    write_marks,
)

from scsiemu import asc
from scsiemu.sense import FieldPointer, SenseKey

NOT_PRESENT = asc.MEDIUM_NOT_PRESENT


@pytest.fixture
def second(unit: ConformanceUnit, tape: Tape) -> Iterator[ConformanceUnit]:
    """The unit by another nexus."""
    other = unit.another()
    other.attentions()
    yield other
    other.execute(prevent(0))
    other.close()


@clause("SSC-5 LOAD UNLOAD")
def test_unload_not_ready(tape: Tape) -> None:
    """After an unload the drive is not ready: MEDIUM NOT PRESENT, or one of its qualifiers."""
    tape.unit.good(load(load=0))
    code = tape.unit.execute(TEST_UNIT_READY).code

    assert code is not None
    assert (code.key, code.asc) == (SenseKey.NOT_READY, 0x3A)


@clause("SSC-5 LOAD UNLOAD")
def test_unload_again(tape: Tape) -> None:
    """An unload of an unloaded volume is no error."""
    tape.unit.good(load(load=0))
    tape.unit.good(load(load=0))


@clause("SSC-5 LOAD UNLOAD")
def test_load_ready(tape: Tape) -> None:
    """A load makes the drive ready, at the beginning."""
    tape.lay(10, 10)
    tape.read(10)
    tape.unit.good(load(load=0))
    tape.unit.good(load())
    tape.settle()
    tape.unit.attentions()

    assert tape.where() == (0, 0, 0)


@clause("SSC-5 LOAD UNLOAD")
def test_load_loaded(tape: Tape) -> None:
    """A load of a loaded volume positions to the beginning, and there is no unit attention."""
    tape.lay(10, 10)
    tape.read(10)
    tape.unit.good(load())

    assert tape.at() == 0
    assert tape.unit.attentions() == []


@clause("SSC-5 LOAD UNLOAD")
def test_load_immediate(tape: Tape) -> None:
    """With IMMED it ends at once, and the drive gets ready by itself."""
    tape.unit.good(load(load=0))
    tape.unit.good(load(immed=1))
    tape.settle()
    tape.unit.attentions()

    tape.unit.good(TEST_UNIT_READY)


@clause("SSC-5 LOAD UNLOAD")
def test_unload_immediate(tape: Tape) -> None:
    """An unload with IMMED ends at once, and the volume is unloaded then."""
    tape.lay(10)
    tape.unit.good(load(load=0, immed=1))
    tape.settle()
    code = tape.unit.execute(TEST_UNIT_READY).code

    assert code is not None
    assert code.asc == 0x3A


@clause("SSC-5 LOAD UNLOAD")
def test_load_end_of_tape(tape: Tape) -> None:
    """EOT with LOAD is refused."""
    sense = tape.unit.refused(load(eot=1), asc.INVALID_FIELD_IN_CDB)

    assert sense.specific in (None, FieldPointer(4, 2))


@clause("SSC-5 LOAD UNLOAD")
def test_load_retension(tape: Tape) -> None:
    """RETEN with LOAD is no error."""
    tape.unit.good(load(reten=1))

    assert tape.at() == 0


@clause("SSC-5 LOAD UNLOAD")
def test_unload_hold(tape: Tape) -> None:
    """With HOLD the volume stays inside: not ready, and the medium auxiliary memory may be accessible."""
    answer = tape.unit.execute(load(load=0, hold=1))
    if not answer.good:
        assert answer.code == asc.INVALID_FIELD_IN_CDB
        tape.unit.not_supported("no HOLD")
    code = tape.unit.execute(TEST_UNIT_READY).code

    assert code is not None
    assert code.asc == 0x3A


@clause("SSC-5 LOAD UNLOAD")
def test_load_after_hold(tape: Tape) -> None:
    """A held volume can be loaded."""
    tape.lay(10)
    if not tape.unit.execute(load(load=0, hold=1)).good:
        tape.unit.not_supported("no HOLD")
    tape.unit.good(load())
    tape.settle()
    tape.unit.attentions()

    assert tape.read(10) == block(0, 10)


@pytest.mark.parametrize(
    "cdb", [read(10), write(10), space(END), rewind(), write_marks(1), read_position(6)],
    ids=["read", "write", "space", "rewind", "marks", "position"],
)
@clause("SSC-5 4.2, ready state")
def test_unloaded_commands(tape: Tape, cdb: bytes) -> None:
    """Commands that need the medium are refused with NOT READY while it is unloaded."""
    tape.unit.good(load(load=0))
    answer = tape.unit.execute(cdb, bytes(10) if cdb[0] == 0x0A else b"", 32 if cdb[0] in (0x08, 0x34) else 0)

    assert answer.code is not None
    assert (answer.code.key, answer.code.asc) == (SenseKey.NOT_READY, 0x3A)


@clause("SPC-5 INQUIRY")
def test_unloaded_inquiry(tape: Tape) -> None:
    """INQUIRY is performed while the volume is unloaded, and says the same as before."""
    before = tape.unit.good(inquiry(length=96), data_in=96)
    tape.unit.good(load(load=0))

    assert tape.unit.good(inquiry(length=96), data_in=96) == before


@clause("SPC-5 REQUEST SENSE")
def test_unloaded_request_sense(tape: Tape) -> None:
    """REQUEST SENSE tells why the drive is not ready, with GOOD."""
    tape.unit.good(load(load=0))
    data = tape.unit.good(bytes((0x03, 0, 0, 0, 18, 0)), data_in=18)

    assert (data[2] & 0xF, data[12]) == (SenseKey.NOT_READY, 0x3A)


@clause("SSC-5 REPORT DENSITY SUPPORT")
def test_unloaded_density(tape: Tape) -> None:
    """Densities of the drive can be asked for without a medium, those of the medium cannot."""
    tape.unit.good(load(load=0))
    tape.unit.good(report_density(), data_in=0xFFFF)
    code = tape.unit.execute(report_density(media=1), data_in=0xFFFF).code

    assert code is not None
    assert code.key == SenseKey.NOT_READY


@clause("SAM-5 unit attention condition")
def test_load_attention_other_nexus(tape: Tape, second: ConformanceUnit) -> None:
    """Another nexus hears that the medium may have changed; the one that loaded it need not."""
    tape.unit.good(load(load=0))
    tape.unit.good(load())
    tape.settle()

    assert asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED in second.attentions()
    assert second.attentions() == []


@clause("SAM-5 unit attention condition")
def test_attention_ends_a_command(tape: Tape, second: ConformanceUnit) -> None:
    """A command that meets a unit attention is not performed."""
    tape.lay(10)
    tape.unit.good(load(load=0))
    tape.unit.good(load())
    tape.settle()
    tape.unit.attentions()
    answer = second.execute(write(10), block(5, 10))

    assert answer.code is not None
    assert answer.code.key == SenseKey.UNIT_ATTENTION
    assert tape.read(10) == block(0, 10)


@clause("SAM-5 unit attention condition")
def test_attention_not_for_inquiry(tape: Tape, second: ConformanceUnit) -> None:
    """INQUIRY does not take a unit attention."""
    tape.unit.good(load(load=0))
    tape.unit.good(load())
    tape.settle()
    second.good(inquiry(length=36), data_in=36)

    assert second.attentions()


@clause("SPC-5 MODE SELECT")
def test_mode_change_attention(tape: Tape, second: ConformanceUnit) -> None:
    """A changed mode parameter is MODE PARAMETERS CHANGED for every other nexus, not for the one that changed it."""
    tape.set_mode(512)

    assert second.attentions() == [asc.MODE_PARAMETERS_CHANGED]
    assert tape.unit.attentions() == []


@clause("SPC-5 MODE SELECT")
def test_mode_same_no_attention(tape: Tape, second: ConformanceUnit) -> None:
    """What was set to what it was is no change."""
    tape.set_mode(0)

    assert second.attentions() == []


@clause("SAM-5 LOGICAL UNIT RESET")
def test_reset_attention(tape: Tape) -> None:
    """A reset is told by a unit attention of 29h."""
    tape.unit.reset()
    found = tape.unit.attentions()

    assert found
    assert found[0].asc == 0x29


@clause("SSC-5 8.3, BLOCK LENGTH")
def test_reset_block_length(tape: Tape) -> None:
    """A reset brings the default mode parameters back: BLOCK LENGTH among them."""
    tape.set_mode(512)
    tape.unit.reset()
    tape.unit.attentions()
    data = tape.unit.good(bytes((0x1A, 0, 0, 0, 12, 0)), data_in=12)

    assert data[9:12] == bytes(3)


@clause("SPC-5 PREVENT ALLOW MEDIUM REMOVAL")
def test_prevent_unload(tape: Tape) -> None:
    """While removal is prevented an unload is refused: MEDIUM REMOVAL PREVENTED, and the drive stays ready."""
    tape.unit.good(prevent(1))
    tape.unit.refused(load(load=0), asc.MEDIUM_REMOVAL_PREVENTED)

    tape.unit.good(TEST_UNIT_READY)


@clause("SPC-5 PREVENT ALLOW MEDIUM REMOVAL")
def test_prevent_allow(tape: Tape) -> None:
    """Once it is allowed again the volume can be unloaded."""
    tape.unit.good(prevent(1))
    tape.unit.good(prevent(0))

    tape.unit.good(load(load=0))


@clause("SPC-5 PREVENT ALLOW MEDIUM REMOVAL")
def test_prevent_by_each_nexus(tape: Tape, second: ConformanceUnit) -> None:
    """Each nexus prevents for itself: one that allows does not allow for another."""
    second.good(prevent(1))
    tape.unit.good(prevent(1))
    tape.unit.good(prevent(0))
    tape.unit.refused(load(load=0), asc.MEDIUM_REMOVAL_PREVENTED)
    second.good(prevent(0))

    tape.unit.good(load(load=0))


@clause("SPC-5 PREVENT ALLOW MEDIUM REMOVAL")
def test_prevent_ends_with_nexus(tape: Tape, unit: ConformanceUnit) -> None:
    """The loss of the nexus that prevented ends the prevention."""
    other = unit.another("iqn.2026-11.org.example:third")
    other.attentions()
    other.good(prevent(1))
    other.close()

    tape.unit.good(load(load=0))


@clause("SPC-5 PREVENT ALLOW MEDIUM REMOVAL")
def test_prevent_ends_with_reset(tape: Tape) -> None:
    """So does a LOGICAL UNIT RESET."""
    tape.unit.good(prevent(1))
    tape.unit.reset()
    tape.unit.attentions()

    tape.unit.good(load(load=0))


@clause("SPC-5 PREVENT ALLOW MEDIUM REMOVAL")
def test_prevent_obsolete_values(tape: Tape) -> None:
    """Values 10b and 11b of PREVENT are obsolete, and refused or without effect on an unload."""
    answer = tape.unit.execute(prevent(2))

    assert answer.good or answer.code == asc.INVALID_FIELD_IN_CDB
    tape.unit.good(load(load=0))


@clause("SPC-5 MODE SELECT")
def test_mode_select_unloaded(tape: Tape) -> None:
    """Mode parameters can be set without a medium."""
    tape.unit.good(load(load=0))
    data = bytes((0, 0, 0x10, 8, 0, 0, 0, 0, 0)) + (512).to_bytes(3, "big")

    tape.unit.good(mode_select(len(data)), data)
