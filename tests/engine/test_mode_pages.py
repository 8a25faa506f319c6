"""Mode pages, MODE SENSE and MODE SELECT."""

from __future__ import annotations

import pytest
from engine_spc_unit import PlainServer, World
from hypothesis import given, settings
from hypothesis import strategies as st

from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import IoRequest, SaveState
from scsiemu.layout import PageLayout
from scsiemu.mode_pages import ModeHeader, ModePage, ModePages, PageControl
from scsiemu.sam import Status
from scsiemu.sense import FieldPointer, decode_sense
from scsiemu.spc_mode_pages import CONTROL
from scsiemu.testing.initiator import Initiator, Result, StateDictionary


def control_page(world: World, pc: int = 0) -> bytes:
    """The control mode page."""
    return world.one.command("MODE SENSE(10)", page_code=0x0A, pc=pc, dbd=1).data[8:]


def select(initiator: Initiator, pages: bytes, *, sp: int = 0, pf: int = 1, six: bool = False) -> Result:
    """MODE SELECT of pages without block descriptors."""
    name, header = ("MODE SELECT(6)", bytes(4)) if six else ("MODE SELECT(10)", bytes(8))
    return initiator.command(name, pf=pf, sp=sp, data_out=header + pages)


def changed(page: bytes, **fields: int) -> bytes:
    """A control mode page with other values, as MODE SELECT wants it."""
    return bytes((page[0] & 0x7F, page[1])) + CONTROL.layout.replace(page[2:], **fields)


def pointer(result: Result) -> FieldPointer:
    """The field pointer of INVALID FIELD IN PARAMETER LIST."""
    assert result.code == asc.INVALID_FIELD_IN_PARAMETER_LIST, result
    assert result.sense is not None
    assert isinstance(result.sense.specific, FieldPointer)
    return result.sense.specific


def test_page_layout_marks() -> None:
    """Names with a star are changeable, values after the equals sign are defaults."""
    layout = PageLayout("a*:3 b=1 _:4 c*:16=0x1234 d:8")

    assert layout.defaults == bytes.fromhex("10123400")
    assert layout.changeable == bytes.fromhex("e0ffff00")
    assert layout.replace(layout.defaults, a=5, c=1) == bytes.fromhex("b0000100")


def test_mode_sense_lengths_of_standard_pages() -> None:
    """The pages of all types have the lengths of SPC-5."""
    data = World().one.command("MODE SENSE(10)", page_code=0x3F, subpage_code=0xFF).data[8:]
    found = []
    at = 0
    while at < len(data):
        length = 2 + data[at + 1] if not data[at] & 0x40 else 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((data[at], length))
        at += length

    assert found == [(0x02, 16), (0x0A, 12), (0x4A, 32), (0x1A, 40), (0x1C, 12)]


@pytest.mark.parametrize(
    ("page", "subpage", "byte"), [(0x3E, 0, 2), (0x0A, 0x77, 3), (0x3F, 0x01, 3), (0x3E, 0xFF, 2)]
)
def test_mode_sense_unknown_page(page: int, subpage: int, byte: int) -> None:
    """A page that is not there is refused at PAGE CODE, a subpage that is not there at SUBPAGE CODE."""
    result = World().one.command("MODE SENSE(10)", page_code=page, subpage_code=subpage)

    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert result.sense is not None
    assert isinstance(result.sense.specific, FieldPointer)
    assert result.sense.specific.byte == byte


def test_mode_sense_saved_without_store() -> None:
    """PC=11b without a state store is SAVING PARAMETERS NOT SUPPORTED, and PS is zero."""
    world = World()

    assert world.one.command("MODE SENSE(6)", page_code=0x0A, pc=3).code == asc.SAVING_PARAMETERS_NOT_SUPPORTED
    assert control_page(world)[0] == 0x0A


def test_mode_sense_ps_with_store() -> None:
    """With a state store PS is one in savable pages."""
    assert control_page(World(state=StateDictionary()))[0] == 0x8A


def test_mode_sense_6_header_is_too_short_for_many_pages() -> None:
    """Pages whose length the four-byte header cannot tell are refused, not cut."""

    class Long(PlainServer):
        def mode_page_declarations(self) -> list[ModePage]:
            more = [ModePage(0x20 + number, 0, "Vendor", PageLayout("_:1000")) for number in range(2)]
            return [*super().mode_page_declarations(), *more]

    one = World(server=Long()).one

    assert one.command("MODE SENSE(6)", page_code=0x3F).code == asc.INVALID_FIELD_IN_CDB
    assert len(one.command("MODE SENSE(10)", page_code=0x3F).data) > 256


def test_mode_select_changes_the_control_page() -> None:
    """New values are current, defaults stay, the task set obeys, other nexuses hear of it, this one does not."""
    world = World()
    before = control_page(world)
    result = select(world.one, changed(before, tas=1, qerr=3, d_sense=1))

    assert result.good
    assert (world.server.control.tas, world.server.control.qerr) == (1, 3)
    assert control_page(world)[2:] == CONTROL.layout.replace(before[2:], tas=1, qerr=3, d_sense=1)
    assert control_page(world, PageControl.DEFAULT) == before
    assert world.one.command("TEST UNIT READY").good
    assert world.two.command("TEST UNIT READY").code == asc.MODE_PARAMETERS_CHANGED


def test_mode_select_of_same_values_is_no_change() -> None:
    """Values that are current already make no unit attention."""
    world = World()

    assert select(world.one, changed(control_page(world))).good
    assert world.two.command("TEST UNIT READY").good


def test_mode_select_d_sense() -> None:
    """D_SENSE makes sense data of the descriptor format."""
    world = World()
    select(world.one, changed(control_page(world), d_sense=1))
    exchange = world.one.start(0, bytes((0xFF, 0, 0, 0, 0, 0)))
    completion = world.target.next_completion()

    assert exchange.result is None
    assert completion is not None
    assert completion.sense_data[0] == 0x72
    sense = decode_sense(completion.sense_data)
    assert sense is not None
    assert sense.code == asc.INVALID_COMMAND_OPERATION_CODE


@pytest.mark.parametrize(
    ("fields", "byte", "bit"),
    [
        ({"tst": 2}, 10, 7), ({"queue_algorithm_modifier": 2}, 11, 7), ({"qerr": 2}, 11, 2),
        ({"ua_intlck_ctrl": 1}, 12, 5), ({"gltsd": 1, "nuar": 1}, 11, 3), ({"busy_timeout_period": 0}, 16, None),
        ({"ato": 1}, 13, 7),
    ],
)
def test_mode_select_refuses_values(fields: dict[str, int], byte: int, bit: int | None) -> None:
    """Reserved codes and unchangeable fields are refused with the field pointer; nothing changes."""
    world = World()
    before = control_page(world)
    result = select(world.one, changed(before, **{"tas": 1, **fields}))

    assert pointer(result) == FieldPointer(byte, bit, in_cdb=False)
    assert control_page(world) == before


def test_mode_select_is_all_or_nothing() -> None:
    """A wrong second page undoes the first (SPC-5 6.12)."""
    world = World()
    before = control_page(world)
    exceptions = world.one.command("MODE SENSE(10)", page_code=0x1C).data[8:]
    wrong = bytearray(exceptions)
    wrong[3] = 0x0B
    result = select(world.one, changed(before, tas=1) + bytes(wrong))

    assert pointer(result) == FieldPointer(8 + 12 + 3, 3, in_cdb=False)
    assert control_page(world) == before
    assert world.two.command("TEST UNIT READY").good


@pytest.mark.parametrize(
    ("page", "byte", "bit"),
    [
        (bytes((0x3E, 10)), 8, 5),                   # unknown page
        (bytes((0x0A, 9)), 9, None),                 # wrong page length
        (bytes((0x4A, 0x77, 0, 28)), 9, None),       # unknown subpage
        (bytes((0x5A, 0x01, 0, 28)), 9, None),
        (bytes((0x4A, 0x01, 0, 27)), 10, None),
    ],
)
def test_mode_select_refuses_page_headers(page: bytes, byte: int, bit: int | None) -> None:
    """Wrong page headers are refused where they are wrong."""
    result = select(World().one, page + bytes(28))

    assert pointer(result) == FieldPointer(byte, bit, in_cdb=False)


def test_mode_select_takes_what_mode_sense_gave() -> None:
    """Pages go back with PS as MODE SENSE had it, and MODE DATA LENGTH too."""
    one = World(state=StateDictionary()).one
    sensed = one.command("MODE SENSE(10)", page_code=0x0A).data

    assert sensed[8] & 0x80
    assert one.command("MODE SELECT(10)", pf=1, data_out=sensed).good


@pytest.mark.parametrize("six", [False, True])
def test_mode_select_parameter_list_lengths(six: bool) -> None:
    """Length 0 and a bare header are no error; lists cut inside of the header or a page are PARAMETER LIST LENGTH
    ERROR."""
    world = World()
    name, header = ("MODE SELECT(6)", 4) if six else ("MODE SELECT(10)", 8)
    whole = bytes(header) + changed(control_page(world))

    for length in range(len(whole) + 1):
        result = world.one.command(name, pf=1, data_out=whole[:length])
        if length in (0, header, len(whole)):
            assert result.good, length
        else:
            assert result.code == asc.PARAMETER_LIST_LENGTH_ERROR, length


def test_mode_select_pf() -> None:
    """Without PF pages are vendor specific, and refused."""
    world = World()

    assert select(world.one, changed(control_page(world)), pf=0).code == asc.INVALID_FIELD_IN_CDB
    assert select(world.one, b"", pf=0).good


def test_mode_select_sp_without_store() -> None:
    """SP without a state store is INVALID FIELD IN CDB."""
    world = World()
    result = select(world.one, changed(control_page(world)), sp=1)

    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(1, 0)


def test_mode_select_sp_outlives_the_process() -> None:
    """Saved values are current after a restart and after a logical unit reset; values that were not saved are not."""
    state = StateDictionary()
    world = World(state=state)
    assert select(world.one, changed(control_page(world), tas=1), sp=1).good
    assert select(world.one, changed(control_page(world), qerr=1)).good
    again = World(state=state)

    assert again.server.control.tas == 1
    assert again.server.control.qerr == 0
    assert control_page(again)[2:] == control_page(again, PageControl.SAVED)[2:]
    world.server.reset("logical unit reset")
    assert (world.server.control.tas, world.server.control.qerr) == (1, 0)


def test_mode_select_sp_that_cannot_be_saved() -> None:
    """A state store that fails: CHECK CONDITION, and neither current nor saved values change."""

    class Broken(StateDictionary):
        def __call__(self, request: IoRequest[object], ticket: object, /) -> object:
            if isinstance(request, SaveState):
                return IoFailed(IoFault.NO_SPACE)
            return super().__call__(request, ticket)  # type: ignore[arg-type]  # the ticket is not used

    world = World(state=Broken())
    before = control_page(world)
    result = select(world.one, changed(before, tas=1), sp=1)

    assert result.status == Status.CHECK_CONDITION
    assert control_page(world) == before
    assert control_page(world, PageControl.SAVED) == before
    assert world.server.control.tas == 0


def test_mode_select_rtd() -> None:
    """RTD brings all pages back to their defaults; a parameter list beside it is refused."""
    world = World()
    before = control_page(world)
    select(world.one, changed(before, tas=1))
    refused = world.one.command("MODE SELECT(10)", rtd=1, data_out=bytes(8))

    assert refused.code == asc.INVALID_FIELD_IN_CDB
    assert world.one.command("MODE SELECT(10)", rtd=1).good
    assert control_page(world) == before
    assert world.server.control.tas == 0


def test_mode_select_block_descriptor_of_nothing() -> None:
    """A block descriptor for a unit that has none is refused at the descriptor; a length of 7 at its length field."""
    one = World().one

    assert pointer(one.command("MODE SELECT(6)", pf=1, data_out=bytes((0, 0, 0, 8)) + bytes(8))).byte == 4
    assert pointer(one.command("MODE SELECT(6)", pf=1, data_out=bytes((0, 0, 0, 7)) + bytes(7))).byte == 3


def test_mode_select_rounds() -> None:
    """A device type that rounds a value: the command takes effect and ends with ROUNDED PARAMETER."""

    class Rounding(PlainServer):
        def check_mode_page(self, page: ModePage, wanted: CdbFields) -> dict[str, int]:
            rounded = dict(super().check_mode_page(page, wanted))
            if page.page == 0x1C and wanted.interval_timer % 10:
                rounded["interval_timer"] = wanted.interval_timer // 10 * 10
            return rounded

    world = World(server=Rounding())
    page = bytearray(world.one.command("MODE SENSE(10)", page_code=0x1C).data[8:])
    page[4:8] = (123).to_bytes(4, "big")
    result = select(world.one, bytes(page))

    assert result.code == asc.ROUNDED_PARAMETER
    assert world.one.command("MODE SENSE(10)", page_code=0x1C).data[12:16] == (120).to_bytes(4, "big")


def test_mode_select_header_hook() -> None:
    """Block descriptors and the header go to the device type: checked first, applied once."""

    class Blocks(PlainServer):
        applied: ModeHeader | None = None

        def block_descriptors(self, *, control: int, long: bool) -> bytes:
            return bytes(16) if long else bytes(8)

        def check_mode_header(self, header: ModeHeader) -> bool:
            return any(header.block_descriptors)

        def apply_mode_header(self, header: ModeHeader, command: Command) -> None:
            self.applied = header

    server = Blocks()
    world = World(server=server)
    data = world.one.command("MODE SENSE(10)", llbaa=1, page_code=0x0A).data
    assert data[4:8] == bytes((1, 0, 0, 16))
    assert world.one.command("MODE SENSE(10)", page_code=0x0A).data[4:8] == bytes((0, 0, 0, 8))
    assert world.one.command("MODE SENSE(6)", page_code=0x0A).data[3] == 8

    assert world.one.command("MODE SELECT(6)", pf=1, data_out=bytes((0, 0, 0, 8)) + b"\1" * 8).good
    assert server.applied == ModeHeader(0, 0, b"\1" * 8, False, 4)
    assert world.two.command("TEST UNIT READY").code == asc.MODE_PARAMETERS_CHANGED


def test_mode_sense_live_fields() -> None:
    """Values that state decides are current; sending them back is no change, sending others is refused."""

    class Live(PlainServer):
        def mode_page_declarations(self) -> list[ModePage]:
            return [*super().mode_page_declarations(), ModePage(0x2A, 0, "Live", PageLayout("_:7 lock _:8"))]

        def live_mode_fields(self, page: ModePage) -> dict[str, int]:
            return {"lock": 1} if page.page == 0x2A else {}

    one = World(server=Live()).one

    assert one.command("MODE SENSE(10)", page_code=0x2A).data[8:] == bytes((0x2A, 2, 1, 0))
    assert one.command("MODE SENSE(10)", page_code=0x2A, pc=2).data[8:] == bytes((0x2A, 2, 0, 0))
    assert select(one, bytes((0x2A, 2, 1, 0))).good
    assert pointer(select(one, bytes((0x2A, 2, 0, 0)))) == FieldPointer(10, 0, in_cdb=False)


@pytest.mark.parametrize("mrie", [0, 2, 6])
def test_mode_select_informational_exception_test(mrie: int) -> None:
    """TEST makes a false exception, reported as MRIE says (SPC-5 7.5.13)."""
    world = World()
    page = bytes((0x1C, 10, 0x04, mrie)) + bytes(8)
    assert select(world.one, page).good
    world.two.clear_attentions()
    polled = decode_sense(world.one.command("REQUEST SENSE").data)
    again = decode_sense(world.one.command("REQUEST SENSE").data)

    assert polled is not None
    assert again is not None
    false = (0x5D, 0xFF)
    assert ((polled.code.asc, polled.code.ascq) == false) == (mrie in (2, 6))
    assert polled.code.key == (6 if mrie == 2 else 0)
    assert ((again.code.asc, again.code.ascq) == false) == (mrie == 6)
    assert world.one.command("LOG SENSE", pc=1, page_code=0x2F).data[8:10] == bytes(false)


def test_mode_select_informational_exception_repeats() -> None:
    """With MRIE 2 the report comes again at each interval, REPORT COUNT times."""
    world = World()
    assert select(world.one, bytes.fromhex("1c0a 0402 0000000a 00000003")).good
    reports = 0
    for tenth in range(100):
        world.target.advance(tenth / 10)
        reports += not world.one.command("TEST UNIT READY").good

    assert reports == 3


def test_mode_select_informational_exception_conflict() -> None:
    """TEST with DEXCPT, and methods that we do not have, are refused."""
    one = World().one

    assert pointer(select(one, bytes((0x1C, 10, 0x0C, 6)) + bytes(8))) == FieldPointer(10, 2, in_cdb=False)
    assert pointer(select(one, bytes((0x1C, 10, 0x00, 4)) + bytes(8))) == FieldPointer(11, 3, in_cdb=False)


@given(st.binary(max_size=64), st.booleans())
@settings(max_examples=150, deadline=None)
def test_mode_select_any_list(data: bytes, six: bool) -> None:
    """Whatever the parameter list, the pages keep their lengths and MODE SENSE answers."""
    world = World()
    name, header = ("MODE SELECT(6)", bytes(4)) if six else ("MODE SELECT(10)", bytes(8))
    result = world.one.command(name, pf=1, data_out=header + data)

    assert result.status in (Status.GOOD, Status.CHECK_CONDITION)
    assert result.code != asc.INTERNAL_TARGET_FAILURE
    assert len(world.one.command("MODE SENSE(10)", page_code=0x3F, subpage_code=0xFF).data) == 8 + 112


@given(st.binary(max_size=80))
@settings(max_examples=150, deadline=None)
def test_saved_record_any_bytes(record: bytes) -> None:
    """A record of another version of the program, or a damaged one, never does more than be left out."""
    pages = ModePages([CONTROL])
    pages.unpack(record)

    assert len(pages.current[CONTROL.key]) == CONTROL.layout.length


def test_saved_record_round_trip() -> None:
    """What is packed comes back."""
    pages = ModePages([CONTROL])
    pages.set(0x0A, tas=1)
    other = ModePages([CONTROL])
    other.unpack(pages.pack(pages.current))

    assert other.current == pages.current
    assert other.saved == pages.current
