"""BD-R and DVD-RAM formatted by xorriso as it lists formats, and by growisofs: written, appended to, read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from optical_jobs import GROW, LOG, Run

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]

# MiB by the index of xorriso's list: format 00h, then 32h with default, largest and smallest spare areas.
FORMATS = {0: "23098.0", 1: "23098.0", 2: "11322.0", 3: "23610.0"}
SESSIONS = "".join(
    f"xorriso -dev /dev/sr0 -map d-{name} / -commit_eject none {LOG}\n" for name in ("one", "two", "three")
)
READ = """osirrox -indev /dev/sr0 -extract / out > log 2>&1
for n in one two three; do cmp out/$n d-$n/$n && echo $n; done
"""
LOOK = """dvd+rw-mediainfo /dev/sr0 2>/dev/null |
    grep -e Mounted -e formatted: -e 'Spare Area:' -e 'Disc status' -e Sessions: -e 'READ CAP' | sed 's/  */ /g'
"""
TOC = "xorriso -outdev /dev/sr0 -toc 2>/dev/null | grep -e 'Media status' -e 'ISO session' | sed 's/  */ /g'\n"


@pytest.fixture(scope="module")
def material(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folders."""
    for tool in ("xorriso", "growisofs", "dvd+rw-mediainfo"):
        require_tool(tool)
    folder = tmp_path_factory.mktemp("material")
    for name in ("one", "two", "three"):
        (folder / f"d-{name}").mkdir()
        (folder / f"d-{name}" / name).write_bytes(b"".join(b"%s %d\n" % (name.encode(), at) for at in range(30000)))
    return folder


def test_xorriso_formats_bd_r(on_drives: Run) -> None:
    """As needed, and each format of its list: sequential recording with spare areas, to which three sessions come."""
    listed = "xorriso -outdev /dev/sr0 -list_formats 2>/dev/null | grep 'Format ' | sed 's/ *, */ /g; s/  */ /g'\n"
    jobs = {f"index {number}": f"by_index_{number}" for number in FORMATS} | {"as needed": "as_needed"}
    found = on_drives({
        name: ("bd-r", f"""
{listed}
xorriso -outdev /dev/sr0 -format {how} {LOG}
{listed}{LOOK}{SESSIONS}{READ}{TOC}
""") for name, how in jobs.items()
    })

    for name in jobs:
        megabytes = FORMATS[int(name.split()[1])] if name != "as needed" else FORMATS[0]
        blocks = {"23098.0": 11826176, "11322.0": 5796864, "23610.0": 12088320}[megabytes]
        spare = 12219392 - blocks
        assert found[name] == [
            "Format status: unformatted up to 23866.0 MiB", "Format idx 0 : 00h 11826176s 23098.0 MiB",
            "Format idx 1 : 32h 11826176s 23098.0 MiB", "Format idx 2 : 32h 5796864s 11322.0 MiB",
            "Format idx 3 : 32h 12088320s 23610.0 MiB",
            f"Format status: written with {megabytes} MiB",
            "Mounted Media: 41h, BD-R SRM", f"Spare Area: {spare}/{spare}=100.0% free", "Disc status: blank",
            "Number of Sessions: 1", "READ CAPACITY: 0*2048=0",
            "one", "two", "three", "Media status : is written , is appendable",
            *found[name][-3:],
        ], name
        assert [line.split()[3] for line in found[name][-3:]] == ["1", "2", "3"]


def test_bd_r_without_format_and_closed(on_drives: Run) -> None:
    """Unformatted a BD-R takes sessions as well, all of its room; closed, it takes none, formatted or not."""
    close = f"xorriso -dev /dev/sr0 -close on -map d-three / -commit_eject none {LOG}\n"
    two = SESSIONS.rpartition("xorriso")[0]
    more = "xorriso -dev /dev/sr0 -map d-one /again -commit_eject none > log 2>&1 && echo written on\n"
    found = on_drives({
        "plain": ("bd-r", f"{two}{close}{more}{READ}{LOOK}"),
        "formatted": ("bd-r", f"xorriso -outdev /dev/sr0 -format fast {LOG}\n{two}{close}{more}{READ}{LOOK}"),
    })

    for name, lines in found.items():
        assert lines[:4] == ["one", "two", "three", "Mounted Media: 41h, BD-R SRM"], name
        assert lines[-3:-1] == ["Disc status: complete", "Number of Sessions: 3"], name
    assert any(line.startswith("Spare Area: 393216/") for line in found["formatted"])


def test_growisofs_overwrites_bd_r(on_drives: Run) -> None:
    """growisofs takes the format with the smallest spare areas, and pseudo-overwrite: it writes the descriptors of
    the first session anew, for which spare clusters are taken. All of the user data area can be addressed."""
    grow = "".join(f"{GROW} -{how} /dev/sr0 -R -quiet d-{name} {LOG}\n" for how, name in (
        ("Z", "one"), ("M", "two"), ("M", "three"),
    ))
    found = on_drives({
        "pow": ("bd-r", grow + READ + LOOK),
        "default": ("bd-r", f"{GROW} -Z /dev/sr0 -use-the-force-luke=spare:default -R -quiet d-one {LOG}\n{LOOK}"),
        "none": ("bd-r", f"{GROW} -Z /dev/sr0 -use-the-force-luke=spare:none -R -quiet d-one {LOG}\n{LOOK}"),
    })

    assert found["pow"][:4] == ["one", "two", "three", "Mounted Media: 41h, BD-R SRM+POW"]
    free, _, all_of_it = found["pow"][4].split()[2].partition("=")[0].partition("/")
    assert 0 < int(all_of_it) - int(free) < 2048
    assert found["pow"][5:] == [
        "Disc status: appendable", "Number of Sessions: 1", "READ CAPACITY: 12088320*2048=24756879360",
    ]
    assert "READ CAPACITY: 11826176*2048=24220008448" in found["default"]
    assert found["none"][0] == "Mounted Media: 41h, BD-R SRM"


def test_xorriso_formats_dvd_ram(on_drives: Run) -> None:
    """With and without a supplementary spare area; one that becomes larger leaves what is recorded as it is."""
    state = "dvd+rw-mediainfo /dev/sr0 2>/dev/null | grep -e ' formatted:' -e Supp | sed 's/[ \t][ \t]*/ /g'\n"
    form = "xorriso -outdev /dev/sr0 -format {} " + f"{LOG}\n"
    script = "".join(form.format(how) + state for how in ("full", "by_index_1", "by_index_0"))
    script += SESSIONS + form.format("by_index_2") + form.format("by_index_3") + state
    assert on_drives({"ram": ("dvd-ram", script + READ)}) == {"ram": [
        "Supplementary SA: 58368/58368=100.0% free", "formatted: 2236704*2048=4580769792",
        "Supplementary SA: 0/0=-nan% free", "formatted: 2295072*2048=4700307456",
        "Supplementary SA: 58368/58368=100.0% free", "formatted: 2236704*2048=4580769792",
        "Supplementary SA: 87552/87552=100.0% free", "formatted: 2207520*2048=4521000960",
        "one", "two", "three",
    ]}
