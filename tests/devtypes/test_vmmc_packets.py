"""Links between packets: where they are, what fixed packets take, and that a disc keeps them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_vmmc_recording import Burner
from vmmc_bench import BLOCK, image

from devtypes.vmmc.disc import DiscUnusable
from devtypes.vmmc.disc_format import decode, encode, stored_size
from devtypes.vmmc.packets import LINK, fitting, link_after, link_block, spread_to
from devtypes.vmmc.profiles import KINDS
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.app.main import main
from scsiemu.io_requests import Read


@given(st.lists(st.integers(1, 40), max_size=8), st.integers(0, 400))
def test_link_blocks_are_where_no_packet_is(lengths: list[int], lba: int) -> None:
    """An address is in a packet or in the seven blocks behind one; each of those has its own block indicator."""
    links, kinds = [], []
    for length in lengths:
        links.append(len(kinds) + length)
        kinds += [None] * length + [7, 6, 5, 4, 3, 2, 1]
    expected = kinds[lba] if lba < len(kinds) else None

    assert link_block(links, lba) == expected
    assert link_after(links, lba, 1000) == min([link for link in links if link > lba], default=1000)


@given(st.integers(0, 100000), st.integers(1, 64))
def test_fixed_packets_fit(blocks: int, packet: int) -> None:
    """As many whole packets as fit with a link behind each, and not one more."""
    count = fitting(blocks, packet)

    assert count % packet == 0
    assert spread_to(count, packet) <= blocks < spread_to(count + packet, packet)


def test_an_ordinary_cd_rw_in_fixed_packets() -> None:
    """The 359847 blocks of a CD-RW have room for 9226 packets of 32 blocks: 590464 kB, as drives tell."""
    assert fitting(359847, 32) * 2 == 590464


def test_links_are_kept() -> None:
    """A drive that gets the disc later reads the packets, refuses the links, and goes on behind them."""
    store = open_store(size=stored_size(KINDS["cd-r"], 20000))
    burner = Burner("cd-r", store=store)
    burner.parameters(write_type=0, multi_session=3)
    for lba in (0, 17, 34):
        assert burner.write(lba, image(10)) is None
        burner.sync()
    assert burner.write(51, image(1)) is None           # of a packet that is never ended
    again = Burner("cd-r", store=store)
    again.parameters(write_type=0, multi_session=3)

    assert again.track(1)["next"] == 44 + LINK
    assert again.drive.loaded.tracks[0].links == [10, 27]
    assert again.write(51, image(10)) is None
    assert again.close(1, 1) is None
    assert again.close(2) is None
    assert again.data("READ(10)", lba=34, transfer_length=10) == image(10)
    assert again.do("READ(10)", lba=44, transfer_length=1).code == asc.ILLEGAL_MODE_FOR_THIS_TRACK


@pytest.mark.parametrize(("name", "value"), [("links", [0]), ("links", [6]), ("links", [4, -1]), ("gap", 17)])
def test_state_with_impossible_links(name: str, value: object) -> None:
    """A state whose links are behind what is recorded, or do not ascend, is no disc."""
    burner = Burner("cd-r")
    burner.parameters(write_type=0)
    burner.write(0, image(12))
    burner.sync()
    state = json.loads(encode(burner.drive.loaded))
    state["tracks"][0][name] = value

    with pytest.raises(DiscUnusable):
        decode(json.dumps(state).encode(), 1 << 40)


def test_packets_of_form_1() -> None:
    """Run-out of a mode 2 track is a sector of form 1 with the block indicator."""
    burner = Burner("cd-r")
    burner.parameters(write_type=0, data_block_type=10, multi_session=3)
    burner.write(0, image(10))
    burner.sync()
    burner.write(17, image(10))
    burner.close(1, 1)
    burner.close(2)
    sector = burner.data("READ CD", lba=10, transfer_length=1, sync=1, header_codes=3, user_data=1, edc_ecc=1)

    assert (len(sector), sector[15], sector[24:2072]) == (2352, 7 << 5 | 2, bytes(BLOCK))


def test_linking_loss_is_kept_until_it_is_used() -> None:
    """The block that a DVD-R will lose is known to the drive that has the disc next."""
    store = open_store(size=stored_size(KINDS["dvd-r"], 4096))
    burner = Burner("dvd-r", store=store)
    burner.parameters(write_type=0, bufe=0)
    burner.write(0, image(16))
    burner.sync()
    again = Burner("dvd-r", store=store)

    assert again.track(1)["next"] == 32
    assert again.write(32, image(16)) is None
    again.sync()
    assert again.data("READ(10)", lba=16, transfer_length=32) == bytes(16 * BLOCK) + image(16)


def test_a_packet_that_power_ended_is_linked() -> None:
    """A packet that was saved while it was written, and never ended: the next one is behind a link."""
    store = open_store(size=stored_size(KINDS["cd-r"], 20000))
    burner = Burner("cd-r", store=store)
    burner.parameters(write_type=0)
    assert burner.do("RESERVE TRACK", size=400).good
    assert burner.write(0, image(10)) is None
    assert burner.do("RESERVE TRACK", size=400).good
    again = Burner("cd-r", store=store)

    assert again.track(1)["next"] == 10 + LINK


def test_a_disc_with_links_becomes_an_image(tmp_path: Path) -> None:
    """`scsiemu media` puts zeros where link blocks are, whatever the store has there from before."""
    size = stored_size(KINDS["cd-rw"], 2000)
    store = open_store(size=size)
    burner = Burner("cd-rw", store=store)
    assert burner.write(0, b"\xff" * 40 * BLOCK) is None
    assert burner.do("BLANK", type=1).good
    burner.parameters(write_type=0)
    for lba in (0, 17):
        assert burner.write(lba, image(10)) is None
        burner.sync()
    assert burner.close(1, 1) is None
    assert burner.close(2) is None
    (tmp_path / "p.disc").write_bytes(store.submit(Read(0, size), None))  # type: ignore[arg-type]  # no ticket
    assert main(["media", "convert", str(tmp_path / "p.disc"), str(tmp_path / "p.iso")]) == 0

    assert (tmp_path / "p.iso").read_bytes() == image(10) + bytes(LINK * BLOCK) + image(10)
