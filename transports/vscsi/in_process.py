"""Virtual SCSI in one process: an initiator next to a target, for embedding, tests and tools.

    from transports import vscsi

    disk = vscsi.loopback(target)
    result = disk.execute(0, bytes.fromhex("12 00 00 00 60 00"), allocation=96)
    result.status, result.sense, result.data, result.residuals
    disk.close()

Both sides are the real ones, with a hypervisor between them. A command runs until it has ended. A target that waits for
its clock has it moved where nothing else goes on, unless a clock is given. Stores that answer late are waited for if
they are given, or by a `pump` of the caller: it lets something happen and tells whether anything did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

from scsiemu.command import Buffer
from scsiemu.errors import LocalProtocolError
from scsiemu.io_requests import Store
from scsiemu.sam import TaskManagementFunction, TaskManagementResponse
from scsiemu.target import Target
from transports.vscsi.dma import PAGE, TCE_READ, TCE_WRITE, DmaWindow
from transports.vscsi.hypervisor import Hypervisor
from transports.vscsi.initiator import ClientAdapter, ClientState
from transports.vscsi.port import VscsiLimits, VscsiPort
from transports.vscsi.requests import FragmentRule, Request, Result

__all__ = ["Loopback", "loopback"]

# Room for the longest CDB with a descriptor each way.
_IU_LENGTH: Final = 512
_MEMORY: Final = 32 << 20
_BUS: Final = 0x1000_0001
_MAX_TRANSFER: Final = 16 << 20


def loopback(
    target: Target,
    *,
    stores: Iterable[Store] = (),
    pump: Callable[[], bool] | None = None,
    clock: Callable[[], float] | None = None,
    port: VscsiPort | None = None,
    identity: int = 0,
    name: str = "loopback",
    memory: int = _MEMORY,
    iu_length: int = _IU_LENGTH,
    rule: FragmentRule | None = None,
) -> Loopback:
    """An initiator that is logged in to a target.

    Args:
        stores: of the target's units, where their answers may come late.
        pump: instead of stores: called when nothing else goes on; False says that nothing will.
        clock: seconds of the target's clock; None: it is moved as commands need it.
        port: to share with other loopbacks of the target; None: one of its own.
        identity: which initiator, for reservations that outlive it; 0: one that nobody has.
        memory: bytes behind the window. A command can have almost as much data.
        iu_length: of information units; 256 is what real partners know, more an extension.
        rule: how buffers are described.
    """
    return Loopback(
        target, stores=stores, pump=pump, clock=clock, port=port, identity=identity, name=name, memory=memory,
        iu_length=iu_length, rule=rule,
    )


class Loopback:
    """See `loopback`.

    Attributes:
        hypervisor, port, server, client, window: the parts, for who wants to break them.
        client_unit: address of the client's adapter.
    """

    def __init__(
        self,
        target: Target,
        *,
        stores: Iterable[Store] = (),
        pump: Callable[[], bool] | None = None,
        clock: Callable[[], float] | None = None,
        port: VscsiPort | None = None,
        identity: int = 0,
        name: str = "loopback",
        memory: int = _MEMORY,
        iu_length: int = _IU_LENGTH,
        rule: FragmentRule | None = None,
        events: bool = False,
    ) -> None:
        if port is None:
            port = VscsiPort(target, limits=VscsiLimits(iu_length=iu_length, max_transfer=max(memory, _MAX_TRANSFER)))
        self.port = port
        identity = identity or port.free_identity()
        self.hypervisor = Hypervisor()
        self._pump = pump if pump is not None else _pump_of(tuple(stores))
        self._clock = clock
        ram = memoryview(bytearray(memory + PAGE - 1 & -PAGE))
        self.window = DmaWindow(_BUS, ram)
        self.window.put_tce(0, TCE_READ | TCE_WRITE, count=len(ram) // PAGE)
        self.client_unit, self.server = port.attach(self.hypervisor, self.window, name=name, identity=identity)
        self.client = ClientAdapter(
            self.hypervisor, self.client_unit, ram, name=name, number=identity, iu_length=iu_length,
            rule=rule if rule is not None else FragmentRule(), events=events,
        )
        self.server.start()
        self.client.start()
        self.run()
        if self.client.state != ClientState.READY:
            raise LocalProtocolError(f"no login: {self.client.state}, reason {self.client.reject_reason:08X}h")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- commands ----------------------------------------------------------------------------------------------

    def execute(
        self, lun: int, cdb: bytes, data_out: Buffer = b"", allocation: int = 0, *, attribute: int = 0
    ) -> Result:
        """Execute a command.

        Args:
            lun: a plain number, or the 64-bit form.
            allocation: bytes of Data-In that there is room for.

        Raises VscsiError where the command ended without a status, LocalProtocolError where it cannot be sent.
        """
        return self.finish(self.start(lun, cdb, data_out, allocation, attribute=attribute))

    def start(
        self, lun: int, cdb: bytes, data_out: Buffer = b"", allocation: int = 0, *, attribute: int = 0
    ) -> Request:
        """Send a command; it may have ended when this returns."""
        request = self.client.execute(lun, cdb, data_out, allocation, attribute=attribute)
        self.run()
        return request

    def finish(self, request: Request) -> Result:
        """Wait until a command has ended."""
        self.wait(request)
        return request.outcome()

    def manage(
        self, function: TaskManagementFunction, lun: int = 0, *, task: Request | None = None
    ) -> TaskManagementResponse:
        """Perform a task management function. Functions that SRP has no code for are rejected."""
        request = self.start_function(function, lun, task=task)
        self.wait(request)
        return request.function_answer()

    def start_function(
        self, function: TaskManagementFunction, lun: int = 0, *, task: Request | None = None
    ) -> Request:
        """Send a task management function; it may not be answered yet when this returns."""
        request = self.client.manage(function, lun, task=task)
        self.run()
        return request

    def wait(self, request: Request) -> None:
        """Go on until a request has ended. Raises LocalProtocolError where nothing goes on."""
        while not request.done:
            if not (self.run() or self._idle()):
                raise LocalProtocolError("the command waits for a store or for an event that does not come")

    # --- the world ---------------------------------------------------------------------------------------------

    def run(self) -> bool:  # hot
        """Let both sides work until they have nothing more to do. False: they had nothing."""
        port, server, client = self.port, self.server, self.client
        target = port.target
        if self._clock is not None:
            target.advance(self._clock())
        moved = False
        while True:
            if target.completions or target.data_out_requests:
                port.settle()
                moved = True
            if server.process() | client.process():
                moved = True
            else:
                return moved

    def _idle(self) -> bool:
        """Nothing goes on here: let the clock, other users of the port or stores go on."""
        target = self.port.target
        self.port.settle()
        if self.client.process():
            return True
        deadline = target.deadline()
        if deadline is not None and self._clock is None:
            self.port.advance(deadline)
            return True
        if self._pump is not None and self._pump():
            self.port.settle()
            return True
        return deadline is not None and self._clock is not None

    def abandon(self) -> None:
        """Be gone without a word, as a partition that crashes."""
        self.hypervisor.fail(self.client_unit)
        self.run()
        self.client.close()

    def close(self) -> None:
        """Close the queue: the nexus is lost."""
        self.client.close()
        self.run()
        self.server.close()
        self.hypervisor.disconnect(self.client_unit)


def _pump_of(stores: tuple[Store, ...]) -> Callable[[], bool] | None:
    if not stores:
        return None
    from transports.vscsi.stores import StorePump  # here: it waits, and who gives no stores has no need of it

    return StorePump(stores)
