"""Exceptions to a rule have a reason beside them, and modules stay small."""

from __future__ import annotations

import re
import tokenize
from pathlib import Path

import pytest
from architecture_sources import ROOT

FOLDERS = ("scsiemu", "devtypes", "iohandlers", "transports", "tests", "fuzz", "bench", "examples")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
LIMIT = 600

# Pure data, as their docstrings say.
DATA_TABLES = frozenset({"scsiemu/asc.py", "scsiemu/asc_table.py"})

EXCEPTION = re.compile(r"#\s*(type:\s*ignore|noqa)(?P<codes>\[[\w, -]+\]|:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?(?P<rest>.*)")
BARE_SKIP = re.compile(
    r"pytest\.skip\(\s*\)|pytest\.mark\.(skip|xfail)(?!\w)(?!\(.*reason)|mark\.skipif\((?!.*reason)"
)


def comments(path: Path) -> dict[int, str]:
    """Comments by line."""
    with path.open("rb") as file:
        return {
            token.start[0]: token.string
            for token in tokenize.tokenize(file.readline)
            if token.type == tokenize.COMMENT
        }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_architecture_exceptions_have_a_reason(path: Path) -> None:
    """`type: ignore` and `noqa` name their code, and a reason: on the line, in a comment line above, or on
    the line above that has the same exception."""
    found = comments(path)
    lines = path.read_text(encoding="utf-8").split("\n")
    reasoned: set[int] = set()
    wrong = []
    for number, comment in sorted(found.items()):
        match = EXCEPTION.search(comment)
        if match is None:
            continue
        above = lines[number - 2].strip() if number > 1 else ""
        has_reason = bool(re.search(r"\w{2}", match["rest"])) or above.startswith("#") or number - 1 in reasoned
        if has_reason:
            reasoned.add(number)
        if not match["codes"] or not has_reason:
            wrong.append(f"{number}: {comment}")

    assert wrong == []


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.parts[len(ROOT.parts)] == "tests"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_architecture_skips_have_a_reason(path: Path) -> None:
    """A test that is skipped, or expected to fail, says why."""
    wrong = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
        if BARE_SKIP.search(line) and "re.compile" not in line and not line.lstrip().startswith('r"')
    ]

    assert wrong == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_architecture_modules_are_small(path: Path) -> None:
    """No module has more than 600 lines, but for pure data tables."""
    length = len(path.read_text(encoding="utf-8").split("\n")) - 1

    assert length <= LIMIT or str(path.relative_to(ROOT)) in DATA_TABLES


def test_architecture_no_stubs() -> None:
    """Nothing in the product is left to be written."""
    wanted = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        if path.parts[len(ROOT.parts)] != "tests"
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
        if wanted.search(line)
    ]

    assert found == []
