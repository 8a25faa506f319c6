"""A client driven by hand: bytes into its memory, elements into the server's queue."""

from __future__ import annotations

from collections.abc import Callable

from scsiemu.io_requests import PENDING, Performer
from scsiemu.testing.served import ScsiTarget
from transports.vscsi.codes import CrqFormat, CrqValid, InitFormat
from transports.vscsi.crq import CrqElement, CrqReceiver
from transports.vscsi.dma import PAGE, TCE_READ, TCE_WRITE, DmaWindow
from transports.vscsi.hypervisor import Hypervisor
from transports.vscsi.information_units import (
    CommandIu,
    InformationUnit,
    LoginRequest,
    ResponseIu,
    decode,
)
from transports.vscsi.port import VscsiLimits, VscsiPort

# The map of the client: queue, information units, data, and then pages that the window does not reach.
PAGES = 64
MAPPED = 48
UNITS = PAGE
DATA = 16 * PAGE
READ_ONLY = 40 * PAGE           # one page that may not be written
CANARY = b"\xca\xfe"


class RawClient:
    """A client without a driver, and its server; the disk has `held` as performer if that is given."""

    def __init__(self, *, limits: VscsiLimits | None = None, performer: Performer | None = None) -> None:
        self.here = ScsiTarget("--disk", "1M")
        self.target = self.here.target
        if performer is not None:
            self.target.units[0].performer = performer
        self.port = VscsiPort(self.target, limits=limits)
        self.hypervisor = Hypervisor()
        self.memory = bytearray(CANARY * (PAGES * PAGE // 2))
        self.memory[: MAPPED * PAGE] = bytes(MAPPED * PAGE)
        self.window = DmaWindow(0x1000_0001, memoryview(self.memory), size=PAGES * PAGE)
        self.window.put_tce(0, TCE_READ | TCE_WRITE, count=MAPPED)
        self.window.put_tce(READ_ONLY, READ_ONLY | TCE_READ)
        self.unit, self.server = self.port.attach(self.hypervisor, self.window)
        self.slot = 0

    def connect(self) -> RawClient:
        """Register, shake hands."""
        self.server.start()
        self.hypervisor.h_reg_crq(self.unit, 0, PAGE)
        self.ring = CrqReceiver(memoryview(self.memory)[:PAGE])
        self.send(CrqElement(CrqValid.INIT, InitFormat.INIT))
        (answer,) = self.take()
        assert (answer.valid, answer.format) == (CrqValid.INIT, InitFormat.INIT_COMPLETE)
        return self

    def login(self) -> RawClient:
        """Connect and log in, and take the unit attentions."""
        self.connect()
        self.ask(LoginRequest(1, 256))
        self.execute(bytes(6))
        return self

    def again(self) -> None:
        """What a client does after its partner closed its queue."""
        self.send(CrqElement(CrqValid.INIT, InitFormat.INIT_COMPLETE))
        self.ask(LoginRequest(1, 256))
        self.execute(bytes(6))

    # --- the queue ---------------------------------------------------------------------------------------------

    def send(self, element: CrqElement) -> int:
        """H_SEND_CRQ, and let the server work."""
        raw = element.encode()
        code = self.hypervisor.h_send_crq(self.unit, int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big"))
        self.run()
        return code

    def run(self) -> None:
        """Let the server work."""
        self.server.process()
        self.port.settle()

    def take(self) -> list[CrqElement]:
        """What came."""
        found = []
        while (element := self.ring.get()) is not None:
            found.append(element)
        return found

    def put(self, data: bytes, *, address: int | None = None) -> int:
        """Bytes of an information unit into memory; their address."""
        if address is None:
            self.slot = (self.slot + 1) % 64
            address = UNITS + self.slot * 256
        self.memory[address : address + len(data)] = data
        return address

    def post(
        self, data: bytes, *, kind: int = CrqFormat.SRP, length: int | None = None, address: int | None = None
    ) -> int:
        """Put an information unit and send its element; its address."""
        at = self.put(data) if address is None else address
        size = len(data) if length is None else length
        self.send(CrqElement(CrqValid.MESSAGE, kind, iu_length=size, iu_address=at))
        return at

    def ask(self, unit: InformationUnit) -> InformationUnit:
        """Send a unit and decode what comes over it."""
        return self.ask_with_status(unit)[0]

    def ask_with_status(self, unit: InformationUnit) -> tuple[InformationUnit, int]:
        """The same, with the CRQ status."""
        address = self.post(unit.encode())
        (element,) = self.take()
        assert (element.valid, element.format) == (CrqValid.MESSAGE, CrqFormat.SRP)
        assert element.iu_address == unit.tag
        return decode(bytes(self.memory[address : address + element.iu_length])), element.status

    def execute(self, cdb: bytes, **fields: object) -> ResponseIu:
        """A command; its response."""
        response = self.ask(CommandIu(77, 0, cdb.ljust(16, b"\0"), **fields))  # type: ignore[arg-type]  # as of CommandIu
        assert isinstance(response, ResponseIu)
        return response

    def mad(self, data: bytes) -> bytes:
        """A management datagram; its answer."""
        address = self.post(data, kind=CrqFormat.MAD)
        (element,) = self.take()
        assert (element.valid, element.format) == (CrqValid.MESSAGE, CrqFormat.MAD)
        return bytes(self.memory[address : address + element.iu_length])

    # --- what must be so ---------------------------------------------------------------------------------------

    def assert_disconnected(self) -> None:
        """The server has closed its queue and greets anew; no nexus is left; then everything works again."""
        elements = [(element.valid, element.format) for element in self.take()]
        assert elements[-2:] == [(CrqValid.TRANSPORT_EVENT, 2), (CrqValid.INIT, InitFormat.INIT)], elements
        self.assert_no_nexus()
        self.again()

    def assert_no_nexus(self) -> None:
        """Only the nexus of the tests' own initiator is there."""
        assert len(self.target.nexuses) == 1

    def assert_untouched(self) -> None:
        """What the window does not reach is as it was."""
        rest = bytes(self.memory[MAPPED * PAGE :])
        assert rest == CANARY * (len(rest) // 2)


class Held:
    """A performer that keeps requests until it is told."""

    def __init__(self) -> None:
        self.kept: list[tuple[object, object]] = []

    def __call__(self, request: object, ticket: object, /) -> object:
        self.kept.append((request, ticket))
        return PENDING


def mangled(unit: InformationUnit, change: Callable[[bytearray], None]) -> bytes:
    """The bytes of a unit, changed."""
    raw = bytearray(unit.encode())
    change(raw)
    return bytes(raw)


