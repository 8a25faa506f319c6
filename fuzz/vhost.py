"""A front end of vhost-user and its guest's driver that send anything (Virtual I/O Device 1.2, 2.7 and 5.6)."""

from __future__ import annotations

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu.target import Target
from transports.vhost.codes import MessageRequest
from transports.vhost.device import FEATURES, VhostDevice
from transports.vhost.messages import (
    Header,
    Region,
    RingAddresses,
    RingState,
    VhostError,
    encode_table,
    encode_u64,
)
from transports.vhost.port import VhostLimits, VhostPort

__all__ = ["MEMORY", "RING_BYTES", "SIZE", "fuzz_vhost"]

MEMORY = 16384              # bytes of guest memory, at guest address 0, user address 0
SIZE = 8                    # descriptors of a ring
RING_BYTES = 256            # ring n: descriptors at n * 256, available at + 128, used at + 160
_GUARD = b"\xa5" * 64
_QUEUES = 4
_STEPS = 64


class _Host:
    """Guest memory between two guards; the rest of the world does nothing."""

    def __init__(self) -> None:
        self.bytes = bytearray(_GUARD + bytes(MEMORY) + _GUARD)
        self.memory = memoryview(self.bytes)[len(_GUARD) : -len(_GUARD)]
        self.failure = ""

    def map(self, descriptor: int, region: Region) -> memoryview:
        """The guest memory, as far as there is some."""
        if region.offset + region.size > MEMORY:
            raise VhostError("beyond the file")
        return self.memory[region.offset : region.offset + region.size]

    def set_kick(self, index: int, descriptor: int) -> None:
        """Kicks are a step of the input."""

    def set_call(self, index: int, descriptor: int | None) -> None:
        """Interrupts are lost."""

    def forget_kick(self, index: int) -> None:
        """Nothing is watched."""

    def signal(self, index: int) -> None:
        """Interrupts are lost."""

    def send(self, data: bytes) -> None:
        """Replies are lost."""

    def again(self, index: int) -> None:
        """A ring of eight cannot have more than a turn takes."""
        raise AssertionError("more chains than a ring has descriptors")

    def woken(self) -> None:
        """Every step ends with a flush."""

    def failed(self, reason: str) -> None:
        """The connection ends."""
        self.failure = reason


def fuzz_vhost(data: bytes) -> None:
    """Whatever the front end says and the driver writes, the device answers or ends the connection with VhostError.

    The input is steps: 0, offset (2 bytes, little-endian), length, bytes: the driver writes memory. 1, request, length,
    payload: a message, with as many descriptors as it may have. Anything else: a kick of that ring. No byte outside of
    guest memory changes, no more chains are in flight than there are descriptors, and nothing is left when it ends.
    """
    target = Target("fuzz")
    store = open_store(size=1 << 20)
    target.add_unit(0, VirtualDisk(DiskConfig.for_store(store.capabilities)), performer=store.submit)
    port = VhostPort((target,), limits=VhostLimits(queues=_QUEUES, max_transfer=1 << 16))
    host = _Host()
    device = VhostDevice(port, host, name="fuzz")
    _set_up(device)
    try:
        at = steps = 0
        while at < len(data) and steps < _STEPS and not host.failure:
            at = _step(device, host, data, at)
            steps += 1
            device.flush()
            statistics = device.statistics()
            assert int(str(statistics["requests"])) <= SIZE * _QUEUES, statistics
            if device.draining is not None:
                device.advance(1e9)
    except VhostError:
        pass
    device.close()
    assert not target.nexuses
    assert all(unit.statistics()["pending"] == 0 for unit in target.units.values())
    assert host.bytes.startswith(_GUARD), "written before the memory"
    assert host.bytes.endswith(_GUARD), "written behind the memory"


def _set_up(device: VhostDevice) -> None:
    _tell(device, MessageRequest.SET_FEATURES, encode_u64(FEATURES))
    _tell(device, MessageRequest.SET_MEM_TABLE, encode_table((Region(0, MEMORY, 0, 0),)), 1)
    for ring in range(_QUEUES - 1):
        at = ring * RING_BYTES
        _tell(device, MessageRequest.SET_VRING_NUM, RingState(ring, SIZE).encode())
        _tell(device, MessageRequest.SET_VRING_ADDR, RingAddresses(ring, 0, at, at + 160, at + 128, 0).encode())
        _tell(device, MessageRequest.SET_VRING_ENABLE, RingState(ring, 1).encode())
        _tell(device, MessageRequest.SET_VRING_KICK, encode_u64(ring), 1)


def _tell(device: VhostDevice, request: int, payload: bytes, descriptors: int = 0) -> None:
    device.handle(Header(request, 1, len(payload)), payload, [0] * descriptors)


def _step(device: VhostDevice, host: _Host, data: bytes, at: int) -> int:
    """Do the step that begins there; where the next does."""
    what = data[at]
    if what == 0:
        offset = int.from_bytes(data[at + 1 : at + 3], "little") % MEMORY
        length = data[at + 3] if at + 3 < len(data) else 0
        written = data[at + 4 : at + 4 + length][: MEMORY - offset]
        host.memory[offset : offset + len(written)] = written
        return at + 4 + length
    if what == 1:
        length = data[at + 2] if at + 2 < len(data) else 0
        payload = data[at + 3 : at + 3 + length]
        request = data[at + 1] if at + 1 < len(data) else 0
        count = payload[0] % 9 if request == MessageRequest.SET_MEM_TABLE and payload else 1
        _tell(device, request, payload, count)
        return at + 3 + length
    device.process(what - 2)
    return at + 1
