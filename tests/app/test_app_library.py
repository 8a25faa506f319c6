"""`--library`: one option, a changer and its drives on a folder of cartridges."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtypes.vmc.options import LIBRARY
from scsiemu.app.failure import Failure
from scsiemu.app.main import main
from scsiemu.app.units import plan_units
from scsiemu.testing.served import IscsiTarget, ScsiTarget
from scsiemu.unit_options import OtherUnits, StoreSpec, UnitPlan, parse_unit

SLOT, DRIVE = 0x1000, 0x100


def test_library_plan() -> None:
    """The changer first, then its drives, which another device type's option makes; commas of the path survive."""
    changer, *drives = LIBRARY.plan(parse_unit("/a,,b,drives=3,create=2,capacity=1M", LIBRARY))

    assert isinstance(changer, UnitPlan)
    assert changer.store == StoreSpec(
        "folder", {"path": "/a,b", "own": True, "blank": ("A00001L8", "A00002L8"), "size": 1 << 20}
    )
    assert changer.state == StoreSpec("state", {"path": "/a,b/.scsiemu"})
    assert drives == [OtherUnits("tape", "/a,,b,shelf")] * 3


def test_library_plan_resolved() -> None:
    """What is planned for others becomes their plans."""
    plans = plan_units("library", "/nowhere,drives=2")

    assert [plan.type for plan in plans] == ["vmc", "vt", "vt"]
    assert plans[1].store == StoreSpec("folder", {"path": "/nowhere"})


@pytest.mark.parametrize(("text", "why"), [
    ("/x,drives=100", "at most 64"), ("/x,slots=0", "at least one slot"), ("/x,create=9,slots=8", "do not fit"),
    ("/x,capacity=1M", "goes with create"), ("/x,drive=no such", "is not a name"), ("/x,drive=nothing", "nothing"),
])
def test_library_refused(text: str, why: str) -> None:
    """What cannot be is one sentence."""
    with pytest.raises(Failure, match=why):
        plan_units("library", text)


def test_library_moves_and_remembers(tmp_path: Path) -> None:
    """Files of a folder are moved, written and read; after a restart everything is where it was."""
    text = f"{tmp_path}/lib,drives=2,slots=4,create=2,capacity=1M"
    with ScsiTarget("--library", text) as target:
        move = {"source_address": SLOT, "destination_address": DRIVE + 1}
        assert target.initiator.command("MOVE MEDIUM", **move).good
        target.initiator.clear_attentions()
        assert target.initiator.command("WRITE(6)", lun=2, transfer_length=3, data_out=b"abc").good
        assert target.initiator.command("WRITE FILEMARKS(6)", lun=2, filemark_count=1).good
    with ScsiTarget("--library", text) as target:
        target.initiator.clear_attentions()
        again = target.initiator.command("READ(6)", lun=2, transfer_length=3, data_in=3)
        status = target.initiator.command(
            "READ ELEMENT STATUS", element_type_code=4, number_of_elements=9, allocation_length=999
        )

    assert sorted(path.name for path in (tmp_path / "lib").iterdir()) == [".scsiemu", "A00001L8", "A00002L8"]
    assert again.data == b"abc"
    assert [status.data[at] & 1 for at in (18, 34)] == [0, 1]


def test_library_served_with_options_apart(tmp_path: Path) -> None:
    """`--library DIR --drives 1 --slots 3` serves a changer and one drive; nobody else gets the folder meanwhile."""
    folder = str(tmp_path / "lib")
    with IscsiTarget("--library", f"{folder},create=1,capacity=1M", "--drives", "1", "--slots", "3") as target:
        assert [unit.type for unit in target.units] == ["vmc", "vt"]
        assert main(["serve", "--listen", "127.0.0.1:0", "--library", folder]) == 3


def test_options_apart_without_a_unit(capsys: pytest.CaptureFixture[str]) -> None:
    """They belong to the unit before them."""
    assert main(["serve", "--drives", "2", "--library", "/x"]) == 2
    assert "behind the unit" in capsys.readouterr().err
