"""Unit values of the command line: sizes, options, and what stores and disks they ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtypes.vd.options import DISK
from scsiemu.io_requests import StoreCapabilities
from scsiemu.unit_options import (
    StoreSpec,
    UnitDeclaration,
    UnitOption,
    byte_store,
    parse_number,
    parse_size,
    parse_switch,
    parse_unit,
)

ANY = UnitDeclaration(
    "SIZE|PATH",
    "for tests",
    (
        UnitOption("ro", "a flag"), UnitOption("block", "a number", parse_number, "N"),
        UnitOption("text", "text", str, "T"),
    ),
    lambda argument: (),
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512), ("64M", 64 << 20), ("10G", 10 << 30), ("1T", 1 << 40), ("1k", 1024), ("8GiB", 8 << 30),
        ("4MB", 4 << 20),
    ],
)
def test_unit_size_forms(text: str, size: int) -> None:
    """A size is a number of bytes, or one with a suffix of powers of 1024."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "1.5G", "-1", "64 M", "64MM", "0x10", "1e3", "٣", "64Mi"])
def test_unit_size_refused(text: str) -> None:
    """What is not a size is refused, not guessed at."""
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_unit_options_parsed() -> None:
    """Subject, flags and values are told apart."""
    argument = parse_unit("img.raw,ro,block=4096", ANY)

    assert (argument.subject, dict(argument.options)) == ("img.raw", {"ro": True, "block": 4096})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with SIZE"),
        (",ro", "begins with SIZE"),
        ("1G,", "there is no option ''"),
        ("1G,rw", "there is no option 'rw'; it takes block, ro, text"),
        ("1G,ro=1", "ro takes no value"),
        ("1G,block", "block needs a value: block=N"),
        ("1G,block=big", "block: 'big' is not a number"),
        ("1G,ro,ro", "ro is given twice"),
    ],
)
def test_unit_options_refused(text: str, message: str) -> None:
    """Every wrong value has its own sentence."""
    with pytest.raises(ValueError, match=message):
        parse_unit(text, ANY)


@given(st.text(min_size=1).filter(lambda text: "\0" not in text), st.text())
def test_unit_options_round_trip(subject: str, text: str) -> None:
    """With its commas doubled, any text is a subject or a value."""
    written = f"{subject.replace(',', ',,')},ro,text={text.replace(',', ',,')}"

    argument = parse_unit(written, ANY)

    assert argument.subject == subject
    assert argument.options == {"ro": True, "text": text}


@given(st.text(alphabet="1kMG,=ro-block text./é\0", max_size=40))
def test_unit_options_hostile(text: str) -> None:
    """Any text is either parsed or refused with a ValueError."""
    try:
        argument = parse_unit(text, ANY)
    except ValueError:
        return
    else:
        assert argument.subject


def test_unit_switch() -> None:
    """A switch is on or off."""
    assert (parse_switch("on"), parse_switch("off")) == (True, False)
    with pytest.raises(ValueError, match="neither on nor off"):
        parse_switch("yes")


def store_of(text: str) -> StoreSpec:
    """The store that a disk asks for."""
    (plan,) = DISK.plan(parse_unit(text, DISK))
    assert plan.type == "vd"
    assert plan.store is not None
    return plan.store


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("64M", StoreSpec("memory", {"size": 64 << 20, "read_only": False})),
        ("64M,ro", StoreSpec("memory", {"size": 64 << 20, "read_only": True})),
        ("1T,null", StoreSpec("null", {"size": 1 << 40, "read_only": False})),
        ("1G,limit=1M", StoreSpec("memory", {"size": 1 << 30, "read_only": False, "limit": 1 << 20})),
        ("img.raw", StoreSpec("file", {"path": "img.raw", "read_only": False})),
        ("./64M", StoreSpec("file", {"path": "./64M", "read_only": False})),
        ("a,,b.raw,ro", StoreSpec("file", {"path": "a,b.raw", "read_only": True})),
        (
            "img.raw,size=1G,block=4096,share",
            StoreSpec("file", {"path": "img.raw", "read_only": False, "size": 1 << 30, "share": True}),
        ),
        (
            "img.raw,cow=over",
            StoreSpec(
                "cow", {"path": "over"}, StoreSpec("file", {"path": "img.raw", "read_only": True})
            ),
        ),
        (
            "1M,faulty=fail read nth=3",
            StoreSpec(
                "faulty", {"rules": "fail read nth=3"}, StoreSpec("memory", {"size": 1 << 20, "read_only": False})
            ),
        ),
        # What the user names is what the initiator sees: 8 bytes of protection information come on top of each block.
        ("1M,pi=1", StoreSpec("memory", {"size": (1 << 20) // 512 * 520, "read_only": False})),
        ("1M,pi=3,block=4096", StoreSpec("memory", {"size": 256 * 4104, "read_only": False})),
    ],
)
def test_unit_disk_store(text: str, store: StoreSpec) -> None:
    """Sizes are disks in memory, paths are files; filters come on top."""
    assert store_of(text) == store


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1G,size=2G", "size goes with a file"),
        ("1G,cow=x", "cow goes with a file"),
        ("1G,share", "share goes with a file"),
        ("img,null", "null goes with a size"),
        ("img,limit=1M", "limit goes with a size"),
        ("1G,null,limit=1M", "null has no use beside limit"),
        ("img,cow=x,ro", "ro leaves nothing to do for cow"),
        ("1G,block=1000", "block: 1000 is not one of 512"),
        ("1G,block=0", "block: 0 is not one of"),
        ("100", "less than a block"),
        ("img,size=100", "less than a block"),
        ("1G,pi=4", "protection type 4"),
        ("1G,physical=16", "physical block exponent"),
        ("1G,max-transfer=1", "max-transfer is less than a block"),
        ("1G,vendor=ABCDEFGHI", "at most 8"),
        ("1G,serial=ä", "printable ASCII"),
        ("1G,naa=12", "naa has 8 or 16 bytes"),
        ("1G,naa=xyz", "is not hexadecimal"),
    ],
)
def test_unit_disk_refused(text: str, message: str) -> None:
    """Options that contradict each other, or that no disk can have, are refused before anything is opened."""
    with pytest.raises(ValueError, match=message):
        store_of(text)


def test_unit_disk_made() -> None:
    """The options arrive in the disk and in its identity."""
    text = "1M,block=4096,physical=2,removable,thick,serial=A1,max-transfer=64K,wce=off"
    (plan,) = DISK.plan(parse_unit(text, DISK))

    disk = plan.make(StoreCapabilities(size=1 << 20))

    config = disk.config  # type: ignore[attr-defined]  # a VirtualDisk
    assert (config.block_size, config.capacity, config.physical_exponent) == (4096, 256, 2)
    assert (config.removable, config.thin, config.write_cache, config.max_transfer) == (True, False, False, 16)
    assert disk.identity.serial == "A1"  # type: ignore[attr-defined]  # see above


def test_unit_disk_read_only_store() -> None:
    """A read-only store makes a write-protected disk."""
    (plan,) = DISK.plan(parse_unit("1M,ro", DISK))

    disk = plan.make(StoreCapabilities(size=1 << 20, read_only=True))

    assert disk.config.write_protect  # type: ignore[attr-defined]  # a VirtualDisk


def test_unit_byte_store_default() -> None:
    """Without a function for it, a store has the size that was given."""
    assert byte_store(parse_unit("1M", ANY)).options["size"] == 1 << 20
