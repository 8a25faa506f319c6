"""The README's support table: made from declarations, and up to date."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scsiemu.app import support_table
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion
from scsiemu.operations import operation

SIX = CdbLayout("opcode:8 _:3 service_action:5 _:24 control:8")
ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


class Lamp:
    """A device type."""

    @operation(0xC0, "LIGHT", SIX, service_action=0x02, standard="LAMP-1 5.1")
    def light(self, command: Command, cdb: CdbFields) -> Completion:
        """On."""
        return Completion()


class Dimmer(Lamp):
    """One with an operation more, that depends on its configuration."""

    @operation(0xC0, "DIM", SIX, service_action=0x01, available=lambda server: False, standard="LAMP-1 5.2")
    def dim(self, command: Command, cdb: CdbFields) -> Completion:
        """Less."""
        return Completion()


def test_support_table_rows() -> None:
    """A row for each operation in order of opcode and service action, a column for each device type."""
    assert support_table.support_table({"lamp": Lamp, "dimmer": Dimmer}).splitlines() == [
        "| opcode | service action | command | lamp | dimmer | standard | checked by |",
        "|---|---|---|---|---|---|---|",
        "| C0h | 01h | DIM |  | if configured | LAMP-1 5.2 |  |",
        "| C0h | 02h | LIGHT | yes | yes | LAMP-1 5.1 |  |",
    ]


def test_support_table_checked_by(tmp_path: Path) -> None:
    """Programs come from recordings: broad ones first, of many only some, by device type where there are several."""
    path = tmp_path / "checked_by.json"
    path.write_text(json.dumps({
        "one": {"dimmer": {"broad": ["c0/01", "c0/02", "12"], "narrow": ["c0/02"]}},
        "two": {"lamp": {name: ["c0/02", "12"] for name in "abcde"}, "dimmer": {"narrow": ["c0/02"]}},
        "three": {"lamp": {"e": ["00"]}},
    }))
    rows = support_table.support_table({"lamp": Lamp, "dimmer": Dimmer}, support_table.read_checks(path)).splitlines()

    assert [row.split(" | ")[-1] for row in rows[2:]] == ["broad |", "lamp: e, a, c, d; dimmer: broad, narrow |"]
    assert support_table.read_checks(tmp_path / "nothing") == {}


def test_media_table(tmp_path: Path) -> None:
    """Who has written which medium comes from recordings, in rows of the profiles that a device type has."""

    class Burner(Dimmer):
        recordable_profiles = {0x09: "CD-R", 0x1B: "DVD+R"}

    path = tmp_path / "checked_by.json"
    path.write_text(json.dumps({
        "one": {"dimmer": {"wodim": ["2a", "2a@09"]}}, "two": {"dimmer": {"Xorriso": ["aa@09"], "other": ["2a"]}},
    }))

    table = support_table.media_table({"lamp": Lamp, "dimmer": Burner}, support_table.read_checks(path))
    assert table.splitlines()[2:] == ["| 09h | CD-R | wodim, Xorriso |", "| 1Bh | DVD+R |  |"]


def test_support_table_replaced_between_markers() -> None:
    """Only what is between the markers changes."""
    text = f"before\n{support_table.BEGIN}\nold\n{support_table.END}\nafter\n"

    found = support_table.replace_table(text, "new")

    assert found == f"before\n{support_table.BEGIN}\nnew\n{support_table.END}\nafter\n"
    assert support_table.replace_table(found, "new") == found


@pytest.mark.parametrize(
    "text",
    [
        "no markers",
        support_table.BEGIN,
        f"{support_table.END}{support_table.BEGIN}",
        f"{support_table.BEGIN}{support_table.BEGIN}{support_table.END}",
    ],
)
def test_support_table_markers_missing(text: str) -> None:
    """A text without one pair of markers is refused, not guessed at."""
    with pytest.raises(support_table.MarkersMissing):
        support_table.replace_table(text, "new")


def test_support_table_check_and_write(tmp_path: Path) -> None:
    """--check tells an old table, --write mends it, then --check is content."""
    readme = tmp_path / "README.md"
    readme.write_text(f"# x\n{support_table.BEGIN}\nold\n{support_table.END}\n")

    results = [
        support_table.main(["--check", str(readme)]),
        support_table.main(["--write", str(readme)]),
        support_table.main(["--check", str(readme)]),
    ]

    assert results == [1, 0, 0]
    assert "| 12h |  | INQUIRY |" in readme.read_text()


def test_support_table_check_without_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file without markers, or no file, is exit code 2 and a message."""
    readme = tmp_path / "README.md"
    readme.write_text("# x\n")

    assert support_table.main(["--check", str(readme)]) == 2
    assert support_table.BEGIN in capsys.readouterr().err
    assert support_table.main(["--check", str(tmp_path / "nothing")]) == 2


def test_support_table_readme_is_up_to_date() -> None:
    """The README and the document of optical drives say what is declared and recorded, no more and no less."""
    assert support_table.main(["--check", str(README)]) == 0
    assert support_table.main(["--check", str(ROOT / "docs" / "optical.md")]) == 0
