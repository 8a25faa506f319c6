"""CDs judged by programs that make sectors and sub-channels themselves, and by those that read and work a drive."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from optical_jobs import FRAMES, LOG, WODIM, Run, wave_file, waves

from devtypes.vmmc.sector import RAW_SIZE, mode_1_sector, mode_2_sector, xa_sector

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]

TOOLS = (
    "wodim", "readom", "cdrdao", "cd-info", "icedax", "eject", "setcd", "cd-discid", "iso-read", "genisoimage",
    "sg_start", "cd-paranoia", "cdrskin",
)
DAO = "cdrdao write -n --device /dev/sg0 --driver generic-mmc"
RAW_READ = "rm -f o.bin; cdrdao read-cd --read-raw --device /dev/sg0 --datafile o.bin o.toc > log 2>&1 || cat log"
INFO = "cd-info --no-cddb --no-device-info -C /dev/sr0 2> /dev/null"
SECTORS = 320

TOCS = {
    "mode1": 'CD_ROM\nTRACK MODE1\nDATAFILE "data"\n',
    "form1": 'CD_ROM_XA\nTRACK MODE2_FORM1\nDATAFILE "data"\n',
    "form2": 'CD_ROM_XA\nTRACK MODE2_FORM2\nDATAFILE "form2"\n',
    "mix": 'CD_ROM_XA\nTRACK MODE2_FORM_MIX\nDATAFILE "mix"\n',
    "mode2": 'CD_ROM_XA\nTRACK MODE2\nDATAFILE "mode2"\n',
    "mixed": 'CD_ROM\nTRACK MODE1\nDATAFILE "data"\nTRACK AUDIO\nPREGAP 0:2:0\nFILE "one.wav" 0\n',
    "text": """CD_DA
CATALOG "1234567890123"
CD_TEXT { LANGUAGE_MAP { 0 : EN } LANGUAGE 0 { TITLE "A disc" PERFORMER "Nobody" } }
TRACK AUDIO
ISRC "DEABC1234567"
CD_TEXT { LANGUAGE 0 { TITLE "One" PERFORMER "First" } }
FILE "one.wav" 0
TRACK AUDIO
COPY
PRE_EMPHASIS
CD_TEXT { LANGUAGE 0 { TITLE "Two" PERFORMER "Second" } }
PREGAP 00:02:00
FILE "two.wav" 0
""",
}


@pytest.fixture(scope="module")
def material(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of each kind of sector, two pieces of sound, tables of contents for cdrdao."""
    for tool in TOOLS:
        require_tool(tool)
    folder = tmp_path_factory.mktemp("material")
    drawn = random.Random(6)
    sizes = {"data": 2048, "form2": 2324, "mix": 2336, "mode2": 2336}
    blocks = {name: [drawn.randbytes(size) for _ in range(SECTORS)] for name, size in sizes.items()}
    for lba, block in enumerate(blocks["mix"]):
        blocks["mix"][lba] = bytes((0, 0, 0x20 if lba % 3 else 8, 0)) * 2 + block[8:]
    blocks["data"][:4] = [bytes(2048)] * 4
    for name, each in blocks.items():
        (folder / name).write_bytes(b"".join(each))
    for name, toc in TOCS.items():
        (folder / f"{name}.toc").write_text(toc)
    sound = waves(2 * SECTORS)
    for name, part in (("one", sound[: len(sound) // 2]), ("two", sound[len(sound) // 2 :])):
        wave_file(folder / f"{name}.wav", part)
    return folder


# --- what a program makes itself, and what the drive makes ----------------------------------------------------------


def test_sectors_of_wodim(on_drives: Run, tmp_path: Path) -> None:
    """wodim makes whole sectors and P to W with its own EDC, ECC and Q in RAW; with a cue sheet the drive makes them.

    `readom -clone` reads both: every byte is the same, of data and of sound.
    """
    jobs = {}
    for mode in ("raw96r", "sao"):
        for name, what in {"data": "data", "sound": "-audio one.wav two.wav"}.items():
            jobs[f"{name}-{mode}"] = (
                "cd-r", f"{WODIM} -{mode} {what} {LOG}; readom dev=/dev/sg0 -clone f=o.bin {LOG}"
            )
    assert on_drives(jobs) == {name: [] for name in jobs}
    read = {name: (tmp_path / name / "o.bin").read_bytes() for name in jobs}

    assert len(read["data-sao"]) == SECTORS * (RAW_SIZE + 96)
    assert len(read["sound-sao"]) >= 2 * SECTORS * (RAW_SIZE + 96)
    assert read["data-raw96r"] == read["data-sao"]
    assert read["sound-raw96r"] == read["sound-sao"]
    data = (tmp_path / "data-sao" / "data").read_bytes()
    for lba in range(SECTORS):
        sector = read["data-raw96r"][lba * (RAW_SIZE + 96) :][:RAW_SIZE]
        assert sector == mode_1_sector(lba, data[lba * 2048 : (lba + 1) * 2048])


def test_sectors_of_cdrdao(on_drives: Run, tmp_path: Path) -> None:
    """cdrdao makes every kind of sector with its own EDC and ECC in RAW; with a cue sheet the drive makes them."""
    kinds = ("mode1", "form1", "form2", "mix", "mode2", "mixed")
    jobs = {
        f"{kind}{raw}": ("cd-r", f"{DAO}{raw} {kind}.toc {LOG}; {RAW_READ}") for kind in kinds for raw in ("", "-raw")
    }
    assert on_drives(jobs) == {name: [] for name in jobs}
    read = {name: (tmp_path / name / "o.bin").read_bytes() for name in jobs}

    for kind in kinds:
        assert read[kind] == read[f"{kind}-raw"], kind
    assert read["mode2"] == (tmp_path / "mode2" / "mode2").read_bytes()
    sources = {"mode1": ("data", 2048), "form1": ("data", 2048), "form2": ("form2", 2324), "mix": ("mix", 2336)}
    for kind, (name, size) in sources.items():
        source = (tmp_path / kind / name).read_bytes()
        assert len(read[kind]) >= SECTORS * RAW_SIZE
        for lba in range(SECTORS):
            block = source[lba * size : (lba + 1) * size]
            if kind == "mode1":
                made = mode_1_sector(lba, block)
            else:
                head = b"" if kind == "mix" else bytes((0, 0, 0x20 if kind == "form2" else 0, 0)) * 2
                made = xa_sector(lba, head + block)
            assert read[kind][lba * RAW_SIZE : (lba + 1) * RAW_SIZE] == made, (kind, lba)
    assert mode_2_sector(0, read["mode2"][:2336])[16:] == read["mode2"][:2336]


# --- what is on a disc ----------------------------------------------------------------------------------------------


def test_cdrdao_text_and_codes(on_drives: Run, tmp_path: Path) -> None:
    """CD-TEXT, catalogue number, ISRC, the pause before a track and its flags: burnt by cdrdao, told by it again, by
    cd-info and by icedax; cd-discid has the times. What was burnt is ripped by icedax and cd-paranoia as it was."""
    found = on_drives({"text": ("cd-rw", f"""
{DAO}:0x10 text.toc {LOG}
cdrdao read-toc --device /dev/sr0 o.toc > log 2>&1 || cat log
grep -v -e '^$' -e '^//' -e SIZE_INFO -e '  0,' -e '0}}' o.toc; echo ---
{INFO} | grep -e TITLE -e PERF -e MCN -e ISRC -e 'audio  '; echo ---
icedax -D /dev/sg0 -J -H -v titles,catalog,trackid 2>&1 | grep -e CD-Text -e title -e number -e ISRC:; echo ---
cd-discid /dev/sr0; cd-discid --musicbrainz /dev/sr0; setcd -i /dev/sr0 | tail -2
for t in 1 2; do icedax -D /dev/sg0 -H -t $t -x -q r$t.wav > log 2>&1 || cat log; done
for t in 1 2; do cd-paranoia -q -d /dev/sr0 $t p$t.wav 2> log || cat log; done
"""), "raw": ("cd-r", f"""
{DAO}-raw text.toc {LOG}
{INFO} | grep -e MCN -e ISRC -e 'audio  '
""")})
    toc, info, sound, rest = [part.split("\n") for part in "\n".join(found["text"]).split("\n---\n")]

    assert toc == [
        "CD_DA", 'CATALOG "1234567890123"', "CD_TEXT {", "LANGUAGE_MAP {", "0: 9", "}", "LANGUAGE 0 {",
        'TITLE "A disc"', 'PERFORMER "Nobody"', "}", "}",
        "TRACK AUDIO", "NO COPY", "NO PRE_EMPHASIS", "TWO_CHANNEL_AUDIO", 'ISRC "DEABC1234567"', "CD_TEXT {",
        "LANGUAGE 0 {", 'TITLE "One"', 'PERFORMER "First"', "}", "}", 'FILE "data.wav" 0 00:04:20',
        "TRACK AUDIO", "COPY", "PRE_EMPHASIS", "TWO_CHANNEL_AUDIO", "CD_TEXT {", "LANGUAGE 0 {", 'TITLE "Two"',
        'PERFORMER "Second"', "}", "}", 'FILE "data.wav" 00:04:20 00:06:20', "START 00:02:00",
    ]
    # "Green" is what libcdio makes of the copy bit.
    tracks = [
        "1: 00:02:00  000000 audio  false  no    2        no", "2: 00:08:20  000470 audio  true   yes   2        yes",
    ]
    codes = ["Media Catalog Number (MCN): 1234567890123", "TRACK  1 ISRC: DEABC1234567"]
    assert info == [
        *tracks, *codes, "TITLE: A disc", "PERFORMER: Nobody", "TITLE: One", "PERFORMER: First", "TITLE: Two",
        "PERFORMER: Second",
    ]
    assert found["raw"] == [*tracks, *codes]
    assert sound[0] == "CD-Text: detected"
    assert any("'A disc'" in line and "Nobody" in line for line in sound)
    assert any(line.endswith("1234567890123") for line in sound)
    assert any(line.endswith("DE-ABC-12-34567") for line in sound)
    # Frames of the tracks and seconds of the lead-out, by the CDDB and by the MusicBrainz rule.
    assert rest == [
        "0a000a02 2 150 620 12", "2 150 620 940", "2 Tracks, 1--2", "Total playing time 0 minutes and 12 seconds",
    ]
    for number, name in ((1, "one"), (2, "two")):
        want = (tmp_path / "text" / f"{name}.wav").read_bytes()[44:]
        for program in ("r", "p"):
            assert (tmp_path / "text" / f"{program}{number}.wav").read_bytes()[44:][: len(want)] == want
    assert len(want) == SECTORS * FRAMES * 4


def test_cdrdao_disc_info(on_drives: Run) -> None:
    """What cdrdao says of a blank disc, of one that another session can follow, and after blanking."""
    ask = "cdrdao disk-info --device /dev/sg0 2> /dev/null | grep -e RW -e empty -e Sess -e Last -e App -e Toc -e Total"
    blank = [
        "CD-RW                : yes", "Total Capacity       : 79:57:72 (359847 blocks, 702/807 MB)",
        "CD-R empty           : yes",
    ]
    assert on_drives({"info": ("cd-rw", f"""
{ask}; cdrdao msinfo --device /dev/sg0 2> /dev/null
{DAO} --multi form1.toc {LOG}; {ask}; cdrdao msinfo --device /dev/sg0 2> /dev/null
cdrdao blank --blank-mode full --device /dev/sg0 {LOG}; {ask}
{DAO} mode1.toc {LOG}; {ask} | tail -n +3
""")}) == {"info": [
        *blank,
        "CD-RW                : yes", "Total Capacity       : 79:57:72 (359847 blocks, 702/807 MB)",
        "CD-R empty           : no", "Toc Type             : CD-ROM XA", "Sessions             : 1",
        "Last Track           : 1", "Appendable           : yes", "0,11870",
        *blank,
        "CD-R empty           : no", "Toc Type             : CD-DA or CD-ROM", "Sessions             : 1",
        "Last Track           : 1", "Appendable           : no",
    ]}


def test_readers_of_data(on_drives: Run) -> None:
    """readom copies a disc block by block, iso-read takes a file out of it, both as it was."""
    assert on_drives({"read": ("cd-r", f"""
mkdir files; cp form2 files; genisoimage -quiet -R -o one.iso files; {WODIM} -tao one.iso {LOG}
readom dev=/dev/sg0 f=copy.iso {LOG}; cmp -n $(stat -c %s one.iso) one.iso copy.iso && echo copied
iso-read -i /dev/sr0 -e /FORM2.\\;1 -o taken > log 2>&1 || iso-read -i /dev/sr0 -e form2 -o taken {LOG}
cmp taken form2 && echo taken
cdrdao read-cd --device /dev/sg0 --datafile o.bin o.toc {LOG}; grep -c MODE1 o.toc
cmp -n $(stat -c %s one.iso) one.iso o.bin && echo read
""")}) == {"read": ["copied", "taken", "1", "read"]}


def test_atip_and_capabilities(on_drives: Run) -> None:
    """What wodim and cdrskin make of ATIP, page 2Ah and feature 37h, of a CD-R and a CD-RW; then of a burnt disc."""
    ask = f"""
wodim dev=/dev/sg0 -atip 2> /dev/null | grep -e erasable -e 'lead out:' -e Manufacturer:
cdrskin dev=/dev/sr0 -v -atip 2> /dev/null | grep -e '1T speed' -e 'Product Id'
wodim dev=/dev/sg0 -prcap 2> /dev/null | grep -e 'fixed-packet' -e ' C2 ' -e 'Loading mech' -e 'Write speed # 4'
wodim dev=/dev/sg0 -prcap 2> /dev/null | grep -c 'Does write .*CD-RW media'
{WODIM} -tao data {LOG}
wodim dev=/dev/sg0 -toc 2> /dev/null | grep -e track: -e first:; {INFO} | grep 'data   false'
cdrskin dev=/dev/sr0 -minfo 2> /dev/null | grep -e '^disk status' -e '^number of' -e ' 1 Data'
"""
    both = [
        "ATIP start of lead out: 359847 (79:59/72)", "Manufacturer: CMC Magnetics Corporation",
        "1T speed low:  4 1T speed high: 48", "Product Id:    97m26s66f/79m59s72f",
        "Does read fixed-packet CD media using Method 2", "Does support C2 error pointers",
        "Loading mechanism type: tray", "Write speed # 4:   706 kB/s CLV/PCAV (CD   4x, DVD  0x)", "5",
        "first: 1 last 1", "track:   1 lba:         0 (        0) 00:02:00 adr: 1 control: 4 mode: 1",
        "track:lout lba:       320 (     1280) 00:06:20 adr: 1 control: 4 mode: -1",
        "1: 00:02:00  000000 data   false  no", "disk status:              complete", "number of sessions:       1",
        "1     1 Data   0          319        320",
    ]
    assert on_drives({"r": ("cd-r", ask), "rw": ("cd-rw", ask)}) == {
        "r": ["Is not erasable", *both], "rw": ["Is erasable", *both],
    }


# --- working the drive ----------------------------------------------------------------------------------------------


def test_eject_and_setcd(on_drives: Run) -> None:
    """eject and setcd open and close the tray, lock it and set the speed; each sees what the other has done."""
    look = "setcd -i /dev/sr0 | tail -n +2 | head -1"
    assert on_drives({"tray": ("cd-rw", f"""
{WODIM} -tao data {LOG}
{look}
eject -v /dev/sr0 | tail -1; {look}
eject -t /dev/sr0; {look}
eject -T /dev/sr0; {look}; eject -T /dev/sr0; {look}
eject -r /dev/sr0; {look}; eject -t /dev/sr0
eject -s /dev/sr0; {look}; eject -t /dev/sr0
eject -X /dev/sr0; setcd -x 8 /dev/sr0 | tail -1; eject -x 16 /dev/sr0 && echo speed
eject -i 1 /dev/sr0; sg_start -v --eject /dev/sg0 2>&1 | grep -o 'Medium removal prevented'; {look}
eject -i 0 /dev/sr0; sg_start --eject /dev/sg0; {look}
""")}) == {"tray": [
        "Disc found in drive: data disc type 1",
        "eject: CD-ROM eject command succeeded", "CD tray is open",
        "Disc found in drive: data disc type 1",
        "CD tray is open", "Disc found in drive: data disc type 1",
        "CD tray is open", "CD tray is open",
        "47", "Speed set at 1200 KB/s (8x)", "speed",
        "eject: CD-Drive may NOT be ejected with device button", "Medium removal prevented",
        "Disc found in drive: data disc type 1", "eject: CD-Drive may be ejected with device button", "CD tray is open",
    ]}
