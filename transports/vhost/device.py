"""A vhost-user-scsi device: what a front end asks of it by messages, and what its guest asks by virtqueues.

    device = VhostDevice(port, host, name="path,1", fence=fence)
    device.handle(header, payload, descriptors)     # a message
    device.process(index)                           # a ring was kicked

A ring is at work while it is enabled, has its addresses and size, and was given a kick. `GET_VRING_BASE` stops it, and
is answered when its last request has ended (until then `draining` says that no further message is to be handled).
Requests that do not end in time are aborted, and their buffers never given back.

The connection is the guest's I_T nexus, one to each target; `RESET_DEVICE` ends it and makes another. Whatever breaks
the protocol, in a message or in a ring, raises VhostError, or where nobody could catch it calls `host.failed`.

It does NOT: touch sockets, files or memory maps (server.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, Protocol

from scsiemu.command import Command
from scsiemu.events import AttentionEstablished
from scsiemu.nexus import InitiatorPort, Nexus
from scsiemu.nexus import Protocol as TransportProtocol
from scsiemu.sam import TaskAttribute, TaskManagementFunction
from transports.vhost.codes import (
    CONTROL_QUEUE,
    EVENT_QUEUE,
    AttributeCode,
    ControlType,
    Feature,
    MessageFlags,
    MessageRequest,
    ProtocolFeature,
    Response,
)
from transports.vhost.event_teller import EventTeller
from transports.vhost.layouts import (
    CDB_SIZE,
    CONFIG_LENGTH,
    REQUEST_HEADER,
    RESPONSE_HEADER,
    SENSE_SIZE,
    Configuration,
    decode_configuration,
    decode_control,
    decode_request,
    encode_notification_response,
    encode_response,
    lun_of,
)
from transports.vhost.memory import SLOT_LIMIT, GuestMemory
from transports.vhost.messages import (
    ConfigPayload,
    Header,
    Region,
    VhostError,
    decode_config,
    decode_region,
    decode_ring_addresses,
    decode_ring_state,
    decode_table,
    decode_u64,
    encode_config,
    encode_message,
    encode_u64,
)
from transports.vhost.port import VhostPort
from transports.vhost.requests import FUNCTIONS, ControlTask, Request, gather, scatter, split
from transports.vhost.virtqueue import QUEUE_SIZE_LIMIT, Chain, VirtQueue

__all__ = ["FEATURES", "PROTOCOL_FEATURES", "Host", "VhostDevice"]

FEATURES: Final = (
    Feature.VERSION_1 | Feature.PROTOCOL_FEATURES | Feature.EVENT_IDX | Feature.INDIRECT_DESC
    | Feature.INOUT | Feature.HOTPLUG | Feature.CHANGE
)
PROTOCOL_FEATURES: Final = (
    ProtocolFeature.MQ | ProtocolFeature.REPLY_ACK | ProtocolFeature.CONFIG | ProtocolFeature.RESET_DEVICE
    | ProtocolFeature.CONFIGURE_MEM_SLOTS
)

_ATTRIBUTES: Final = {
    AttributeCode.SIMPLE: TaskAttribute.SIMPLE,
    AttributeCode.ORDERED: TaskAttribute.ORDERED,
    AttributeCode.HEAD_OF_QUEUE: TaskAttribute.HEAD_OF_QUEUE,
    AttributeCode.ACA: TaskAttribute.ACA,
}
_EARLY_DATA: Final = 65536              # bytes of Data-Out that are read before they are asked for
_CHAINS: Final = 256                    # of one ring in a turn
_CONTROL_LENGTH: Final = 24
_NO_DESCRIPTOR: Final = 0x100
_CDB_SIZES: Final = range(16, 261)
_SENSE_SIZES: Final = range(18, 253)


class Host(Protocol):
    """What a device needs of the world. Descriptors that it is given are its own."""

    def map(self, descriptor: int, region: Region) -> memoryview:
        """The bytes of a memory region. Raises VhostError."""

    def set_kick(self, index: int, descriptor: int) -> None:
        """Call `process` when it is readable. Raises VhostError."""

    def set_call(self, index: int, descriptor: int | None) -> None:
        """What `signal` is to write to. Raises VhostError."""

    def forget_kick(self, index: int) -> None:
        """Look at it no more."""

    def signal(self, index: int) -> None:
        """Interrupt the guest for a ring."""

    def send(self, data: bytes) -> None:
        """A reply to the front end."""

    def again(self, index: int) -> None:
        """Call `process` once more, after others."""

    def woken(self) -> None:
        """Another transport has brought something here: call `flush` soon."""

    def failed(self, reason: str) -> None:
        """The connection is to be closed, soon."""


class VhostDevice:
    """A connection of a front end.

    Args:
        port: the targets.
        host: see `Host`.
        name: of the initiator port: the same name is the same initiator.
        fence: orders memory accesses, see `VirtQueue`.

    Attributes:
        sense_size, cdb_size: as the driver has them.
        draining: the ring whose last requests a GET_VRING_BASE waits for; None: messages may be handled.
    """

    def __init__(
        self, port: VhostPort, host: Host, *, name: str, fence: Callable[[], object] = lambda: None
    ) -> None:
        self.port = port
        self.sense_size = SENSE_SIZE
        self.cdb_size = CDB_SIZE
        self.draining: int | None = None
        self._host = host
        self._fence = fence
        self._memory = GuestMemory()
        self._queues: dict[int, VirtQueue] = {}
        self._features = 0
        self._protocol_features = 0
        self._tasks: dict[Request | ControlTask, VirtQueue] = {}
        self._given: dict[VirtQueue, None] = {}
        self._drain_until = 0.0
        self._closed = False
        self._busy = False              # a `flush` is to come
        # All bytes of a TransportID without a protocol identify (SPC-5 7.6.4 has none for virtio-scsi).
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        transport_id = bytes((TransportProtocol.NONE, 0, 0, 0, 0, 0, 0, 0)) + digest
        self._initiator = InitiatorPort(f"vhost-user,{name}", transport_id, name)
        self._nexuses: tuple[Nexus, ...] = ()
        self._log_in()
        port.devices[self] = None

    def _log_in(self) -> None:
        self._nexuses = self.port.establish_nexuses(self._initiator)
        self._events = EventTeller(self._put_event, self._nexuses)

    def close(self) -> None:
        """The front end is gone."""
        if self._closed:
            return
        self._closed = True
        self.port.devices.pop(self, None)
        self._abandon(tuple(self._tasks))
        for queue in self._queues.values():
            queue.stop()
            queue.unmap()
        self._memory.clear()
        self.port.lose_nexuses(self._nexuses)

    # --- messages ----------------------------------------------------------------------------------------------

    def handle(self, header: Header, payload: bytes, descriptors: list[int]) -> None:
        """Handle a message. Descriptors that are kept are taken out of the list. Raises VhostError."""
        method = _MESSAGES.get(header.request)
        reply: bytes | None = None
        done = 0
        if method is None:
            if not header.need_reply:
                raise VhostError(f"a message {header.request} that is not known here")
            done = 1
        else:
            reply = method(self, payload, descriptors)
        if self.draining is not None:
            return
        if reply is None and header.need_reply and self._protocol_features & ProtocolFeature.REPLY_ACK:
            reply = encode_u64(done)
        if reply is not None:
            self._host.send(encode_message(header.request, reply, MessageFlags.REPLY))
        self.flush()

    def _get_features(self, payload: bytes, descriptors: list[int]) -> bytes:
        return encode_u64(FEATURES)

    def _set_features(self, payload: bytes, descriptors: list[int]) -> None:
        features = decode_u64(payload)
        if features & ~FEATURES:
            raise VhostError(f"features {features & ~FEATURES:#x} that were not offered")
        self._features = features
        for queue in self._queues.values():
            self._configure(queue)

    def _configure(self, queue: VirtQueue) -> None:
        queue.event_index = bool(self._features & Feature.EVENT_IDX)
        queue.indirect = bool(self._features & Feature.INDIRECT_DESC)
        if not self._features & Feature.PROTOCOL_FEATURES:
            queue.enabled = True            # there is no SET_VRING_ENABLE then

    def _get_protocol_features(self, payload: bytes, descriptors: list[int]) -> bytes:
        return encode_u64(PROTOCOL_FEATURES)

    def _set_protocol_features(self, payload: bytes, descriptors: list[int]) -> None:
        features = decode_u64(payload)
        if features & ~PROTOCOL_FEATURES:
            raise VhostError(f"protocol features {features & ~PROTOCOL_FEATURES:#x} that were not offered")
        self._protocol_features = features

    def _get_queue_num(self, payload: bytes, descriptors: list[int]) -> bytes:
        return encode_u64(self.port.limits.queues)

    def _set_owner(self, payload: bytes, descriptors: list[int]) -> None:
        """The session begins; there is nothing to do."""

    def _set_mem_table(self, payload: bytes, descriptors: list[int]) -> None:
        regions = decode_table(payload)
        if len(regions) != len(descriptors):
            raise VhostError(f"{len(regions)} memory regions with {len(descriptors)} descriptors")
        self._memory.clear()
        for region, descriptor in zip(regions, descriptors, strict=True):
            self._memory.add(region, self._host.map(descriptor, region))
        self._memory_changed()

    def _get_max_mem_slots(self, payload: bytes, descriptors: list[int]) -> bytes:
        return encode_u64(SLOT_LIMIT)

    def _add_mem_reg(self, payload: bytes, descriptors: list[int]) -> None:
        region = decode_region(payload)
        if len(descriptors) != 1:
            raise VhostError(f"a memory region with {len(descriptors)} descriptors")
        self._memory.add(region, self._host.map(descriptors[0], region))
        self._memory_changed()

    def _rem_mem_reg(self, payload: bytes, descriptors: list[int]) -> None:
        self._memory.remove(decode_region(payload))
        self._memory_changed()

    def _memory_changed(self) -> None:
        for queue in self._queues.values():
            queue.unmap()

    def _queue(self, index: int) -> VirtQueue:
        """A ring, made at its first mention. Raises VhostError."""
        queue = self._queues.get(index)
        if queue is None:
            if index >= self.port.limits.queues:
                raise VhostError(f"ring {index} of {self.port.limits.queues}")
            queue = self._queues[index] = VirtQueue(index, self._memory, self._fence)
            self._configure(queue)
        return queue

    def _set_vring_num(self, payload: bytes, descriptors: list[int]) -> None:
        state = decode_ring_state(payload)
        size = state.number
        if not 0 < size <= QUEUE_SIZE_LIMIT or size & (size - 1):
            raise VhostError(f"a ring of {size} descriptors")
        queue = self._queue(state.ring)
        queue.size = size
        queue.unmap()

    def _set_vring_addr(self, payload: bytes, descriptors: list[int]) -> None:
        addresses = decode_ring_addresses(payload)
        queue = self._queue(addresses.ring)
        queue.addresses = addresses
        queue.unmap()

    def _set_vring_base(self, payload: bytes, descriptors: list[int]) -> None:
        state = decode_ring_state(payload)
        if state.number > 0xFFFF:
            raise VhostError(f"a ring that begins at {state.number}")
        self._queue(state.ring).base = state.number

    def _get_vring_base(self, payload: bytes, descriptors: list[int]) -> bytes | None:
        queue = self._queue(decode_ring_state(payload).ring)
        queue.stop()
        self._host.forget_kick(queue.index)
        if queue.in_flight:
            self.draining = queue.index
            self._drain_until = self.port.targets[0].now + self.port.limits.drain_seconds
            return None
        return self._base_of(queue)

    def _base_of(self, queue: VirtQueue) -> bytes:
        return (queue.index).to_bytes(4, "little") + queue.base.to_bytes(4, "little")

    def _drained(self) -> None:
        """The ring that was to be stopped has no requests any more."""
        assert self.draining is not None, "called while draining"
        queue = self._queues[self.draining]
        self.draining = None
        self._host.send(encode_message(MessageRequest.GET_VRING_BASE, self._base_of(queue), MessageFlags.REPLY))

    def _set_vring_kick(self, payload: bytes, descriptors: list[int]) -> None:
        number = decode_u64(payload)
        queue = self._queue(number & 0xFF)
        if number & _NO_DESCRIPTOR or len(descriptors) != 1:
            raise VhostError(f"ring {queue.index} without a kick: rings are not polled")
        self._host.set_kick(queue.index, descriptors.pop())
        queue.start()
        self.process(queue.index)

    def _set_vring_call(self, payload: bytes, descriptors: list[int]) -> None:
        number = decode_u64(payload)
        queue = self._queue(number & 0xFF)
        none = bool(number & _NO_DESCRIPTOR)
        if len(descriptors) != (0 if none else 1):
            raise VhostError(f"ring {queue.index}: {len(descriptors)} descriptors to signal")
        self._host.set_call(queue.index, None if none else descriptors.pop())
        if queue.running:
            # Front ends wait for no reply, so a kick can come in before this message: what its requests gave back was
            # signalled by the old descriptor, to nobody. One signal too many does no harm (2.7.7).
            self._host.signal(queue.index)

    def _set_vring_err(self, payload: bytes, descriptors: list[int]) -> None:
        """Errors end the connection: there is nothing to signal."""
        self._queue(decode_u64(payload) & 0xFF)

    def _set_vring_enable(self, payload: bytes, descriptors: list[int]) -> None:
        state = decode_ring_state(payload)
        queue = self._queue(state.ring)
        if state.number > 1:
            raise VhostError(f"ring {state.ring} enabled by {state.number}")
        queue.enabled = bool(state.number)
        self.process(queue.index)

    def configuration(self) -> Configuration:
        """The configuration space."""
        limits = self.port.limits
        return Configuration(
            num_queues=limits.queues - 2,
            seg_max=126,
            max_sectors=limits.max_transfer // 512,
            cmd_per_lun=128,
            sense_size=self.sense_size,
            cdb_size=self.cdb_size,
            max_target=max(0, len(self.port.targets) - 1),
        )

    def _get_config(self, payload: bytes, descriptors: list[int]) -> bytes:
        asked = decode_config(payload)
        data = self.configuration().encode()
        end = asked.offset + len(asked.data)
        if end > len(data):
            return encode_config(ConfigPayload(asked.offset, asked.flags, b""))     # no bytes: it failed
        return encode_config(ConfigPayload(asked.offset, asked.flags, data[asked.offset : end]))

    def _set_config(self, payload: bytes, descriptors: list[int]) -> None:
        asked = decode_config(payload)
        old = self.configuration()
        data = bytearray(old.encode())
        data[asked.offset : asked.offset + len(asked.data)] = asked.data
        if len(data) != CONFIG_LENGTH:
            raise VhostError(f"{len(asked.data)} bytes of configuration space at {asked.offset}")
        new = decode_configuration(bytes(data))
        if new != old._replace(sense_size=new.sense_size, cdb_size=new.cdb_size):
            raise VhostError("a change of the configuration space that is not the driver's to make")
        if new.sense_size not in _SENSE_SIZES or new.cdb_size not in _CDB_SIZES:
            raise VhostError(f"sense data of {new.sense_size} bytes, CDBs of {new.cdb_size}")
        self.sense_size, self.cdb_size = new.sense_size, new.cdb_size

    def _reset_device(self, payload: bytes, descriptors: list[int]) -> None:
        """All rings end, and the nexus with them."""
        self._abandon(tuple(self._tasks))
        for queue in self._queues.values():
            queue.stop()
            queue.unmap()
            queue.enabled = False
            queue.base = 0
            queue.addresses = None
            self._host.forget_kick(queue.index)
            self._configure(queue)
        self.sense_size, self.cdb_size = SENSE_SIZE, CDB_SIZE
        self.port.lose_nexuses(self._nexuses)
        self._log_in()

    # --- rings -------------------------------------------------------------------------------------------------

    def process(self, index: int) -> None:  # hot
        """Take what is in a ring. Raises VhostError."""
        queue = self._queues.get(index)
        if queue is None or not queue.ready:
            return
        self._busy = True
        if index == EVENT_QUEUE:
            self._events.buffers_posted()
            self.flush()
            return
        work = self._control if index == CONTROL_QUEUE else self._request
        for _ in range(_CHAINS):
            chain = queue.take()
            if chain is None:
                break
            work(queue, chain)
        else:
            self._host.again(index)
        self.flush()

    def flush(self) -> None:  # hot
        """Bring what the targets have to the guest, and interrupt it where it wants that."""
        self._busy = True
        self.port.settle()
        self._busy = False
        given = self._given
        if given:
            for queue in given:
                if queue.wants_signal():
                    self._host.signal(queue.index)
            given.clear()

    def give(self, task: Request | ControlTask, queue: VirtQueue, head: int, written: int) -> None:  # hot
        """Told by a task: it has ended; its buffers go back."""
        self._tasks.pop(task, None)
        try:
            queue.give(head, written)
        except VhostError as error:
            self._host.failed(str(error))
            return
        if not self._busy and not self._given:
            self._host.woken()
        self._given[queue] = None
        if queue.index == self.draining and not queue.in_flight:
            self._drained()

    def _abandon(self, tasks: tuple[Request | ControlTask, ...]) -> None:
        """Their buffers are not given back, whatever comes of them."""
        for task in tasks:
            task.alive = False
            self._tasks.pop(task).abandon()

    def _request(self, queue: VirtQueue, chain: Chain) -> None:  # hot
        header, data_out = split(chain.readable, REQUEST_HEADER + self.cdb_size)
        response, data_in = split(chain.writable, RESPONSE_HEADER + self.sense_size)
        fields, cdb = decode_request(gather(header))
        place = lun_of(fields.lun)
        target, lun = place if place is not None else (-1, 0)
        request = Request(self, queue, chain, target, lun, fields.tag, response, data_out, data_in)
        self._tasks[request] = queue
        out, into = request.data_out_length, request.data_in_length
        attribute = _ATTRIBUTES.get(fields.attribute)
        limit = self.port.limits.max_transfer
        if not 0 <= target < len(self._nexuses):
            code = Response.BAD_TARGET
        elif len(self._tasks) > self.port.limits.requests:
            code = Response.BUSY
        elif attribute is None or out > limit or into > limit or (out and into and not self._features & Feature.INOUT):
            code = Response.FAILURE
        else:
            self.port.targets[target].submit(Command(
                self._nexuses[target], lun, cdb, fields.tag, attribute,
                gather(data_out) if 0 < out <= _EARLY_DATA else b"", out, into, request, fields.priority & 0xF,
            ))
            return
        request.respond(encode_response(code, residual=out + into, sense_size=self.sense_size))

    def _control(self, queue: VirtQueue, chain: Chain) -> None:
        task = ControlTask(self, queue, chain)
        self._tasks[task] = queue
        readable = chain.readable
        length = min(_CONTROL_LENGTH, sum(map(len, readable)))
        asked = decode_control(gather(split(readable, length)[0]) if length else b"")
        managing = asked is None or asked.type == ControlType.TASK_MANAGEMENT
        split(chain.writable, 1 if managing else 5)         # there is room for the response
        place = lun_of(asked.lun) if asked is not None else None
        if asked is None:
            task.respond(bytes((Response.FUNCTION_REJECTED,)))
        elif place is None or place[0] >= len(self._nexuses):
            code = bytes((Response.BAD_TARGET,))
            task.respond(code if managing else encode_notification_response(0, Response.BAD_TARGET))
        elif managing:
            self._manage(task, asked.function, *place, asked.tag)
        else:
            # Asynchronous notifications are of no event here: those that matter are param change events.
            there = self.port.targets[place[0]].find_state(self._nexuses[place[0]], place[1]) is not None
            task.respond(encode_notification_response(0, Response.OK if there else Response.INCORRECT_LUN))

    def _manage(self, task: ControlTask, code: int, target: int, lun: int, tag: int) -> None:
        function = FUNCTIONS.get(code)
        if function is None:
            task.respond(bytes((Response.FUNCTION_REJECTED,)))
            return
        whole = function is TaskManagementFunction.I_T_NEXUS_RESET
        if whole or function is TaskManagementFunction.LOGICAL_UNIT_RESET:
            for other in self._tasks:
                if isinstance(other, Request) and other.target == target and (whole or other.lun == lun):
                    other.fate = Response.RESET
        self.port.targets[target].manage(function, self._nexuses[target], lun, tag=tag, origin=task)

    # --- events ------------------------------------------------------------------------------------------------

    def _put_event(self, event: bytes) -> bool:
        """Put an event into a buffer of the driver's. False: there is none."""
        queue = self._queues.get(EVENT_QUEUE)
        if queue is None or not queue.ready:
            return False
        try:
            chain = queue.take()
            if chain is None:
                return False
            room, _ = split(chain.writable, len(event))
            scatter(room, event)
            queue.give(chain.head, len(event))
        except VhostError as error:
            self._host.failed(str(error))
        self._given[queue] = None
        return True

    def inventory_changed(self, target: int) -> None:
        """Units of a target were added or removed."""
        self._events.inventory_changed(target, tell=bool(self._features & Feature.HOTPLUG))
        self.flush()

    def attention_established(self, target: int, event: AttentionEstablished) -> None:
        """A unit of a target has a unit attention for nexuses."""
        if self._features & Feature.CHANGE:
            self._events.attention_established(target, event)
            self.flush()

    # --- time --------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """The clock says `now`."""
        if self.draining is not None and now >= self._drain_until:
            queue = self._queues[self.draining]
            late = tuple(task for task, of in self._tasks.items() if of is queue)
            self._abandon(late)
            self._drained()
            for task in late:
                if isinstance(task, Request):
                    self.port.targets[task.target].manage(
                        TaskManagementFunction.ABORT_TASK, self._nexuses[task.target], task.lun, tag=task.tag
                    )
        self.flush()

    def deadline(self) -> float | None:
        """When `advance` wants to be called at the latest; None for whenever."""
        return self._drain_until if self.draining is not None else None

    def statistics(self) -> dict[str, object]:
        """Numbers of the connection."""
        return {
            "name": self._initiator.device_name,
            "features": self._features,
            "requests": len(self._tasks),
            "regions": len(self._memory),
            "rings": sorted(queue.index for queue in self._queues.values() if queue.ready),
        }


_MESSAGES: Final[dict[int, Callable[[VhostDevice, bytes, list[int]], bytes | None]]] = {
    MessageRequest.GET_FEATURES: VhostDevice._get_features,
    MessageRequest.SET_FEATURES: VhostDevice._set_features,
    MessageRequest.SET_OWNER: VhostDevice._set_owner,
    MessageRequest.RESET_OWNER: VhostDevice._reset_device,
    MessageRequest.SET_MEM_TABLE: VhostDevice._set_mem_table,
    MessageRequest.SET_VRING_NUM: VhostDevice._set_vring_num,
    MessageRequest.SET_VRING_ADDR: VhostDevice._set_vring_addr,
    MessageRequest.SET_VRING_BASE: VhostDevice._set_vring_base,
    MessageRequest.GET_VRING_BASE: VhostDevice._get_vring_base,
    MessageRequest.SET_VRING_KICK: VhostDevice._set_vring_kick,
    MessageRequest.SET_VRING_CALL: VhostDevice._set_vring_call,
    MessageRequest.SET_VRING_ERR: VhostDevice._set_vring_err,
    MessageRequest.GET_PROTOCOL_FEATURES: VhostDevice._get_protocol_features,
    MessageRequest.SET_PROTOCOL_FEATURES: VhostDevice._set_protocol_features,
    MessageRequest.GET_QUEUE_NUM: VhostDevice._get_queue_num,
    MessageRequest.SET_VRING_ENABLE: VhostDevice._set_vring_enable,
    MessageRequest.GET_CONFIG: VhostDevice._get_config,
    MessageRequest.SET_CONFIG: VhostDevice._set_config,
    MessageRequest.RESET_DEVICE: VhostDevice._reset_device,
    MessageRequest.GET_MAX_MEM_SLOTS: VhostDevice._get_max_mem_slots,
    MessageRequest.ADD_MEM_REG: VhostDevice._add_mem_reg,
    MessageRequest.REM_MEM_REG: VhostDevice._rem_mem_reg,
}
