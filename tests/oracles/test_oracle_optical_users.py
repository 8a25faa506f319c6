"""Programs that use discs: DVD-Video, copies of what can be read, UDF, and other options of burning programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from dvd_video import program_stream
from optical_jobs import GROW, LOG, WODIM, Run, wave_file, waves

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]

TOOLS = (
    "growisofs", "lsdvd", "dvdbackup", "dvdauthor", "genisoimage", "ddrescue", "safecopy", "mkudffs", "udfinfo",
    "udflabel", "wrudf", "cdrwtool", "dvd+rw-format", "dvd-ram-control", "wodim", "cdrskin", "icedax", "abcde",
)
TITLES = """<dvdauthor><vmgm/><titleset><titles><video format="pal" aspect="4:3"/><pgc>
<vob file="video.mpg" chapters="0,0:10"/></pgc></titles></titleset></dvdauthor>
"""
RIP = "CDDBMETHOD=cdtext\nINTERACTIVE=n\nOUTPUTTYPE=wav\nPADTRACKS=n\n"


@pytest.fixture(scope="module")
def material(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of a DVD-Video, that of a file, and sound."""
    for tool in TOOLS:
        require_tool(tool)
    folder = tmp_path_factory.mktemp("material")
    (folder / "video.mpg").write_bytes(program_stream(60))
    (folder / "titles.xml").write_text(TITLES)
    (folder / "file").write_bytes(b"".join(b"%d\n" % at for at in range(40000)))
    (folder / "abcde.conf").write_text(RIP)
    for command in (
        "dvdauthor -o dvd -x titles.xml", "genisoimage -quiet -dvd-video -V FILM -o dvd.iso dvd",
        "genisoimage -quiet -o one.iso file",
    ):
        subprocess.run(
            command.split(), cwd=folder, check=True, capture_output=True, env={**os.environ, "VIDEO_FORMAT": "PAL"},
        )
    sound = waves(640)
    for name, part in (("one", sound[: len(sound) // 2]), ("two", sound[len(sound) // 2 :])):
        wave_file(folder / f"{name}.wav", part)
    return folder


def test_dvd_video(on_drives: Run) -> None:
    """lsdvd finds the title of a burnt DVD-Video and dvdbackup copies it; ddrescue and safecopy copy every block."""
    script = f"""
$BURN {LOG}
lsdvd -x /dev/sr0 2> /dev/null | grep -e '^Disc' -e '^Title' -e VTS: -e Chapter:
dvdbackup -i /dev/sr0 -o copy -M -n film > log 2>&1 || cat log
diff -r copy/film/VIDEO_TS dvd/VIDEO_TS && echo titles
ddrescue -q -b 2048 -n /dev/sr0 rescued map && cmp -n $(stat -c %s dvd.iso) rescued dvd.iso && tail -1 map
safecopy /dev/sr0 safe > log 2>&1 || cat log; cmp -n $(stat -c %s dvd.iso) safe dvd.iso && grep Unrec log
"""
    burn = f"{GROW} -dvd-compat -Z /dev/sr0=dvd.iso"
    found = on_drives({
        medium: (medium, script.replace("$BURN", burn)) for medium in ("dvd-r", "dvd+r", "dvd-rw")
    })

    for medium, lines in found.items():
        assert lines[:-1] == [
            "Disc Title: FILM",
            "Title: 01, Length: 00:00:28.800 Chapters: 02, Cells: 02, Audio streams: 00, Subpictures: 00",
            "VTS: 01, TTN: 01, FPS: 25.00, Format: PAL, Aspect ratio: 4/3, Width: 720, Height: 576, DF: ?",
            "Chapter: 01, Length: 00:00:10.080, Start Cell: 01", "Chapter: 02, Length: 00:00:18.720, Start Cell: 02",
            "titles", "0x00000000  0x00128000  +",
        ], medium
        assert lines[-1] == "Unrecoverable bad blocks (bytes): 0 (0)"


def test_copies_of_a_disc_with_bad_blocks(on_drives: Run) -> None:
    """ddrescue and safecopy copy all but the block that cannot be read, and tell which: safecopy tries it by CDROM_*
    ioctls, too, where the disc is a CD."""
    bad = "faulty=fail read offset=1048576..1050623"            # of the disc's file: one block
    copy = """
ddrescue -q -b 2048 /dev/sr0 rescued map; grep '0x.*-$' map
safecopy $LOW -b 2048 -r 2048 -f 2048 -R 1 /dev/sr0 safe > log 2>&1; grep Unrec log
truncate -s $(stat -c %s dvd.iso) rescued safe; cmp rescued safe && echo alike
[ $(cmp -l rescued dvd.iso | wc -l) -le 2048 ] && echo the others
"""
    found = on_drives({
        "cd-r": (f"cd-r,{bad}", f"{WODIM} -sao -nopad dvd.iso {LOG}\n{copy.replace('$LOW', '')}"),
        "dvd-r": (f"dvd-r,{bad}", f"{GROW} -Z /dev/sr0=dvd.iso {LOG}\n{copy.replace('$LOW', '-L 0')}"),
    })

    assert {name: [line for line in lines if "as the rule says" not in line] for name, lines in found.items()} == {
        name: [f"{at}  0x00000800  -", "Unrecoverable bad blocks (bytes): 1 (2048)", "alike", "the others"]
        for name, at in {"cd-r": "0x00035000", "dvd-r": "0x00080000"}.items()
    }


def test_udf(on_drives: Run) -> None:
    """mkudffs makes file systems of UDF on media that are written anywhere, udflabel renames them; wrudf fills that of
    a CD-RW with files and folders."""
    new = "mkudffs --media-type={} --label=One /dev/sr0 > log 2>&1 || cat log\n"
    again = f"udflabel /dev/sr0 Two {LOG}; udflabel /dev/sr0; udfinfo /dev/sr0 | grep -e ^blocks= -e integ\n"
    prepare = f"dvd+rw-format -force /dev/sr0 {LOG}\n"
    files = "y\\ncp file file\\nmkdir folder\\nlsc\\nquit\\n"
    assert on_drives({
        "dvd-ram": ("dvd-ram", new.format("dvdram") + again),
        "dvd+rw": ("dvd+rw", prepare + new.format("dvdrw") + again),
        "bd-re": ("bd-re", prepare + new.format("hd") + again),
        "cd-rw": ("cd-rw", f"""
cdrwtool -d /dev/sr0 -q {LOG}
udfinfo /dev/sr0 | grep ^num
printf '{files}' | wrudf /dev/sr0 > log 2>&1 || cat log; grep -o 'Wrote dir.*' log
udfinfo /dev/sr0 | grep -e ^num -e integ
printf 'y\\ncp /dev/null x\\nrm file\\nquit\\n' | wrudf /dev/sr0 > log 2>&1 || cat log
udfinfo /dev/sr0 | grep -e ^num -e integ
"""),
    }) == {
        "dvd-ram": ["Two", "blocks=2295072", "integrity=closed"],
        "dvd+rw": ["Two", "blocks=2295104", "integrity=closed"],
        "bd-re": ["Two", "blocks=11826176", "integrity=closed"],
        "cd-rw": [
            "numfiles=1", "numdirs=1", "Wrote dir folder", "Wrote dir", "numfiles=2", "numdirs=2", "integrity=closed",
            "numfiles=1", "numdirs=2", "integrity=closed",
        ],
    }


def test_dvd_ram_control(on_drives: Run) -> None:
    """dvd-ram-control protects a DVD-RAM persistently: nothing is written until it takes that off again."""
    write = "dd if=file of=/dev/sr0 bs=2048 count=16 conv=notrunc,fsync > log 2>&1 && echo written || echo refused\n"
    state = "dvd+rw-mediainfo /dev/sr0 2> /dev/null | grep -o 'Protection is.*'\n"
    on, off = "dvd-ram-control -rdonly /dev/sr0\n", "dvd-ram-control -rdwr /dev/sr0\n"

    assert on_drives({"dvd-ram": ("dvd-ram", f"{off}{on}{state}{write}{on}{off}{state}{write}")}) == {"dvd-ram": [
        "The disc is unprotected already.", "Persistent Write Protection is on", "Protection is on", "refused",
        "The disc is write protected already.", "Persistent Write Protection is off", "Protection is off", "written",
    ]}


def test_options_of_wodim_and_cdrskin(on_drives: Run) -> None:
    """Both find the drive by several names, tell ATIP and contents, write as much as the image says, and blank.
    A session that wodim has opened again it closes again."""
    names = """
for name in /dev/sr0 /dev/sg0 ATA:/dev/sr0 0,0,0; do wodim dev=$name -checkdrive > log 2>&1 || cat log; done
for name in /dev/sr0 0,0,0; do cdrskin dev=$name -checkdrive > log 2>&1 || cat log; done
wodim -scanbus 2> log | grep -c "'SCSIEMU ' 'VIRTUAL"; cdrskin -scanbus 2> log | grep -c "'SCSIEMU ' 'VIRTUAL"
wodim --devices 2> log | grep -c VIRTUAL; cdrskin --devices 2> log | grep -o /dev/sr0
"""
    burn = f"""
$HOW -atip 2> /dev/null | grep 'ATIP start'
$HOW -multi -tao -pad padsize=20s speed=4 one.iso {LOG}
$HOW -msinfo 2> /dev/null
$HOW -multi -tao -isosize speed=16 one.iso > log 2>&1 || grep -o 'Cannot get isosize.*' log
$HOW -tao -isosize one.iso {LOG}
$HOW -toc 2> /dev/null | grep track: | cut -c-20
cmp -n $(stat -c %s one.iso) /dev/sr0 one.iso && echo same
$HOW blank=all {LOG}
$HOW -toc 2> /dev/null | grep -c track:
"""
    blank = f"""
{WODIM} -multi -tao one.iso {LOG}; {WODIM} -multi -tao one.iso {LOG}
for how in session unclose; do
    {WODIM} blank=$how {LOG}
    wodim dev=/dev/sg0 -toc 2> /dev/null | grep -c track:
    cdrskin dev=/dev/sr0 -minfo 2> /dev/null | grep -o 'status: .*'
done
{WODIM} -multi -fix {LOG}; wodim dev=/dev/sg0 -toc 2> /dev/null | grep -c track:
"""
    atip = "ATIP start of lead in:  -11634 (97:26/66)", "ATIP start of lead out: 359847 (79:59/72)"
    assert on_drives({
        "names": ("cd-r", names), "wodim": ("cd-rw", burn.replace("$HOW", WODIM)),
        "cdrskin": ("cd-rw", burn.replace("$HOW", "cdrskin dev=/dev/sr0")), "blank": ("cd-rw", blank),
    }) == {
        "names": ["1", "1", "1", "/dev/sr0"],
        "wodim": [
            *atip, "0,11706", "Cannot get isosize for multi session disks.", "track:   1 lba:", "track:   2 lba:",
            "track:lout lba:", "same", "0",
        ],
        "cdrskin": [
            *atip, "0,11720", "track:   1 lba:", "track:   2 lba:", "track:lout lba:", "track:   3 lba:",
            "track:lout lba:", "same", "0",
        ],
        "blank": [
            "2", "status:              incomplete/appendable", "status:           empty",
            "0", "2",
        ],
    }


def test_sound_is_ripped_as_wave_files(on_drives: Run) -> None:
    """icedax makes a file of each track, and so does abcde, which asks several programs."""
    found = on_drives({"cd": ("cd-r", f"""
{WODIM} -sao -audio one.wav two.wav {LOG}
icedax -D /dev/sr0 -B -H -q > log 2>&1 || cat log
for n in 1 2; do [ $n = 1 ] && was=one || was=two; cmp audio_0$n.wav $was.wav && echo $was; done
mkdir home; HOME=$PWD/home; export HOME
abcde -c abcde.conf -d /dev/sr0 -N -n -a read,encode > log 2>&1 || cat log
for n in 1 2; do [ $n = 1 ] && was=one || was=two; cmp abcde.*/track$n.wav $was.wav && echo $was by abcde; done
""")})
    assert found == {"cd": ["one", "two", "one by abcde", "two by abcde"]}
