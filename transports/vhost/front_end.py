"""The other side of vhost-user-scsi: a front end with a driver, for tests and for programs without a virtual machine.

    with FrontEnd("/run/scsiemu/vhost") as guest:
        result = guest.execute(0, bytes.fromhex("120000006000"), allocation=96)

It plays QEMU and the guest's driver at once: memory by memfd in two regions, rings in one and buffers in the other,
with all features that the device offers. It blocks, and belongs to one thread.

It does NOT: share code with the device's side but the codecs, so that each is a test of the other.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import select
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from scsiemu.lun import unit_lun
from scsiemu.sam import TaskManagementFunction, TaskManagementResponse
from transports.vhost.codes import (
    CONTROL_QUEUE,
    EVENT_QUEUE,
    FIRST_REQUEST_QUEUE,
    AttributeCode,
    ControlType,
    DescriptorFlags,
    Feature,
    MessageFlags,
    MessageRequest,
    Response,
)
from transports.vhost.layouts import (
    CDB_SIZE,
    EVENT_LENGTH,
    RESPONSE_HEADER,
    SENSE_SIZE,
    Configuration,
    ControlRequest,
    Event,
    RequestHeader,
    decode_configuration,
    decode_event,
    decode_notification_response,
    decode_response,
    lun_field,
)
from transports.vhost.messages import (
    HEADER_LENGTH,
    ConfigPayload,
    Region,
    RingAddresses,
    RingState,
    decode_config,
    decode_header,
    decode_ring_state,
    decode_u64,
    encode_config,
    encode_message,
    encode_region,
    encode_table,
    encode_u64,
)
from transports.vhost.requests import FUNCTIONS

__all__ = ["FrontEnd", "Handle", "Result"]

_RING_BYTES: Final = 1 << 20
_RINGS_GUEST: Final = 0x1000
_BUFFERS_GUEST: Final = 1 << 32
_RINGS_USER: Final = 0x7F00_0000_0000
_BUFFERS_USER: Final = 0x7E00_0000_0000
_BUFFERS_OFFSET: Final = 4096                   # of the region in its file
_PAGE: Final = 64                               # granularity of buffers
_DESCRIPTOR: Final = struct.Struct("<QIHH")
_EVENT_BUFFERS: Final = 4
_RESPONSES: Final = {
    Response.OK: TaskManagementResponse.FUNCTION_COMPLETE,
    Response.FUNCTION_SUCCEEDED: TaskManagementResponse.FUNCTION_SUCCEEDED,
    Response.FUNCTION_REJECTED: TaskManagementResponse.FUNCTION_REJECTED,
    Response.INCORRECT_LUN: TaskManagementResponse.INCORRECT_LOGICAL_UNIT_NUMBER,
    Response.BAD_TARGET: TaskManagementResponse.INCORRECT_LOGICAL_UNIT_NUMBER,
    Response.FAILURE: TaskManagementResponse.SERVICE_DELIVERY_FAILURE,
}


@dataclass
class Result:
    """How a request ended.

    Attributes:
        response: one of `Response`.
        data_in_residual, data_out_residual: of the residual count, Data-In's comes first; -1 after an overrun, which
            has no count: for Data-Out where there was some and no Data-In.
        residual: as it came.
    """

    response: int
    status: int
    sense: bytes
    data: bytes
    residual: int
    data_in_residual: int
    data_out_residual: int


@dataclass
class Handle:
    """Something that was put into a ring."""

    queue: int
    tag: int
    blocks: list[tuple[int, int]] = field(default_factory=list)     # of memory, given back at its end
    readable: int = 0               # bytes of Data-Out
    response: tuple[int, int] = (0, 0)
    data_in: tuple[int, int] = (0, 0)
    written: int | None = None      # once it has ended


class FrontEnd:
    """A guest with one virtio-scsi adapter.

    Args:
        path: of the socket.
        queues: request queues, used in turn.
        size: of each ring.
        features: those to ask for; the others are left out.
        fragment: bytes of a descriptor at most.
        indirect: descriptors in tables of their own, where that is negotiated.
        memory: bytes for buffers.
        seconds: that anything may take.
        target: number of the target that is spoken to.
        base: where the indexes of the rings begin.
    """

    def __init__(
        self,
        path: str,
        *,
        queues: int = 1,
        size: int = 128,
        features: int = (1 << 64) - 1,
        fragment: int = 1 << 20,
        indirect: bool = True,
        memory: int = 16 << 20,
        seconds: float = 20.0,
        target: int = 0,
        base: int = 0,
    ) -> None:
        self.seconds = seconds
        self.target = target
        self.size = size
        self.cdb_size = CDB_SIZE
        self.sense_size = SENSE_SIZE
        self.events: deque[Event] = deque()
        self._fragment = fragment
        self._rings_file, self._rings = _memory(_RING_BYTES)
        self._buffers_file, self._buffers = _memory(memory + _BUFFERS_OFFSET)
        self._regions = (
            Region(_RINGS_GUEST, _RING_BYTES, _RINGS_USER, 0),
            Region(_BUFFERS_GUEST, memory, _BUFFERS_USER, _BUFFERS_OFFSET),
        )
        self._free = [(0, memory)]
        self._next_tag = 1
        self._turn = 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.queues: dict[int, _Ring] = {}
        try:
            self.socket.settimeout(seconds)
            self.socket.connect(path)
            self._begin(features)
            self._indirect = indirect and bool(self.features & Feature.INDIRECT_DESC)
            for index in range(FIRST_REQUEST_QUEUE + queues):
                self.start_ring(index, base)
            for _ in range(_EVENT_BUFFERS):
                self.post_event_buffer()
        except BaseException:
            self.abandon()
            raise

    def __enter__(self) -> FrontEnd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- messages ----------------------------------------------------------------------------------------------

    def _begin(self, features: int) -> None:
        offered = decode_u64(self.ask(MessageRequest.GET_FEATURES))
        self.tell(MessageRequest.SET_OWNER)
        self.protocol_features = decode_u64(self.ask(MessageRequest.GET_PROTOCOL_FEATURES))
        self.tell(MessageRequest.SET_PROTOCOL_FEATURES, encode_u64(self.protocol_features))
        self.features = offered & features
        self.tell(MessageRequest.SET_FEATURES, encode_u64(self.features))
        self.share_memory()

    def share_memory(self) -> None:
        """Tell where guest memory is."""
        self.tell(
            MessageRequest.SET_MEM_TABLE, encode_table(self._regions), (self._rings_file, self._buffers_file)
        )

    def replace_buffers_region(self) -> None:
        """Take the region of the buffers away, and add it again."""
        region = self._regions[1]
        self.tell(MessageRequest.REM_MEM_REG, encode_region(region))
        self.tell(MessageRequest.ADD_MEM_REG, encode_region(region), (self._buffers_file,))

    def tell(self, request: int, payload: bytes = b"", descriptors: tuple[int, ...] = ()) -> None:
        """A message with an acknowledgement. Raises OSError where it is refused."""
        if request in (MessageRequest.SET_OWNER, MessageRequest.SET_PROTOCOL_FEATURES):
            self.send(encode_message(request, payload), descriptors)
            return
        self.send(encode_message(request, payload, MessageFlags.NEED_REPLY), descriptors)
        if decode_u64(self.receive(request)):
            raise OSError(errno.EPROTO, f"the device refuses message {request}")

    def ask(self, request: int, payload: bytes = b"") -> bytes:
        """A message that has a reply; its payload."""
        self.send(encode_message(request, payload))
        return self.receive(request)

    def send(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """Bytes as they are, with descriptors."""
        sent = socket.send_fds(self.socket, [data], descriptors) if descriptors else self.socket.send(data)
        if sent < len(data):
            self.socket.sendall(data[sent:])

    def receive(self, request: int) -> bytes:
        """A reply's payload. Raises OSError where the connection has ended."""
        header = decode_header(self._read(HEADER_LENGTH))
        if header.request != request or not header.flags & MessageFlags.REPLY:
            raise OSError(errno.EPROTO, f"{header} is no reply to {request}")
        return self._read(header.size)

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise ConnectionResetError("the device has closed the connection")
            data += part
        return data

    def start_ring(self, index: int, base: int = 0) -> None:
        """Set a ring up, and have the device work on it."""
        ring = self.queues.get(index)
        if ring is None:
            area = self._rings[index * 65536 : (index + 1) * 65536]
            ring = self.queues[index] = _Ring(index, area, self.size, self.features, base)
        at = _RINGS_USER + index * 65536
        self.tell(MessageRequest.SET_VRING_NUM, RingState(index, self.size).encode())
        self.tell(MessageRequest.SET_VRING_BASE, RingState(index, base).encode())
        self.tell(MessageRequest.SET_VRING_ADDR, RingAddresses(
            index, 0, at, at + ring.used_offset, at + ring.available_offset, 0,
        ).encode())
        self.tell(MessageRequest.SET_VRING_CALL, encode_u64(index), (ring.call,))
        self.tell(MessageRequest.SET_VRING_KICK, encode_u64(index), (ring.kick,))
        if self.features & Feature.PROTOCOL_FEATURES:
            self.tell(MessageRequest.SET_VRING_ENABLE, RingState(index, 1).encode())

    def stop_ring(self, index: int) -> int:
        """Stop a ring, when its requests have ended; where it would go on."""
        return decode_ring_state(self.ask(MessageRequest.GET_VRING_BASE, RingState(index, 0).encode())).number

    def configuration(self) -> Configuration:
        """The configuration space."""
        reply = self.ask(MessageRequest.GET_CONFIG, encode_config(ConfigPayload(0, 0, bytes(36))))
        return decode_configuration(decode_config(reply).data)

    def set_sizes(self, *, sense: int, cdb: int) -> None:
        """Write the sizes of sense data and CDB into the configuration space."""
        self.tell(MessageRequest.SET_CONFIG, encode_config(ConfigPayload(20, 0, struct.pack("<II", sense, cdb))))
        self.sense_size, self.cdb_size = sense, cdb

    # --- requests ----------------------------------------------------------------------------------------------

    def start(
        self, lun: int, cdb: bytes, data_out: bytes = b"", allocation: int = 0,
        attribute: int = AttributeCode.SIMPLE,
    ) -> Handle:
        """Send a command; a handle of it. The LUN is a number, or in its 64-bit form."""
        queues = len(self.queues) - FIRST_REQUEST_QUEUE
        self._turn = (self._turn + 1) % queues
        handle = Handle(FIRST_REQUEST_QUEUE + self._turn, self._next_tag, readable=len(data_out))
        self._next_tag += 1
        header = RequestHeader(lun_field(self.target, unit_lun(lun)), handle.tag, attribute, 0, 0)
        return self.put(handle, header.encode(cdb.ljust(self.cdb_size, b"\0")), data_out,
                        RESPONSE_HEADER + self.sense_size, allocation)

    def put(self, handle: Handle, request: bytes, data_out: bytes, response: int, data_in: int) -> Handle:
        """Put a chain into a ring."""
        chain = []
        for data in (request, data_out):
            if data:
                at = self._allocate(handle, len(data))
                self._write(at, data)
                chain += self._pieces(at, len(data), 0)
        for length in (response, data_in):
            at = self._allocate(handle, length) if length else 0
            chain += self._pieces(at, length, DescriptorFlags.WRITE)
            if length and handle.response == (0, 0):
                handle.response = (at, length)
            elif length:
                handle.data_in = (at, length)
        ring = self.queues[handle.queue]
        if self._indirect:
            table = b"".join(
                _DESCRIPTOR.pack(_BUFFERS_GUEST + at, length, flags | (number + 1 < len(chain)), number + 1)
                for number, (at, length, flags) in enumerate(chain)
            )
            at = self._allocate(handle, len(table))
            self._write(at, table)
            chain = [(at, len(table), DescriptorFlags.INDIRECT)]
        ring.add([(_BUFFERS_GUEST + at, length, flags) for at, length, flags in chain], handle)
        return handle

    def _pieces(self, at: int, length: int, flags: int) -> list[tuple[int, int, int]]:
        return [
            (at + done, min(self._fragment, length - done), flags) for done in range(0, length, self._fragment)
        ]

    def wait(self, handle: Handle) -> int:
        """Wait for the end of a chain; the bytes that were written."""
        ring = self.queues[handle.queue]
        until = time.monotonic() + self.seconds
        while True:
            ring.collect()
            written = handle.written
            if written is not None:
                return written
            if not ring.sleep(self.socket, until - time.monotonic()):
                raise ConnectionResetError("the device has closed the connection, or does not answer")

    def finish(self, handle: Handle) -> Result:
        """Wait for the end of a command."""
        written = self.wait(handle)
        at, length = handle.response
        response, status, residual, _, sense = decode_response(self._copy(at, length))
        data = self._copy(handle.data_in[0], written - length) if written > length else b""
        allocation = handle.data_in[1]
        self._release(handle)
        if response == Response.OVERRUN:
            out = bool(handle.readable) and not allocation
            return Result(response, status, sense, data, residual, 0 if out else -1, -1 if out else 0)
        into = min(residual, allocation)
        return Result(response, status, sense, data, residual, into, residual - into)

    def execute(self, lun: int, cdb: bytes, data_out: bytes = b"", allocation: int = 0) -> Result:
        """Execute a command."""
        return self.finish(self.start(lun, cdb, data_out, allocation))

    def manage(
        self, function: TaskManagementFunction, lun: int = 0, *, task: Handle | None = None
    ) -> TaskManagementResponse:
        """Perform a task management function."""
        code = next(code for code, known in FUNCTIONS.items() if known is function)
        place = lun_field(self.target, unit_lun(lun))
        asked = ControlRequest(ControlType.TASK_MANAGEMENT, place, code, task.tag if task is not None else 0)
        return _RESPONSES[self.control(asked.encode(), 1)[0]]

    def notifications(self, kind: int, lun: int, events: int) -> tuple[int, int]:
        """Query or subscribe asynchronous notifications: the events that there are, and the response."""
        asked = ControlRequest(kind, lun_field(self.target, unit_lun(lun)), events=events)
        return decode_notification_response(self.control(asked.encode(), 5))

    def control(self, request: bytes, response: int) -> bytes:
        """A request of the control queue; the bytes of its response."""
        handle = self.put(Handle(CONTROL_QUEUE, 0), request, b"", response, 0)
        self.wait(handle)
        data = self._copy(*handle.response)
        self._release(handle)
        return data

    # --- events ------------------------------------------------------------------------------------------------

    def post_event_buffer(self) -> None:
        """Give the device room for an event."""
        self.put(Handle(EVENT_QUEUE, 0), b"", b"", EVENT_LENGTH, 0)

    def next_event(self, *, post: bool = True) -> Event:
        """Wait for an event, and give its buffer back to the device. Raises ConnectionResetError."""
        ring = self.queues[EVENT_QUEUE]
        until = time.monotonic() + self.seconds
        while not ring.ended:
            ring.collect()
            if not ring.ended and not ring.sleep(self.socket, until - time.monotonic()):
                raise ConnectionResetError("no event")
        handle = ring.ended.popleft()
        event = decode_event(self._copy(*handle.response))
        self._release(handle)
        if post:
            self.post_event_buffer()
        return event

    # --- memory ------------------------------------------------------------------------------------------------

    def _allocate(self, handle: Handle, length: int) -> int:
        size = -(-length // _PAGE) * _PAGE
        for number, (at, have) in enumerate(self._free):
            if have >= size:
                self._free[number] = (at + size, have - size)
                handle.blocks.append((at, size))
                return at
        raise MemoryError(f"no room for {length} bytes in guest memory")

    def _release(self, handle: Handle) -> None:
        merged: list[tuple[int, int]] = []
        for at, size in sorted(self._free + handle.blocks):
            if merged and merged[-1][0] + merged[-1][1] == at:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            elif size:
                merged.append((at, size))
        self._free = merged
        handle.blocks = []

    def _write(self, at: int, data: bytes) -> None:
        self._buffers[_BUFFERS_OFFSET + at : _BUFFERS_OFFSET + at + len(data)] = data

    def _copy(self, at: int, length: int) -> bytes:
        return bytes(self._buffers[_BUFFERS_OFFSET + at : _BUFFERS_OFFSET + at + length])

    # --- the end -----------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Break the connection without a word."""
        self.socket.close()
        for ring in self.queues.values():
            ring.close()
        self.queues.clear()
        for descriptor in (self._rings_file, self._buffers_file):
            if descriptor >= 0:
                os.close(descriptor)
        self._rings_file = self._buffers_file = -1

    def close(self) -> None:
        """Stop the rings, and leave."""
        if self.socket.fileno() >= 0:
            try:
                for index in list(self.queues):
                    self.stop_ring(index)
            except OSError:
                pass                # it has left before us
        self.abandon()


class _Ring:
    """The driver's side of a split virtqueue."""

    def __init__(self, index: int, area: memoryview, size: int, features: int, base: int) -> None:
        self.index = index
        self.size = size
        self.available_offset = 16 * size
        self.used_offset = -(-(self.available_offset + 6 + 2 * size) // 4) * 4
        self.descriptors = area[: self.available_offset]
        self.available = area[self.available_offset : self.available_offset + 6 + 2 * size].cast("H")
        used = area[self.used_offset : self.used_offset + 6 + 8 * size]
        self.used = used.cast("H")
        self.entries = used[4 : 4 + 8 * size].cast("I")
        self.kick = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.call = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.ended: deque[Handle] = deque()
        self.kicks = 0
        self._event_index = bool(features & Feature.EVENT_IDX)
        self._free = list(range(size))
        self._chains: dict[int, tuple[Handle, list[int]]] = {}
        self._next = base               # of the available ring
        self._seen = base               # of the used ring
        self.available[1] = self.used[1] = base
        if self._event_index:
            self.available[2 + size] = self.used[2 + 4 * size] = base

    def add(self, chain: list[tuple[int, int, int]], handle: Handle) -> None:
        """Make a chain available, and kick where that is wanted."""
        if len(chain) > len(self._free):
            raise MemoryError(f"no room for {len(chain)} descriptors in ring {self.index}")
        numbers = [self._free.pop() for _ in chain]
        for place, (number, (address, length, flags)) in enumerate(zip(numbers, chain, strict=True)):
            last = place + 1 == len(chain)
            _DESCRIPTOR.pack_into(
                self.descriptors, number * 16, address, length,
                flags if last else flags | DescriptorFlags.NEXT, 0 if last else numbers[place + 1],
            )
        self._chains[numbers[0]] = (handle, numbers)
        self.available[2 + self._next % self.size] = numbers[0]
        old, self._next = self._next, (self._next + 1) & 0xFFFF
        self.available[1] = self._next
        if self._event_index:
            wanted = (self._next - self.used[2 + 4 * self.size] - 1) & 0xFFFF < (self._next - old) & 0xFFFF
        else:
            wanted = not self.used[0] & 1
        if wanted:
            self.kicks += 1
            os.eventfd_write(self.kick, 1)

    def collect(self) -> None:
        """Take what the device has given back."""
        while self._seen != self.used[1]:
            slot = self._seen % self.size * 2
            handle, numbers = self._chains.pop(self.entries[slot])
            handle.written = self.entries[slot + 1]
            self._free += numbers
            self._seen = (self._seen + 1) & 0xFFFF
            if self.index == EVENT_QUEUE:
                self.ended.append(handle)
            if self._event_index:
                self.available[2 + self.size] = self._seen

    def sleep(self, sock: socket.socket, seconds: float) -> bool:
        """Until the device signals. False: the time is over, or the connection."""
        if self._seen != self.used[1]:
            return True
        ready, _, _ = select.select([self.call, sock.fileno()], [], [], max(0.0, seconds))
        if self.call in ready:
            os.eventfd_read(self.call)
            return True
        return False

    def close(self) -> None:
        """Close its descriptors."""
        os.close(self.kick)
        os.close(self.call)


def _memory(size: int) -> tuple[int, memoryview]:
    """A memfd that keeps its size, and its bytes."""
    descriptor = os.memfd_create("guest", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return descriptor, memoryview(mmap.mmap(descriptor, size))
