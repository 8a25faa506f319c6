"""Tape images: our own and those of others, read and written."""

from __future__ import annotations

import bz2
import contextlib
import struct
import zlib
from typing import Any

import pytest
from crc32c import crc32c
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vt_store import perform

from devtypes.vt.images import TapeBlock, TapeMark, TapePartition
from devtypes.vt.images.aws import AWS, HET
from devtypes.vt.images.lzo import LzoError, decompress
from devtypes.vt.images.mhvtl import MHVTL
from devtypes.vt.images.native import TAPE
from devtypes.vt.images.simh import SIMH
from devtypes.vt.images.tgt import TGT
from iohandlers._shelf import Shelf
from iohandlers.memory import open_store
from scsiemu.errors import IoFailed
from scsiemu.io_requests import Read, Write
from scsiemu.media_formats import Damage, MediaFormat
from scsiemu.unit_options import UnitArgument

# A tape as a list of blocks and None for filemarks, ints for further partitions.
Tape = list[Any]

PIECES = st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=300)), max_size=20)
WRITERS = {"tape": TAPE, "simh": SIMH, "aws": AWS, "het": HET}


def argument(**options: Any) -> UnitArgument:
    """Options of a format."""
    return UnitArgument("A00001L8", options)


def image_of(form: MediaFormat, tape: Tape, **options: Any) -> Any:
    """A store with a tape in a format."""
    given_options = argument(**options)
    store = open_store(size=form.size(given_options, 0))
    assert form.write is not None
    writer = perform(form.write(store.capabilities, given_options), store)
    for each in tape:
        piece = TapeMark() if each is None else TapePartition(each) if isinstance(each, int) else TapeBlock(each)
        perform(writer.put(piece), store)
    perform(writer.finish(), store)
    return store


def read_pieces(form: MediaFormat, store: Any, **options: Any) -> list[Any]:
    """All pieces of an image."""
    assert form.read is not None
    reader = perform(form.read(store.capabilities, argument(**options)), store)
    pieces = []
    while (piece := perform(reader.next(), store)) is not None:
        pieces.append(piece)
        assert reader.done <= reader.total
    return pieces


def tape_of(form: MediaFormat, store: Any, **options: Any) -> Tape:
    """What an image holds. Nothing of it is damaged."""
    tape: Tape = []
    for piece in read_pieces(form, store, **options):
        if isinstance(piece, TapeBlock):
            tape.append(bytes(piece.data))
        else:
            assert isinstance(piece, TapeMark | TapePartition)
            tape.append(None if isinstance(piece, TapeMark) else piece.number)
    return tape


def bytes_of(store: Any) -> bytes:
    """All bytes of a store."""
    return bytes(perform(iter(Read(0, store.capabilities.size)), store))


def store_of(data: bytes) -> Any:
    """A store with these bytes."""
    store = open_store(size=len(data))
    perform(iter(Write(0, len(data), data)), store)
    return store


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=40, deadline=None)
@given(tape=PIECES)
def test_image_round_trip(name: str, tape: Tape) -> None:
    """What is written is read, block by block."""
    if not tape and WRITERS[name] in (AWS, HET):
        return      # an image without a byte
    assert tape_of(WRITERS[name], image_of(WRITERS[name], tape)) == tape


@pytest.mark.parametrize("name", ["simh", "aws", "het"])
@pytest.mark.parametrize("size", [65535, 65536, 131070, 131071, 300001])
def test_image_large_blocks(name: str, size: int) -> None:
    """Blocks that are larger than a chunk of AWS, and larger than what is read at once."""
    tape = [bytes(size), b"x", bytes(range(256)) * (size // 256), None]

    assert tape_of(WRITERS[name], image_of(WRITERS[name], tape)) == tape


@pytest.mark.parametrize("name", ["simh", "aws", "het"])
def test_image_cut_short(name: str) -> None:
    """A cut image gives what came before, then an error that says where it ends, or a shorter tape."""
    form = WRITERS[name]
    tape = [b"abc", None, b"0123456789" * 20, b"z", None, None]
    whole = bytes_of(image_of(form, tape))
    for length in range(1, len(whole)):
        pieces: list[Any] = []
        with contextlib.suppress(IoFailed):
            pieces = read_pieces(form, store_of(whole[:length]))
        got = [bytes(each.data) if isinstance(each, TapeBlock) else None for each in pieces]
        assert got == tape[: len(got)]
        if length == len(whole) - 1:
            assert not got      # it ends within its last record


@pytest.mark.parametrize("form", [TAPE, SIMH, AWS, HET, TGT], ids=["tape", "simh", "aws", "het", "tgt"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_image_hostile(form: MediaFormat, data: st.DataObject) -> None:
    """Whatever the bytes are, a reader ends, with IoFailed or without."""
    if form.write is not None and data.draw(st.booleans()):
        image = bytearray(bytes_of(image_of(form, [b"block" * 9, None, b"other"], **_small(form))))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(image) - 1) if form is not TAPE else st.integers(131072, 131500))
            image[at] = data.draw(st.integers(0, 255))
    else:
        image = bytearray(data.draw(st.binary(min_size=1, max_size=400)))
    with contextlib.suppress(IoFailed):
        read_pieces(form, store_of(bytes(image)))


def _small(form: MediaFormat) -> dict[str, int]:
    return {"size": 1 << 16} if form is TAPE else {}


# --- SIMH, byte by byte ------------------------------------------------------------------------------------------


def word(number: int) -> bytes:
    """A word of SIMH."""
    return number.to_bytes(4, "little")


def test_simh_bytes() -> None:
    """Records are padded to even length; the end of medium closes the image."""
    image = bytes_of(image_of(SIMH, [b"abc", None, b"de"]))

    assert image == (
        word(3) + b"abc\0" + word(3) + word(0) + word(2) + b"de" + word(2) + b"\xff\xff\xff\xff"
    )


def test_simh_gaps_and_end() -> None:
    """Erase gaps are passed over, and what is behind the end of medium is not of the tape."""
    image = word(0xFFFFFFFE) + word(2) + b"ab" + word(2) + word(0xFFFFFFFE) + word(0) + word(0xFFFFFFFF) + b"junk"

    assert tape_of(SIMH, store_of(image)) == [b"ab", None]


def test_simh_without_padding() -> None:
    """E11's images have no padding."""
    assert tape_of(SIMH, store_of(word(3) + b"abc" + word(3) + word(0))) == [b"abc", None]


def test_simh_record_with_error() -> None:
    """A record that was read with an error is damage, and reading goes on behind it."""
    bad = word(0x80000002) + b"ab" + word(0x80000002)

    first, second = read_pieces(SIMH, store_of(bad + word(2) + b"ok" + word(2)))
    assert isinstance(first, Damage)
    assert "object 0" in first.text
    assert bytes(second.data) == b"ok"


@pytest.mark.parametrize(("image", "why"), [
    (word(2) + b"ab" + word(4), "another length"), (word(0x12000002), "no record length"), (b"\1\0", "within a record"),
])
def test_simh_refused(image: bytes, why: str) -> None:
    """What is no image is one sentence."""
    with pytest.raises(IoFailed, match=why):
        read_pieces(SIMH, store_of(image))


# --- AWS and HET -------------------------------------------------------------------------------------------------


def test_aws_bytes() -> None:
    """A header of six bytes before each block, with the length of the one before."""
    assert bytes_of(image_of(AWS, [b"abc", None])) == b"\3\0\0\0\xa0\0abc" + b"\0\0\3\0\x40\0"


def _het(flags: int, more: int, data: bytes, *, chunk: int = 65535) -> bytes:
    """A block as Hercules leaves it: compressed first, then cut into chunks."""
    image, before = b"", 0
    for at in range(0, len(data), chunk):
        piece = data[at : at + chunk]
        ends = (0x80 if at == 0 else 0) | (0x20 if at + chunk >= len(data) else 0)
        image += struct.pack("<HHBB", len(piece), before, ends | flags, more) + piece
        before = len(piece)
    return image


@pytest.mark.parametrize("chunk", [65535, 30])
@pytest.mark.parametrize(
    ("flags", "more", "compress"), [(1, 0, zlib.compress), (2, 0, bz2.compress), (0, 0x80, zlib.compress)],
    ids=["zlib", "bzip2", "Bus-Tech"],
)
def test_het_compressed(flags: int, more: int, compress: Any, chunk: int) -> None:
    """A compressed block, in one chunk or in several."""
    data = bytes(range(256)) * 4

    assert tape_of(HET, store_of(_het(flags, more, compress(data), chunk=chunk))) == [data]


def test_het_bytes() -> None:
    """The method is in the first byte of flags; what does not become smaller is kept as it is."""
    packed = zlib.compress(bytes(500), 4)

    assert bytes_of(image_of(HET, [bytes(500), b"abc"])) == (
        struct.pack("<HHBB", len(packed), 0, 0xA1, 0) + packed + struct.pack("<HHBB", 3, len(packed), 0xA0, 0) + b"abc"
    )


def test_het_bomb() -> None:
    """A block that would become longer than a block can be is refused."""
    image = _het(1, 0, zlib.compress(bytes(1 << 24)))

    with pytest.raises(IoFailed, match="longer than"):
        read_pieces(HET, store_of(image))


@pytest.mark.parametrize(("flags", "more"), [(3, 0), (1, 0x80), (0, 0x01)])
def test_het_unknown_method(flags: int, more: int) -> None:
    """A method that nobody has is refused."""
    with pytest.raises(IoFailed, match="unknown method"):
        read_pieces(HET, store_of(_het(flags, more, zlib.compress(b"x"))))


# --- tgt ---------------------------------------------------------------------------------------------------------


def tgt_image(tape: Tape) -> bytes:
    """An image as tgt leaves it."""
    memory = struct.pack(">I4xQQ", 2, 0, 5 << 20).ljust(900, b"\0")
    first = 48 + len(memory)
    image = struct.pack(">4xIIIQQQQ", 0, 5, 0x10, 0, 0, 0, first) + memory
    before = 0
    for number, each in enumerate(tape):
        here, data = len(image), each or b""
        kind = 0x40 if each is None else 0x02
        image += struct.pack(
            ">4xIIIQQQQ", len(data), len(data), kind, number, before, here, here + 48 + len(data)
        ) + data
        before = here
    return image + struct.pack(">4xIIIQQQQ", 0, 0, 0x20, len(tape), before, len(image), len(image))


def test_tgt_read() -> None:
    """Blocks and filemarks of a linked list, up to its end of data."""
    tape = [b"first", None, b"x" * 1000, b"y", None, None]

    assert TGT.recognise(tgt_image(tape)[:4096], 4096)
    assert tape_of(TGT, store_of(tgt_image(tape))) == tape


def test_tgt_damaged_link() -> None:
    """A header that does not follow on the one before ends the reading."""
    image = bytearray(tgt_image([b"first", b"second"]))
    image[948 + 48 + 5 + 24 + 7] ^= 1       # "before" of the second block

    with pytest.raises(IoFailed, match="not where it says"):
        read_pieces(TGT, store_of(bytes(image)))


# --- mhvtl -------------------------------------------------------------------------------------------------------


def mhvtl_store(records: list[tuple[int, int, bytes, bytes]]) -> Any:
    """A cartridge of mhvtl: type, flags, block, and how it is stored."""
    index, data = b"", b""
    for number, (kind, flags, block, stored) in enumerate(records):
        checksum = crc32c(block) if flags & 8 else 0
        record = struct.pack("<q6I", len(data), kind, flags, number, len(block), len(stored), checksum)
        index += record.ljust(512, b"\0")
        data += stored
    files = {"indx": index, "data": data, "meta": bytes(512)}
    return Shelf({name: store_of(each) if each else open_store(size=0) for name, each in files.items()}).drive()


LZO = (
    bytes.fromhex(
        "0573637369656d75202000181c000012303132333435363738396162636465666768696a6b6c6d6e6f70717273747576777879"
        "7a20278d000020fb00000f000000000000000000000000000000656e64110000"
    ),
    b"scsiemu " * 40 + b"0123456789abcdefghijklmnopqrstuvwxyz" * 3 + bytes(300) + b"end",
)


def test_mhvtl_read() -> None:
    """Blocks as they are, of zlib and of LZO, with their checksums; filemarks."""
    block = b"block" * 100
    store = mhvtl_store([
        (11, 8, block, block), (3, 0, b"", b""), (11, 9, block, zlib.compress(block)), (11, 12, LZO[1], LZO[0]),
        (11, 2, b"called encrypted", b"called encrypted"), (3, 0, b"", b""),
    ])

    assert tape_of(MHVTL, store) == [block, None, block, LZO[1], b"called encrypted", None]


def test_mhvtl_many_records() -> None:
    """More records than are read at once."""
    blocks = [number.to_bytes(4, "big") for number in range(5000)]

    assert tape_of(MHVTL, mhvtl_store([(11, 0, block, block) for block in blocks])) == blocks


def test_mhvtl_damage() -> None:
    """A wrong checksum, data that cannot be decompressed, an impossible record: each is damage, the rest is read."""
    store = mhvtl_store([(11, 1, b"abc", b"nonsense"), (77, 0, b"", b""), (11, 0, b"good", b"good")])

    bad, strange, good = read_pieces(MHVTL, store)
    assert isinstance(bad, Damage)
    assert isinstance(strange, Damage)
    assert bytes(good.data) == b"good"


@pytest.mark.parametrize(("stream", "plain"), [
    LZO,
    (bytes.fromhex("1271110000"), b"q"),
    (bytes.fromhex("037879787978792000000000000000000000000000000000000000000000005214000b"
                   "7879787978797879787978797879110000"), b"xy" * 3000),
])
def test_lzo_vectors(stream: bytes, plain: bytes) -> None:
    """Streams that liblzo2 made."""
    assert decompress(stream, len(plain)) == plain
    with pytest.raises(LzoError, match="too long"):
        decompress(stream, len(plain) - 1)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_lzo_hostile(stream: bytes) -> None:
    """Whatever comes, nothing longer than asked for goes out."""
    with contextlib.suppress(LzoError):
        assert len(decompress(stream, 1000)) <= 1000


# --- our own -----------------------------------------------------------------------------------------------------


def test_native_partitions() -> None:
    """Further partitions are pieces of their own; one alone can be read."""
    tape = [b"a", None, 1, b"b", b"c"]
    store = image_of(TAPE, tape, partitions=(1, 1), size=1 << 20)

    assert tape_of(TAPE, store) == tape
    assert tape_of(TAPE, store, partition=1) == [b"b", b"c"]
    with pytest.raises(IoFailed, match="no partition 2"):
        read_pieces(TAPE, store, partition=2)


def test_native_full() -> None:
    """A cartridge that is too small says what to do."""
    with pytest.raises(IoFailed, match="size=SIZE"):
        image_of(TAPE, [bytes(10000)] * 20, size=1 << 16)


def test_native_damage_is_passed_over() -> None:
    """A block whose data is damaged is told of; those behind it are read."""
    store = image_of(TAPE, [b"first", b"second", b"third"], size=1 << 16)
    at = bytes_of(store).index(b"second")
    perform(iter(Write(at, 1, b"S")), store)

    first, second, third = read_pieces(TAPE, store)
    assert (bytes(first.data), bytes(third.data)) == (b"first", b"third")
    assert isinstance(second, Damage)
    assert "object 1" in second.text


@pytest.mark.parametrize("form", [SIMH, AWS], ids=["simh", "aws"])
def test_foreign_without_partitions(form: MediaFormat) -> None:
    """Formats without partitions refuse them and say what to do."""
    with pytest.raises(IoFailed, match="partition=NUMBER"):
        image_of(form, [b"a", 1, b"b"])
