"""The hypervisor between the two partitions of virtual SCSI: its calls, with their return codes (PAPR 14.11, 17.2).

    hypervisor = Hypervisor()
    client, server = hypervisor.connect(client_window, server_window)       # unit addresses of the two virtual adapters
    hypervisor.h_reg_crq(client, 0, 4096)

A partition names its own adapter in every call. Both may reach their own memory alone, but for the server, which may
copy to and from the client's window (`h_copy_rdma`, and `copy_in` and `copy_out`, which are the same for memory that
has no bus address: Python's). Interrupts are callbacks, and must not call back in: they set a mark.

It does NOT: schedule. A queue is freed at once, so that H_BUSY does not occur.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final, Protocol

from transports.vscsi.codes import CrqValid, Hcall, Return, TransportEvent
from transports.vscsi.crq import CrqElement, CrqSender
from transports.vscsi.dma import PAGE, TCE_READ, TCE_WRITE, DmaError, DmaWindow

__all__ = ["COPY_LIMIT", "ClientCalls", "Hypervisor"]

# Bytes of one H_COPY_RDMA.
COPY_LIMIT: Final = 128 * 1024

_QUEUE_LIMIT: Final = 1 << 20
_WORD: Final = (1 << 64) - 1


class ClientCalls(Protocol):
    """The calls that a client partition makes: of a `Hypervisor`, or of somebody who brings them to one."""

    def h_reg_crq(self, unit: int, address: int, size: int) -> int: ...

    def h_free_crq(self, unit: int) -> int: ...

    def h_send_crq(self, unit: int, high: int, low: int) -> int: ...

    def h_enable_crq(self, unit: int) -> int: ...


class _Adapter:
    """What the hypervisor keeps of a virtual adapter."""

    __slots__ = ("interrupt", "partner", "queue", "remote", "signalling", "suspended", "unit", "window")

    def __init__(self, unit: int, window: DmaWindow) -> None:
        self.unit = unit
        self.window = window
        self.partner: _Adapter
        self.queue: CrqSender | None = None
        self.remote: DmaWindow | None = None            # the client's window, of a server
        self.interrupt: Callable[[], None] | None = None
        self.signalling = True
        self.suspended = False

    @property
    def reachable(self) -> bool:
        """Whether it can be sent messages."""
        return self.queue is not None and not self.suspended


class Hypervisor:
    """Any number of pairs of virtual adapters."""

    def __init__(self) -> None:
        self._units = itertools.count(0x3000_0000)
        self._adapters: dict[int, _Adapter] = {}
        self._calls: dict[int, Callable[..., int]] = {
            Hcall.PUT_TCE: self.h_put_tce,
            Hcall.REG_CRQ: self.h_reg_crq,
            Hcall.FREE_CRQ: self.h_free_crq,
            Hcall.VIO_SIGNAL: self.h_vio_signal,
            Hcall.SEND_CRQ: self.h_send_crq,
            Hcall.COPY_RDMA: self.h_copy_rdma,
            Hcall.ENABLE_CRQ: self.h_enable_crq,
        }

    # --- configuration: what a management console does ----------------------------------------------------------

    def connect(self, client: DmaWindow, server: DmaWindow) -> tuple[int, int]:
        """Make a pair of virtual adapters with these windows; their unit addresses."""
        here, there = _Adapter(next(self._units), client), _Adapter(next(self._units), server)
        here.partner, there.partner = there, here
        there.remote = client
        self._adapters[here.unit] = here
        self._adapters[there.unit] = there
        return here.unit, there.unit

    def disconnect(self, unit: int) -> None:
        """Take a pair away; what the two call afterwards is refused."""
        adapter = self._adapters.pop(unit, None)
        if adapter is None:
            return
        partner = adapter.partner
        self._adapters.pop(partner.unit, None)
        for one in (adapter, partner):      # no cycle is left that would keep the windows
            one.queue = one.remote = one.interrupt = None
            del one.partner

    def on_interrupt(self, unit: int, interrupt: Callable[[], None]) -> None:
        """Who is told when something comes into the queue of an adapter."""
        self._adapters[unit].interrupt = interrupt

    def fail(self, unit: int) -> None:
        """The partition of this adapter has crashed: its queue is gone, its partner is told."""
        adapter = self._adapters[unit]
        adapter.queue = None
        self._event(adapter.partner, TransportEvent.PARTNER_FAILED)

    def migrate(self, unit: int) -> None:
        """The client partition was moved: it must enable its queue again, its server sees it go."""
        adapter = self._adapters[unit]
        self._event(adapter, TransportEvent.MIGRATED)
        adapter.suspended = True
        self._event(adapter.partner, TransportEvent.PARTNER_DEREGISTERED)

    def announce(self, unit: int, event: int) -> None:
        """Tell the partner of this adapter of something else, such as a pause."""
        self._event(self._adapters[unit].partner, event)

    # --- calls -------------------------------------------------------------------------------------------------

    def call(self, number: int, *arguments: int) -> int:
        """A call by its number."""
        function = self._calls.get(number)
        if function is None:
            return Return.FUNCTION
        try:
            return function(*arguments)
        except TypeError:
            return Return.PARAMETER

    def h_reg_crq(self, unit: int, address: int, size: int) -> int:
        """Register a queue of `size` bytes at a bus address. H_CLOSED: done, but the partner has none yet."""
        adapter = self._adapters.get(unit)
        if adapter is None:
            return Return.PARAMETER
        if adapter.queue is not None:
            return Return.RESOURCE
        if address % PAGE or size % PAGE or not 0 < size <= _QUEUE_LIMIT:
            return Return.PARAMETER
        try:
            views = adapter.window.views(address, size, TCE_READ | TCE_WRITE)
        except DmaError:
            return Return.PARAMETER
        if len(views) != 1:
            return Return.PARAMETER     # the pages of a queue follow each other
        views[0][:] = bytes(size)
        adapter.queue = CrqSender(views[0])
        adapter.suspended = False
        return Return.SUCCESS if adapter.partner.reachable else Return.CLOSED

    def h_free_crq(self, unit: int) -> int:
        """Deregister the queue; the partner is told."""
        adapter = self._adapters.get(unit)
        if adapter is None:
            return Return.PARAMETER
        if adapter.queue is not None:
            adapter.queue = None
            self._event(adapter.partner, TransportEvent.PARTNER_DEREGISTERED)
        return Return.SUCCESS

    def h_enable_crq(self, unit: int) -> int:
        """Take messages again after a migration."""
        adapter = self._adapters.get(unit)
        if adapter is None:
            return Return.PARAMETER
        if adapter.queue is None:
            return Return.CLOSED
        adapter.suspended = False
        return Return.SUCCESS

    def h_vio_signal(self, unit: int, mode: int) -> int:
        """Disable (0) or enable (1) the interrupt. What came while it was disabled is not told afterwards."""
        adapter = self._adapters.get(unit)
        if adapter is None or mode not in (0, 1):
            return Return.PARAMETER
        adapter.signalling = bool(mode)
        return Return.SUCCESS

    def h_send_crq(self, unit: int, high: int, low: int) -> int:  # hot
        """Put an element, two words, into the partner's queue."""
        adapter = self._adapters.get(unit)
        if adapter is None:
            return Return.PARAMETER
        first = high >> 56 & 0xFF
        if not first & 0x80 or first == CrqValid.TRANSPORT_EVENT:
            return Return.PARAMETER         # transport events are the hypervisor's own
        partner = adapter.partner
        queue = partner.queue
        if queue is None or adapter.queue is None or partner.suspended or adapter.suspended:
            return Return.CLOSED
        if not queue.put((high & _WORD).to_bytes(8, "big") + (low & _WORD).to_bytes(8, "big")):
            return Return.DROPPED
        if partner.signalling and partner.interrupt is not None:
            partner.interrupt()
        return Return.SUCCESS

    def h_put_tce(self, liobn: int, address: int, tce: int, count: int = 1) -> int:
        """Map a page of a window, or `count` successive ones (what H_PUT_TCE_INDIRECT does in one call)."""
        for adapter in self._adapters.values():
            if adapter.window.liobn == liobn:
                return Return.SUCCESS if adapter.window.put_tce(address, tce, count=count) else Return.PARAMETER
        return Return.PARAMETER

    def h_copy_rdma(
        self, unit: int, length: int, source_liobn: int, source: int, destination_liobn: int, destination: int
    ) -> int:
        """Copy between two windows that the adapter may use: its own, and for a server its client's."""
        adapter = self._adapters.get(unit)
        if adapter is None or not 0 <= length <= COPY_LIMIT:
            return Return.PARAMETER
        windows = {adapter.window.liobn: adapter.window}
        if adapter.remote is not None:
            windows[adapter.remote.liobn] = adapter.remote
        origin, goal = windows.get(source_liobn), windows.get(destination_liobn)
        if origin is None:
            return Return.SOURCE_PARM
        if goal is None:
            return Return.DEST_PARM
        if adapter.remote in (origin, goal) and adapter.partner.queue is None:
            return Return.PERMISSION
        try:
            data = origin.read(source, length)
        except DmaError:
            return Return.SOURCE_PARM
        try:
            goal.write(destination, data)
        except DmaError:
            return Return.DEST_PARM
        return Return.SUCCESS

    # --- the server's copies to and from memory that has no bus address ------------------------------------------

    def copy_in(self, unit: int, address: int, length: int) -> bytes | int:  # hot
        """Bytes of the client's window, or the code that H_COPY_RDMA would give."""
        adapter = self._adapters.get(unit)
        if adapter is None or adapter.remote is None or adapter.partner.queue is None:
            return Return.PERMISSION
        try:
            return adapter.remote.read(address, length)
        except DmaError:
            return Return.SOURCE_PARM

    def copy_into(self, unit: int, address: int, target: memoryview) -> int:
        """Fill `target` from the client's window."""
        adapter = self._adapters.get(unit)
        if adapter is None or adapter.remote is None or adapter.partner.queue is None:
            return Return.PERMISSION
        try:
            adapter.remote.read_into(address, target)
        except DmaError:
            return Return.SOURCE_PARM
        return Return.SUCCESS

    def copy_out(self, unit: int, address: int, data: bytes | bytearray | memoryview) -> int:  # hot
        """Write to the client's window: all of it, or nothing."""
        adapter = self._adapters.get(unit)
        if adapter is None or adapter.remote is None or adapter.partner.queue is None:
            return Return.PERMISSION
        try:
            adapter.remote.write(address, data)
        except DmaError:
            return Return.DEST_PARM
        return Return.SUCCESS

    def may_copy(self, unit: int, address: int, length: int, access: int) -> bool:
        """Whether the client's window has all of a range for that access."""
        adapter = self._adapters.get(unit)
        if adapter is None or adapter.remote is None:
            return False
        try:
            adapter.remote.check(address, length, access)
        except DmaError:
            return False
        return True

    def _event(self, adapter: _Adapter, event: int) -> None:
        """Tell an adapter of its partner. There is a free element for that, unless it has unread events already."""
        if adapter.queue is None:
            return
        adapter.queue.put(CrqElement(CrqValid.TRANSPORT_EVENT, event).encode(), event=True)
        if adapter.signalling and adapter.interrupt is not None:
            adapter.interrupt()
