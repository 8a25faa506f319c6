"""Front ends that break the protocol over the socket: their connection ends, and nobody else's."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from vhost_world import READ_ONE, WRITE_ONE, VhostBench, disk_target, ready

from transports.vhost.codes import DescriptorFlags, MessageRequest
from transports.vhost.front_end import FrontEnd, Handle
from transports.vhost.messages import (
    Region,
    RingAddresses,
    RingState,
    encode_message,
    encode_region,
    encode_table,
    encode_u64,
)


@pytest.fixture(scope="module")
def bench() -> Iterator[VhostBench]:
    """A served disk, for all tests of this module."""
    target, store = disk_target()
    with VhostBench((target,), (store,)) as found:
        yield found


def descriptors() -> set[str]:
    """Open descriptors of this process."""
    return set(os.listdir("/proc/self/fd"))


def ended(guest: FrontEnd) -> bool:
    """The device has closed the connection."""
    guest.socket.settimeout(5)
    try:
        return not guest.socket.recv(1)
    except ConnectionResetError:
        return True


def memfd(size: int, *, sealed: bool) -> int:
    """Memory that may be cut, or not."""
    found = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(found, size)
    if sealed:
        fcntl.fcntl(found, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return found


def share(guest: FrontEnd, file: int, region: Region) -> None:
    """Another region."""
    guest.send(encode_message(MessageRequest.ADD_MEM_REG, encode_region(region)), (file,))


FAR = Region(1 << 50, 8192, 1 << 50, 0)

MESSAGES: dict[str, Callable[[FrontEnd], None]] = {
    "an unknown message": lambda guest: guest.send(encode_message(99)),
    "another version": lambda guest: guest.send(struct.pack("<III", 1, 2, 0)),
    "a payload of 4 GiB": lambda guest: guest.send(struct.pack("<III", 1, 1, 0xFFFF_FFFF)),
    "features that there are not": lambda guest: guest.send(
        encode_message(MessageRequest.SET_FEATURES, encode_u64(1 << 34))
    ),
    "a ring beyond": lambda guest: guest.send(
        encode_message(MessageRequest.SET_VRING_ENABLE, RingState(66, 1).encode())
    ),
    "a ring of 3": lambda guest: guest.send(encode_message(MessageRequest.SET_VRING_NUM, RingState(2, 3).encode())),
    "a ring of none": lambda guest: guest.send(encode_message(MessageRequest.SET_VRING_NUM, RingState(2, 0).encode())),
    "no descriptors for memory": lambda guest: guest.send(
        encode_message(MessageRequest.SET_MEM_TABLE, encode_table((FAR,)))
    ),
    "memory that may shrink": lambda guest: share(guest, memfd(8192, sealed=False), FAR),
    "memory that is too short": lambda guest: share(guest, memfd(4096, sealed=True), FAR),
    "a device for memory": lambda guest: share(guest, os.open("/dev/zero", os.O_RDWR), FAR),
    "memory again": lambda guest: guest.send(
        encode_message(MessageRequest.ADD_MEM_REG, encode_region(Region(1 << 32, 4096, 1 << 50, 0))),
        (memfd(8192, sealed=True),),
    ),
    "a kick that is a file": lambda guest: guest.send(
        encode_message(MessageRequest.SET_VRING_KICK, encode_u64(2)), (os.open("/dev/zero", os.O_RDWR),)
    ),
    "a signal that is a pipe": lambda guest: guest.send(
        encode_message(MessageRequest.SET_VRING_CALL, encode_u64(2)), (os.pipe()[1],)
    ),
    "a polled ring": lambda guest: guest.send(encode_message(MessageRequest.SET_VRING_KICK, encode_u64(0x102))),
    "rings outside of memory": lambda guest: guest.send(
        encode_message(MessageRequest.SET_VRING_ADDR, RingAddresses(2, 0, 16, 32, 48, 0).encode())
        + encode_message(MessageRequest.SET_VRING_ENABLE, RingState(2, 1).encode())
    ),
    "another configuration": lambda guest: guest.send(
        encode_message(MessageRequest.SET_CONFIG, struct.pack("<IIII", 0, 4, 0, 999))
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_hostile_message(bench: VhostBench, name: str) -> None:
    """A message that is wrong ends its connection, with a line for the operator; another guest works on."""
    with bench.connect() as other:
        ready(other)
        reports = len(bench.reports)
        guest = bench.connect()
        MESSAGES[name](guest)

        assert ended(guest), name
        bench.call(lambda: None)        # it has come to the end of what it did
        assert len(bench.reports) == reports + 1
        assert other.execute(0, READ_ONE, allocation=512).status == 0
        guest.abandon()


def test_hostile_unknown_message_refused(bench: VhostBench) -> None:
    """An unknown message that wants an acknowledgement gets a refusal instead."""
    with bench.connect() as guest:
        with pytest.raises(OSError, match="refuses message 32"):
            guest.tell(32)
        assert ready(guest).execute(0, READ_ONE, allocation=512).status == 0


CHAINS: dict[str, list[tuple[int, int, int]]] = {
    "outside of memory": [(1, 51, 0), (1 << 32, 108, DescriptorFlags.WRITE)],
    "a request that is too short": [(1 << 32, 50, 0), (1 << 32, 108, DescriptorFlags.WRITE)],
    "no room for the response": [(1 << 32, 51, 0), (1 << 32, 107, DescriptorFlags.WRITE)],
    "nothing to write": [(1 << 32, 51, 0)],
    "nothing to read": [(1 << 32, 108, DescriptorFlags.WRITE)],
    "the wrong way round": [(1 << 32, 108, DescriptorFlags.WRITE), (1 << 32, 51, 0)],
}


@pytest.mark.parametrize("queue", [0, 1, 2], ids=("control", "event", "request"))
@pytest.mark.parametrize("name", CHAINS)
def test_hostile_chain(bench: VhostBench, name: str, queue: int) -> None:
    """A chain that is wrong ends its connection, or harms nobody; another guest works on."""
    with bench.connect() as other:
        ready(other)
        guest = bench.connect()
        guest.queues[queue].add(CHAINS[name], Handle(queue, 0))
        if queue == 2:
            assert ended(guest), name
        assert other.execute(0, WRITE_ONE, bytes(512)).status == 0
        guest.abandon()


def test_hostile_index(bench: VhostBench) -> None:
    """An available index that is far ahead ends the connection."""
    guest = bench.connect()
    ring = guest.queues[2]
    ring.available[1] = 1000
    os.eventfd_write(ring.kick, 1)

    assert ended(guest)
    guest.abandon()


def test_hostile_slow_and_short(bench: VhostBench) -> None:
    """A message byte by byte is a message; half a message and the end is the end."""
    for whole in (True, False):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(bench.path)
            message = encode_message(MessageRequest.GET_QUEUE_NUM)
            for byte in message if whole else message[:5]:
                sock.send(bytes((byte,)))
            if whole:
                assert sock.recv(20) == encode_message(MessageRequest.GET_QUEUE_NUM, encode_u64(66), 4)


def test_hostile_descriptors_are_closed(bench: VhostBench) -> None:
    """Descriptors that came with what does not want them, or with an end, do not stay open."""
    time.sleep(0.05)
    before = descriptors()
    for request in (MessageRequest.GET_FEATURES, MessageRequest.SET_VRING_ERR, 99):
        guest = bench.connect()
        guest.send(encode_message(request, encode_u64(2) if request == MessageRequest.SET_VRING_ERR else b""),
                   (guest.queues[2].call,) * 8)
        guest.socket.close()
        guest.abandon()
        del guest                       # its mappings have descriptors, too
    end = time.monotonic() + 5
    while descriptors() - before and time.monotonic() < end:
        time.sleep(0.01)

    assert descriptors() - before == set()


def test_hostile_connections_are_bounded(bench: VhostBench) -> None:
    """More connections than the limit are closed at once; those before work on."""
    sockets = []
    for _ in range(40):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(bench.path)
        sock.settimeout(5)
        sockets.append(sock)
    for sock in sockets[-4:]:
        assert sock.recv(1) == b""
    sockets[0].send(encode_message(MessageRequest.GET_QUEUE_NUM))
    assert len(sockets[0].recv(20)) == 20
    for sock in sockets:
        sock.close()
