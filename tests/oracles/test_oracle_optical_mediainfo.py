"""dvd+rw-mediainfo on every DVD and BD, blank and burnt: what it prints of one is what it prints of a real one.

Capacities are those that media have (single and dual layer, with and without spare area); that the book type of every
DVD is 00h, and what it makes of POW resources (it asks for another data type than it means), is so with real drives,
too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from optical_jobs import GROW, LOG, Run

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]

BLOCKS = 480                    # of the image: whole ECC blocks of DVD and of BD
CAPACITIES = {
    "dvd-r": 2298496, "dvd-rw": 2298496, "dvd-r-dl": 4171712, "dvd-ram": 2295072, "dvd+rw": 2295104, "dvd+r": 2295104,
    "dvd+r-dl": 4173824, "bd-r": 12219392, "bd-re": 12219392,
}
WITH_SPARE = 11826176           # of a BD with the default spare area
WITH_LEAST_SPARE = 12088320     # and with the smallest
NAMES = {
    "dvd-r": "11h, DVD-R Sequential", "dvd-rw": "14h, DVD-RW Sequential",
    "dvd-r-dl": "15h, DVD-R Dual Layer Sequential",
    "dvd-ram": "12h, DVD-RAM", "dvd+rw": "1Ah, DVD+RW", "dvd+r": "1Bh, DVD+R", "dvd+r-dl": "2Bh, DVD+R Double Layer",
    "bd-r": "41h, BD-R SRM", "bd-re": "43h, BD-RE",
}
# Blocks between a first session and the next one: lead-out and intro, or border-out and border-in.
GAPS = {"dvd-r": 28672, "dvd-rw": 28672, "dvd+r": 2048, "dvd+r-dl": 2048}
PLUS_R = ("dvd+r", "dvd+r-dl")
INCREMENTAL = ("dvd-r", "dvd-rw", "dvd-r-dl", "bd-r")
SEQUENTIAL = ("dvd-r", "dvd-rw", "dvd+r", "dvd+r-dl")
# Current descriptor and format types of blank media.
FORMATS = {
    "dvd-rw": (("unformatted", 2298496), ("00h(800)", 2298496), ("10h(10)", 2298496), ("15h(10)", 2298496)),
    "dvd+rw": (("unformatted", 2295104), ("00h(0)", 2295104), ("26h(0)", 2295104)),
    "bd-r": (("unformatted", 12219392), ("00h(3000)", WITH_SPARE), ("32h(0)", WITH_SPARE), ("32h(0)", 5796864),
             ("32h(0)", WITH_LEAST_SPARE)),
    "bd-re": (("unformatted", 12219392), ("00h(3000)", WITH_SPARE), ("30h(0)", WITH_SPARE), ("30h(0)", 5796864),
              ("30h(0)", WITH_LEAST_SPARE), ("31h(800)", 12219392)),
}
ASK = """
dvd+rw-mediainfo /dev/sr0 2>&1 |
    grep -v -e 'Write Speed' -e 'Speed Desc' -e 'Write Perf' -e ^INQ -e ^GET -e 'Media ID' -e ^READ.DVD -e '^$' |
    sed 's/[ \\t][ \\t]*/ /g'
"""

Lines = list[str]


@pytest.fixture(scope="module")
def material(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image."""
    for tool in ("dvd+rw-mediainfo", "growisofs", "xorriso"):
        require_tool(tool)
    folder = tmp_path_factory.mktemp("material")
    (folder / "image").write_bytes(b"".join(number.to_bytes(4, "big") * 512 for number in range(BLOCKS)))
    return folder


def size(blocks: int) -> str:
    """So many blocks as the program has them."""
    return f"{blocks}*2048={blocks * 2048}"


def blank_track(start: int, blocks: int, medium: str, *, number: int = 1) -> Lines:
    """A track that takes data."""
    return [
        f"READ TRACK INFORMATION[#{number}]:",
        f"Track State: {'invisible incremental' if medium in INCREMENTAL else 'blank'}",
        f"Track Start Address: {start}*2KB", f"Next Writable Address: {start}*2KB", f"Free Blocks: {blocks}*2KB",
        f"Track Size: {blocks}*2KB", *([f"ROM Compatibility LBA: {start}"] if medium in PLUS_R else []),
    ]


def written_track(blocks: int, medium: str = "", *, last: bool = True) -> Lines:
    """A track that takes none."""
    state = "complete incremental" if medium in INCREMENTAL else "complete"
    return [
        "READ TRACK INFORMATION[#1]:", f"Track State: {'partial/complete' if medium in PLUS_R else state}",
        "Track Start Address: 0*2KB", "Free Blocks: 0*2KB", f"Track Size: {blocks}*2KB",
        *([f"Last Recorded Address: {blocks - 1}*2KB"] if last else []),
    ]


def disc(status: str, sessions: int, state: str, tracks: int, following: int | None = None) -> Lines:
    """READ DISC INFORMATION."""
    return [
        "READ DISC INFORMATION:", f"Disc status: {status}", f"Number of Sessions: {sessions}",
        f"State of Last Session: {state}", *([f'"Next" Track: {following}'] if following else []),
        f"Number of Tracks: {tracks}",
    ]


def toc(lead_out: int) -> Lines:
    """One track, and the capacity."""
    return [
        "FABRICATED TOC:", "Track#1 : 14@0", f"Track#AA : 14@{lead_out}", "Multi-session Info: #1@0",
        f"READ CAPACITY: {size(lead_out)}",
    ]


def without(lines: Lines, *patterns: str) -> Lines:
    """The lines that none of these begins."""
    return [line for line in lines if not any(re.match(pattern, line) for pattern in patterns)]


def test_mediainfo_of_blank_media(on_drives: Run) -> None:
    """Blank: one empty session with one track, of all the room that there is. DVD-RAM comes formatted."""
    found = on_drives({medium: (medium, ASK) for medium in CAPACITIES})

    for medium, capacity in CAPACITIES.items():
        lines = found[medium]
        assert f"Mounted Media: {NAMES[medium]}" in lines
        formats = [line.split(": ") for line in lines if re.match(r"([0-9A-Fa-f]+h\(|(un)?formatted:)", line)]
        bare = without(
            lines, "Mounted", "Media Book", "Legacy", "Last border", r"[0-9A-F]+h\(", "(un)?formatted:", "READ FORMAT",
            "DVD-RAM", "Primary", "Supplementary", "Persistent", r"DVD\+R DOUBLE", "L0 Data",
        )
        if medium == "dvd-ram":
            assert bare == [*disc("other", 1, "complete", 1, 1), *toc(capacity)]
            assert formats == [
                ["formatted", size(capacity)], ["00h(800)", size(2236704)], ["00h(800)", size(capacity)],
                ["01h(800)", size(capacity - 9728)], ["01h(800)", size(capacity - 2 * 9728)],
            ]
            assert {"Primary SA: 12800/12800=100.0% free", "Persistent Write Protection is off"} <= set(lines)
            continue
        assert bare == [
            *disc("blank", 1, "empty", 1, 1), *blank_track(0, capacity, medium),
            f"READ CAPACITY: {size(0)}",
        ], medium
        assert formats == [[name, size(blocks)] for name, blocks in FORMATS.get(medium, ())], medium
        if medium in ("dvd+r-dl", "dvd-r-dl"):
            assert f"Legacy lead-out at: {capacity // 2}*2KB={capacity // 2 * 2048}" in lines


def test_mediainfo_of_burnt_media(on_drives: Run) -> None:
    """Burnt by growisofs: a session and the room for the next one, or one that has all of the disc."""
    burn = f"{GROW} -Z /dev/sr0=image {LOG}\n{ASK}"
    media = [medium for medium in CAPACITIES if medium != "dvd-r-dl"]
    found = on_drives({medium: (medium, burn) for medium in media})

    for medium in media:
        capacity = CAPACITIES[medium]
        lines = without(
            found[medium], "Mounted", "Media Book", "Legacy", "Last border", r"[0-9A-F]+h\(", "READ FORMAT", "DVD-RAM",
            "Primary", "Supplementary", "Persistent", r"DVD\+R DOUBLE", "formatted:", "BD SPARE", "Spare Area",
            "POW RES", "Remaining",
        )
        if medium in SEQUENTIAL:
            begin = BLOCKS + GAPS[medium]
            assert lines == [
                *(line for line in [f"L0 Data Zone Capacity: {capacity // 2}*2KB, can no longer be set"]
                  if medium == "dvd+r-dl"),
                *disc("appendable", 2, "empty", 2, 2),
                *written_track(BLOCKS, medium), *blank_track(begin, capacity - begin, medium, number=2), *toc(BLOCKS),
            ], medium
        elif medium == "bd-r":              # with pseudo-overwrite the session stays open
            assert "Mounted Media: 41h, BD-R SRM+POW" in found[medium]
            assert "Spare Area: 131072/131072=100.0% free" in found[medium]
            assert "Remaining Replacements:16843296" in found[medium]
            assert "READ FORMAT CAPACITIES:" not in found[medium]
            assert lines == [
                *disc("appendable", 1, "incomplete", 2, 1), *written_track(BLOCKS, medium),
                *blank_track(BLOCKS, WITH_LEAST_SPARE - BLOCKS, medium, number=2), *toc(WITH_LEAST_SPARE),
            ]
        else:
            whole = WITH_LEAST_SPARE if medium == "bd-re" else capacity
            assert f"formatted: {size(whole)}" in found[medium]
            status = disc("other", 1, "complete", 1, 1) if medium == "dvd-ram" else disc("complete", 1, "complete", 1)
            assert lines == [
                *status, *(["BG Format Status: complete"] if medium == "dvd+rw" else []),
                *(written_track(whole, last=False) if medium != "dvd-ram" else []), *toc(whole),
            ], medium


def test_mediainfo_of_a_closed_dual_layer_disc(on_drives: Run) -> None:
    """xorriso has burnt a DVD-R DL at once: complete, one track of as much as was burnt."""
    burn = f"xorriso -dev /dev/sr0 -close on -map image /image -commit_eject none > log 2>&1 || cat log\n{ASK}"
    lines = on_drives({"dl": ("dvd-r-dl", burn)})["dl"]
    capacity = int(next(line for line in lines if line.startswith("READ CAPACITY: ")).split()[2].split("*")[0])

    assert capacity > BLOCKS
    assert capacity % 16 == 0
    assert lines[-14:] == [
        *disc("complete", 1, "complete", 1)[1:], *written_track(capacity), *toc(capacity),
    ][-14:]


def test_mediainfo_of_media_with_defects(on_drives: Run) -> None:
    """growisofs and xorriso write over blocks that cannot be written: they notice nothing, what they wrote is read,
    and there is a cluster less to spare. Without spare area they fail."""
    bad = "faulty=fail write offset=700000..700100"
    burn = """
growisofs -use-the-force-luke=notray -Z /dev/sr0=image > log 2>&1 || echo failed
dvd+rw-mediainfo /dev/sr0 2> log | grep -e 'Spare Area:' -e ' SA:' | sed 's/  */ /'
cmp -n $(stat -c %s image) image /dev/sr0 2>&1 && echo same
"""
    over = "xorriso -as cdrecord dev=/dev/sr0 image > log 2>&1 || echo failed" + burn[burn.index("\ndvd+rw"):]
    found = on_drives({
        "ram": (f"dvd-ram,{bad}", f"dvd+rw-format -force=full /dev/sr0 > log 2>&1 || cat log\n{burn}"),
        "ram-x": (f"dvd-ram,{bad}", over), "bd": (f"bd-re,{bad}", burn),
        "bare": (f"bd-re,{bad}", f"dvd+rw-format -ssa=none /dev/sr0 > log 2>&1 || cat log\n{burn.partition('dvd')[0]}"),
    })
    lines = {name: [" ".join(line.split()) for line in each] for name, each in found.items()}

    assert lines["ram"] == [
        "Primary SA: 12784/12800=99.9% free", "Supplementary SA: 58368/58368=100.0% free", "same",
    ]
    assert lines["ram-x"] == ["Primary SA: 12784/12800=99.9% free", "Supplementary SA: 0/0=-nan% free", "same"]
    assert lines["bd"] == ["Spare Area: 131040/131072=100.0% free", "same"]
    assert lines["bare"][-1] == "failed"
