"""Burning programs, unmodified, on the node of an optical drive: what they burn is read back and compared.

Which profile is written by which program is recorded beside what they send (checked_by.py).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from optical_jobs import GROW, LOG, READ_BACK, WODIM, Run, needs_nodes, run_script, wave_file, waves

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]

TOOLS = (
    "wodim", "genisoimage", "isoinfo", "cdrskin", "xorriso", "growisofs", "dvd+rw-format", "cdparanoia", "cd-info",
    "sg_get_config", "sdparm", "cdrwtool", "udfinfo",
)
BOTH = """osirrox -indev /dev/sr0 -extract / out > log 2>&1
cmp out/one d-one/one && cmp out/two d-two/two && echo both
"""
NAMES = {
    "cd-r": "CD-R", "cd-rw": "CD-RW", "dvd-r": "DVD-R Sequential", "dvd-rw": "DVD-RW Sequential", "dvd+r": "DVD+R",
    "dvd+r-dl": "DVD+R Double Layer", "dvd-r-dl": "DVD-R Dual Layer Sequential", "dvd+rw": "DVD+RW",
    "dvd-ram": "DVD-RAM", "bd-r": "BD-R SRM", "bd-re": "BD-RE",
}


@pytest.fixture(scope="module")
def material(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders, an image of each, and two pieces of sound."""
    for tool in TOOLS:
        require_tool(tool)
    folder = tmp_path_factory.mktemp("material")
    for name in ("one", "two"):
        (folder / f"d-{name}").mkdir()
        (folder / f"d-{name}" / name).write_bytes(b"".join(b"%s %d\n" % (name.encode(), at) for at in range(60000)))
        subprocess.run(["genisoimage", "-quiet", "-R", "-o", f"{name}.iso", f"d-{name}"], cwd=folder, check=True)
    sound = waves(620)
    for name, part in (("one", sound[: len(sound) // 2]), ("two", sound[len(sound) // 2 :])):
        wave_file(folder / f"{name}.wav", part)
    return folder


# --- CDs -----------------------------------------------------------------------------------------------------------


def test_wodim(on_drives: Run) -> None:
    """Track at once, by a cue sheet, raw: final then, so that burning again fails. CD-RW: blanked and burnt again."""
    once = f"""
{WODIM} $MODE one.iso {LOG}
{READ_BACK}
isoinfo -R -f -i /dev/sr0; wodim dev=/dev/sg0 -toc 2>/dev/null | grep -c track:
{WODIM} $MODE two.iso > log 2>&1 && echo burnt again; {READ_BACK}
"""
    assert on_drives({
        "tao": ("cd-r", "MODE=-tao" + once),
        "sao": ("cd-r", "MODE=-sao" + once),
        "raw": ("cd-r", "MODE=-raw96r" + once),
        "raw16": ("cd-rw", "MODE=-raw16" + once),
        "blank": ("cd-rw", f"""
{WODIM} -tao two.iso {LOG}
{WODIM} -tao one.iso > log 2>&1 && echo burnt again
{WODIM} blank=fast {LOG}
{WODIM} -sao one.iso {LOG}; {READ_BACK}
"""),
        "dummy": ("cd-r", f"""
{WODIM} -dummy -sao one.iso {LOG}; {WODIM} -dummy -tao one.iso {LOG}
wodim dev=/dev/sg0 -msinfo 2>&1 | grep -o 'Cannot read.*'
"""),
    }) == {
        **{name: ["same", "/one", "2", "same"] for name in ("tao", "sao", "raw", "raw16")},
        "blank": ["same"], "dummy": ["Cannot read session offset"],
    }


def test_wodim_beside_other_units(material: Path, tmp_path: Path) -> None:
    """A drive that is not LUN 0 is burnt, too, although wodim writes the LUN into its CDBs."""
    needs_nodes()
    script = f"wodim dev=/dev/sg1 -s gracetime=2 -tao one.iso {LOG}\n{READ_BACK}"
    units = ["--disk", "1M", "--optical", "disc,blank=cd-r"]
    said, _ = run_script(units, script, material, tmp_path).communicate(timeout=100)
    assert said.split() == ["same"]


def test_cdrskin(on_drives: Run) -> None:
    """Two sessions, the second with the first one's files, each track at once; then blanked, and session at once."""
    assert on_drives({"sessions": ("cd-rw", f"""
cdrskin dev=/dev/sr0 -multi -tao one.iso {LOG}
info=$(cdrskin dev=/dev/sr0 -msinfo 2>/dev/null)
genisoimage -quiet -R -C $info -M /dev/sr0 -o next.iso d-two {LOG}
cdrskin dev=/dev/sr0 -tao next.iso {LOG}
{BOTH}
cdrskin dev=/dev/sr0 blank=fast {LOG}
cdrskin dev=/dev/sr0 -sao one.iso {LOG}; {READ_BACK}
"""), "cd-r": ("cd-r", f"""
cdrskin dev=/dev/sr0 -sao one.iso {LOG}; {READ_BACK}
cdrskin dev=/dev/sr0 -sao one.iso > log 2>&1 && echo burnt again
""")}) == {"sessions": ["both", "same"], "cd-r": ["same"]}


def test_packets(on_drives: Run) -> None:
    """wodim writes packets, of a fixed size too, and a second session of them; cdrwtool formats a CD-RW for UDF."""
    assert on_drives({
        "variable": ("cd-r", f"{WODIM} -packet one.iso {LOG}\n{READ_BACK}"),
        "fixed": ("cd-rw", f"{WODIM} -packet pktsize=16 one.iso {LOG}\n{READ_BACK}"),
        "sessions": ("cd-r", f"""
{WODIM} -packet -multi one.iso {LOG}
genisoimage -quiet -R -C $(wodim dev=/dev/sg0 -msinfo 2>/dev/null) -M /dev/sr0 -o next.iso d-two {LOG}
{WODIM} -packet pktsize=16 next.iso {LOG}
{BOTH}
"""),
        "cdrwtool": ("cd-rw", """
cdrwtool -d /dev/sr0 -q > log 2>&1 || cat log
cdrwtool -d /dev/sr0 -i 2>/dev/null | grep -e packet_size -e track_size
udfinfo /dev/sr0 2>/dev/null | grep -e ^blocks= -e integrity
"""),
    }) == {
        "variable": ["same"], "fixed": ["same"], "sessions": ["both"],
        "cdrwtool": ["packet_size = 32", "track_size = 295232 (590464KB)", "blocks=295232", "integrity=closed"],
    }


def test_audio_is_ripped_bit_exact(on_drives: Run) -> None:
    """Two tracks of sound are burnt; cdparanoia and cd-read get every sample as it was, cd-info finds the tracks.

    With -g cdparanoia uses version 2 of the sg interface.
    """
    rip = """ -audio one.wav two.wav > log 2>&1 || cat log
for n in one two; do
    [ $n = one ] && t=1 || t=2
    cdparanoia -q -d /dev/sr0 $t rip.wav 2> log || cat log
    tail -c +45 $n.wav > want; tail -c +45 rip.wav | cmp -n $(stat -c %s want) - want && echo $n
    cdparanoia -v -g /dev/sg0 $t sg.wav 2> log || cat log
    grep -q 'not testing for SG_IO' log && cmp rip.wav sg.wav && echo $n by write and read
done
cd-read --no-header --cdrom-device=/dev/sr0 -m audio -s 5 -e 9 -o raw > log 2>&1
tail -c +45 one.wav | cmp -n 11760 -i 11760:0 - raw && echo sectors
cd-info --no-cddb --no-device-info -C /dev/sr0 2>/dev/null | grep 'audio  false' | cut -d: -f1
"""
    assert on_drives({
        "wodim": ("cd-r", f"{WODIM} -sao{rip}"), "raw": ("cd-r", f"{WODIM} -raw96r{rip}"),
        "cdrskin": ("cd-rw", f"cdrskin dev=/dev/sr0 -tao{rip}"),
    }) == {
        name: ["one", "one by write and read", "two", "two by write and read", "sectors", "1", "2"]
        for name in ("wodim", "raw", "cdrskin")
    }


# --- DVDs and BDs --------------------------------------------------------------------------------------------------


def test_growisofs(on_drives: Run) -> None:
    """An image is burnt, a second one is grown onto it, and both files are there; dvd+rw-mediainfo knows the medium."""
    grow = f"""
{GROW} -Z /dev/sr0 -R -quiet d-one {LOG}
{GROW} -M /dev/sr0 -R -quiet d-two {LOG}
{BOTH}
dvd+rw-mediainfo /dev/sr0 2>/dev/null | grep Mounted | cut -d, -f2
"""
    media = ("dvd-r", "dvd-rw", "dvd+r", "dvd+r-dl", "dvd+rw", "dvd-ram", "bd-r", "bd-re")
    assert on_drives({medium: (medium, grow) for medium in media}) == {
        medium: ["both", NAMES[medium] + "+POW" * (medium == "bd-r")] for medium in media
    }


def test_growisofs_splits_layers(material: Path, tmp_path: Path) -> None:
    """Where an image is larger than layer 0 of a DVD+R DL that is to be closed growisofs sets that to half of it."""
    needs_nodes()
    (tmp_path / "disc").touch()
    os.truncate(tmp_path / "disc", (512 << 10) + 896 * 2048)            # twice 448 blocks
    script = f"""
{GROW} -dvd-compat -Z /dev/sr0=one.iso > log 2>&1 || cat log; grep -o 'splitting.*' log
{READ_BACK}
dvd+rw-mediainfo /dev/sr0 2>&1 | grep -o -e 'L0 Data.*' -e 'Disc status.*'
"""
    units = ["--optical", "disc,blank=dvd+r-dl"]
    said, _ = run_script(units, script, material, tmp_path).communicate(timeout=100)
    assert said.splitlines() == [
        "splitting layers at 240 blocks", "same", "L0 Data Zone Capacity: 240*2KB, can no longer be set",
        "Disc status:           complete",
    ]


def test_xorriso(on_drives: Run) -> None:
    """Two sessions on every medium, the second with the first one's files; on a DVD-R DL all in one."""
    two = f"""
xorriso -dev /dev/sr0 -map d-one / -commit_eject none {LOG}
xorriso -dev /dev/sr0 -map d-two / -commit_eject none {LOG}
{BOTH}
"""
    jobs = {medium: (medium, two) for medium in NAMES}
    jobs["dvd-r-dl"] = (
        "dvd-r-dl", f"xorriso -dev /dev/sr0 -close on -map d-one / -map d-two / -commit_eject none {LOG}\n{BOTH}"
    )
    assert on_drives(jobs) == {medium: ["both"] for medium in NAMES}


def test_format_and_overwrite(on_drives: Run) -> None:
    """dvd+rw-format formats; then two programs write from the beginning, one after the other."""
    over = f"""
dvd+rw-format -force /dev/sr0 {LOG}; dvd+rw-mediainfo /dev/sr0 2>/dev/null | grep Mounted | cut -d, -f2
{GROW} -Z /dev/sr0=two.iso {LOG}
xorriso -as cdrecord dev=/dev/sr0 one.iso {LOG}; {READ_BACK}
"""
    media = {
        "dvd+rw": "DVD+RW", "bd-re": "BD-RE", "dvd-rw": "DVD-RW Restricted Overwrite", "dvd-ram": "DVD-RAM",
    }
    assert on_drives({medium: (medium, over) for medium in media} | {
        "blanked": ("dvd-rw", f"""
dvd+rw-format -force /dev/sr0 {LOG}
{GROW} -Z /dev/sr0=two.iso {LOG}
dvd+rw-format -blank /dev/sr0 {LOG}
dvd+rw-mediainfo /dev/sr0 | grep -e Mounted -e 'Disc status'
"""),
        "dd": ("dvd-ram", f"dd if=one.iso of=/dev/sr0 bs=2k conv=fsync 2>/dev/null; {READ_BACK}"),
    }) == {medium: [profile, "same"] for medium, profile in media.items()} | {
        "blanked": ["Mounted Media:         14h, DVD-RW Sequential", "Disc status:           blank"], "dd": ["same"],
    }


def test_dvd_rw_formats(on_drives: Run) -> None:
    """dvd+rw-format makes a DVD-RW one whole border, or a quick one that growisofs and xorriso write into and grow."""
    state = "dvd+rw-mediainfo /dev/sr0 2>/dev/null | grep -e 'status' -e 'State of' | cut -d: -f2\n"
    assert on_drives({
        "full": ("dvd-rw", f"""
dvd+rw-format -force=full /dev/sr0 {LOG}
{state}
{GROW} -Z /dev/sr0=one.iso {LOG}; {READ_BACK}
"""),
        "quick": ("dvd-rw", f"""
dvd+rw-format -force /dev/sr0 {LOG}
{state}
{GROW} -Z /dev/sr0 -R -quiet d-one {LOG}
{state}
{GROW} -M /dev/sr0 -R -quiet d-two {LOG}
{BOTH}
"""),
        "xorriso": ("dvd-rw", f"""
xorriso -outdev /dev/sr0 -format fast {LOG}
{state}
xorriso -dev /dev/sr0 -map d-one / -commit_eject none {LOG}
xorriso -dev /dev/sr0 -map d-two / -commit_eject none {LOG}
{state}{BOTH}
"""),
        "again": ("dvd-rw", f"""
dvd+rw-format -force=full /dev/sr0 {LOG}
{GROW} -Z /dev/sr0=two.iso {LOG}
dvd+rw-format -force /dev/sr0 {LOG}
dvd+rw-format -blank=full /dev/sr0 {LOG}
{state}
{GROW} -Z /dev/sr0=one.iso {LOG}; {READ_BACK}
"""),
    }) == {
        "full": ["complete", "complete", "same"],
        "quick": ["appendable", "incomplete", "complete", "complete", "both"],
        "xorriso": ["complete", "complete", "complete", "complete", "both"], "again": ["blank", "empty", "same"],
    }


# --- what is in the drive ------------------------------------------------------------------------------------------


def test_tools_know_the_medium(on_drives: Run) -> None:
    """sg_get_config, sdparm, wodim, cdrskin and libcdio end well with every blank medium."""
    ask = """
sg_get_config --current /dev/sr0 > log || echo sg_get_config $?; grep -c 'feature' log
for page in rw wp co po ie tp cms; do sdparm --page=$page /dev/sr0 > log || echo $page $?; done
sdparm --command=capacity /dev/sr0 > log || echo capacity $?
wodim dev=/dev/sg0 -checkdrive -prcap > log 2>&1 || cat log; cdrskin dev=/dev/sr0 -v -minfo > log 2>&1 || cat log
cd-drive -i /dev/sr0 > log 2>&1 || cat log; grep -o 'Can read.*CD-R .*: Yes' log | tr -s ' '
"""
    found = on_drives({medium: (medium, ask) for medium in NAMES})

    assert {medium: lines[1:] for medium, lines in found.items()} == {
        medium: ["Can read CD-R : Yes"] for medium in NAMES
    }
    assert all(int(lines[0]) > 12 for lines in found.values())


def test_sg_dd_where_no_burning_program_goes(on_drives: Run) -> None:
    """DVD-R DL with layer jumps, and BD-R in random recording: growisofs and xorriso know these profiles, and do not
    write them, so that mode page and format come from sdparm and sg_raw, blocks from sg_dd, closing from sg_raw."""
    to = "of=/dev/sg0 bs=2048"
    jump = f"""
sdparm --page=wp --set=WR_T=4 /dev/sr0 {LOG}
sg_get_config --current /dev/sr0 2> log | grep 'Current profile'
growisofs -use-the-force-luke=notray -Z /dev/sr0=one.iso 2>&1 | grep -c "doesn't appear to be"
sg_dd if=one.iso {to} bpt=32 count=288 2>&1 | grep -e 'Invalid address' -e seek
sg_dd if=one.iso {to} bpt=16 seek=256 skip=256 count=16 {LOG}
dvd+rw-mediainfo /dev/sr0 | grep -e Writable -e 'Layer Jump:' -e Free
sg_dd if=one.iso {to} bpt=16 seek=272 skip=272 count=$(($(stat -c %s one.iso) / 2048 - 272)) {LOG}
sg_raw -n /dev/sg0 35 00 00 00 00 00 00 00 00 00 {LOG}; sg_raw -n /dev/sg0 5b 00 02 00 00 00 00 00 00 00 {LOG}
dvd+rw-mediainfo /dev/sr0 | grep -e status: -e 'Last Layer'; {READ_BACK}
"""
    random = f"""
printf '\\0\\0\\0\\010\\0\\0\\0\\0\\312\\0\\0\\0' > format; sg_raw -s 12 -i format /dev/sg0 04 11 00 00 00 00 {LOG}
sg_get_config --current /dev/sr0 2> log | grep 'Current profile'
growisofs -use-the-force-luke=notray -Z /dev/sr0=one.iso 2>&1 | grep -c "doesn't appear to be"
sg_dd if=two.iso {to} bpt=32 seek=6400 {LOG}; sg_dd if=one.iso {to} bpt=32 {LOG}
sg_dd if=two.iso {to} bpt=32 count=32 2>&1 | grep -o 'Invalid address for write'
sg_dd if=/dev/sg0 of=found bs=2048 bpt=32 skip=6400 count=$(($(stat -c %s two.iso) / 2048)) {LOG}
cmp found two.iso && echo two; {READ_BACK}
"""
    assert on_drives({"jump": ("dvd-r-dl,size=1114112", jump), "random": ("bd-r", random)}) == {
        "jump": [
            "Current profile: DVD-R dual layer jump recording", "1",
            "Additional sense: Invalid address for write", "sg_write failed, seek=256",
            "Manual Layer Jump:     0*2KB", "Next Writable Address: 272*2KB", "Free Blocks:           272*2KB",
            "Next Layer Jump:       544", "Last Layer Jump:       272",
            "Disc status:           complete", "Last Layer Jump:       272", "same",
        ],
        "random": ["Current profile: BD-R RRM", "1", "Invalid address for write", "two", "same"],
    }
