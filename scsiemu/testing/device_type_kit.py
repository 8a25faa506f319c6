"""The conformance kit of device types: `check_device_type(factory)` is a test that every device type runs.

    def test_check_device_type():
        check_device_type(lambda target: target.add_unit(0, MyServer(), performer=..., capabilities=...))

The factory adds one unit to the target that it is given, and returns it. Everything is asked through
commands. What the commands do to a medium is the device type's own test.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from scsiemu import asc
from scsiemu.events import InternalFailure
from scsiemu.logical_unit import LogicalUnit
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.operations import Operation
from scsiemu.sam import Status, TaskManagementFunction
from scsiemu.sense import FieldPointer
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator, Result

__all__ = [
    "UnitFactory", "check_allocation_lengths", "check_device_type", "check_log_pages", "check_mode_pages",
    "check_parameter_lists", "check_random_cdbs", "check_reserved_bits", "check_supported_operation_codes",
    "check_undeclared_opcodes", "check_vpd_pages",
]

UnitFactory: TypeAlias = Callable[[Target], LogicalUnit]

_TARGET: Final = "iqn.2026-11.org.example:kit"
_LENGTHS: Final = (6, 10, 12, 16, 32)


class _Bench:
    """A target with the unit under test, and an initiator."""

    def __init__(self, factory: UnitFactory) -> None:
        self.target = Target(_TARGET)
        self.target.add_port(TargetPort(f"{_TARGET},t,0x0001", 1, 1, Protocol.ISCSI, _TARGET))
        self.target.add_port(TargetPort(f"{_TARGET},t,0x0002", 2, 2, Protocol.ISCSI, _TARGET))
        self.unit = factory(self.target)
        self.lun = self.unit.lun
        self.initiator = Initiator(self.target)

    def execute(self, cdb: bytes, data_out: bytes = b"", data_in: int = 1 << 20) -> Result:
        """Execute a CDB; the unit must not fail internally, and must not have attentions of its own
        making."""
        result = self.initiator.execute(self.lun, cdb, data_out, data_in)
        while (event := self.target.next_event()) is not None:
            assert not isinstance(event, InternalFailure), f"{cdb.hex()}: {event}"
        assert result.code != asc.INTERNAL_TARGET_FAILURE, cdb.hex()
        if result.status == Status.CHECK_CONDITION:
            # NACA of a random CONTROL byte: without this nothing after it would be performed.
            self.initiator.manage(TaskManagementFunction.CLEAR_ACA, self.lun)
        self.initiator.clear_attentions()
        return result

    def command(self, name: str, **fields: int) -> Result:
        """Execute an operation by name."""
        return self.execute(self.initiator.cdb(name, lun=self.lun, data_out=b"", data_in=1 << 20, **fields))

    def base(self, operation: Operation) -> bytes:
        """A CDB of the operation with every other field zero."""
        fields = {"opcode": operation.opcode}
        if operation.service_action is not None:
            fields["service_action"] = operation.service_action
        if "additional_cdb_length" in operation.layout:
            fields["additional_cdb_length"] = operation.layout.length - 8
        return operation.layout.build(**fields)

    def has(self, name: str) -> bool:
        """Whether the unit has an operation of that name now."""
        return any(operation.name == name for operation in self.unit.server.table)


def check_device_type(factory: UnitFactory, *, seed: int = 0, random_cdbs: int = 24) -> None:
    """All checks. `random_cdbs` are tried with each of the 256 opcodes."""
    check_reserved_bits(factory)
    check_undeclared_opcodes(factory)
    check_supported_operation_codes(factory)
    check_vpd_pages(factory)
    check_mode_pages(factory)
    check_log_pages(factory)
    check_allocation_lengths(factory)
    check_parameter_lists(factory)
    check_random_cdbs(factory, seed=seed, each=random_cdbs)


def check_reserved_bits(factory: UnitFactory) -> None:
    """Every reserved bit of every operation is refused with the field pointer at it (SPC-5 4.2.1)."""
    bench = _Bench(factory)
    lun_ignored = bench.unit.server.lun_bits_ignored
    for operation in bench.unit.server.table:
        base = bench.base(operation)
        for bit in range(operation.layout.length * 8):
            cdb = bytearray(base)
            cdb[bit // 8] |= 0x80 >> bit % 8
            if operation.layout.reserved_bit_set(cdb, lun_ignored=lun_ignored) is None:
                continue
            result = bench.execute(bytes(cdb))
            assert result.code == asc.INVALID_FIELD_IN_CDB, f"{operation.name}: {cdb.hex()}: {result}"
            assert result.sense is not None
            assert result.sense.specific == FieldPointer(bit // 8, 7 - bit % 8), f"{operation.name}: {cdb.hex()}"


def check_undeclared_opcodes(factory: UnitFactory) -> None:
    """An opcode that is not declared is INVALID COMMAND OPERATION CODE."""
    bench = _Bench(factory)
    for opcode in range(256):
        if opcode not in bench.unit.server.table.opcodes:
            result = bench.execute(bytes((opcode,)) + bytes(15))
            assert result.code == asc.INVALID_COMMAND_OPERATION_CODE, f"{opcode:02x}: {result}"


def check_supported_operation_codes(factory: UnitFactory) -> None:
    """REPORT SUPPORTED OPERATION CODES is the operation table, in all its formats (SPC-5 6.40)."""
    bench = _Bench(factory)
    name = "REPORT SUPPORTED OPERATION CODES"
    table = list(bench.unit.server.table)
    for rctd in (0, 1):
        data = bench.command(name, rctd=rctd).data
        size = 20 if rctd else 8
        assert len(data) == 4 + int.from_bytes(data[:4], "big")
        found = [struct.unpack_from(">BxHxBH", data, at) for at in range(4, len(data), size)]
        wanted = [
            (each.opcode, each.service_action or 0, rctd << 1 | (each.service_action is not None), each.layout.length)
            for each in table
        ]
        assert found == wanted
    for each in table:
        options = 1 if each.service_action is None else 2
        for option in (options, 3):
            data = bench.command(
                name, reporting_options=option, requested_operation_code=each.opcode,
                requested_service_action=each.service_action or 0,
            ).data
            assert data == struct.pack(">BBH", 0, 3, each.layout.length) + each.usage, each.name


def check_vpd_pages(factory: UnitFactory) -> None:
    """VPD page 00h lists exactly the pages that INQUIRY answers, each with its own length (SPC-5 7.7.17)."""
    bench = _Bench(factory)
    listed = set(bench.command("INQUIRY", evpd=1).data[4:])
    for code in range(256):
        result = bench.command("INQUIRY", evpd=1, page_code=code)
        assert result.good == (code in listed), f"VPD page {code:02x}"
        if result.good:
            assert result.data[1] == code
            assert len(result.data) == 4 + int.from_bytes(result.data[2:4], "big"), f"VPD page {code:02x}"


def check_mode_pages(factory: UnitFactory) -> None:
    """MODE SENSE 3Fh/FFh is the sum of the pages; all sets of values have the same form (SPC-5 6.14)."""
    bench = _Bench(factory)
    if not bench.has("MODE SENSE(10)"):
        return
    for control in (0, 1, 2, 3):
        whole = bench.command("MODE SENSE(10)", pc=control, page_code=0x3F, subpage_code=0xFF, dbd=1)
        if control == 3 and not bench.unit.has_state_store:
            assert whole.code == asc.SAVING_PARAMETERS_NOT_SUPPORTED
            continue
        assert whole.good
        assert len(whole.data) == 2 + int.from_bytes(whole.data[:2], "big")
        parts = b""
        for page, subpage, body in _mode_pages(whole.data[8:]):
            one = bench.command("MODE SENSE(10)", pc=control, page_code=page, subpage_code=subpage, dbd=1)
            assert one.data[8:] == body, f"mode page {page:02x}/{subpage:02x}"
            parts += body
        assert parts == whole.data[8:]
    forms = []
    for control in (0, 1, 2):
        data = bench.command("MODE SENSE(10)", pc=control, page_code=0x3F, subpage_code=0xFF, dbd=1).data
        forms.append([(page, subpage, len(body)) for page, subpage, body in _mode_pages(data[8:])])
    assert forms[0] == forms[1] == forms[2]


def _mode_pages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Mode pages one by one: page, subpage, all bytes."""
    at = 0
    while at < len(data):
        long = bool(data[at] & 0x40)
        length = 4 + int.from_bytes(data[at + 2 : at + 4], "big") if long else 2 + data[at + 1]
        yield data[at] & 0x3F, data[at + 1] if long else 0, data[at : at + length]
        at += length


def check_log_pages(factory: UnitFactory) -> None:
    """Log pages 00h and 00h/FFh list exactly the pages that LOG SENSE answers (SPC-5 7.3.16)."""
    bench = _Bench(factory)
    if not bench.has("LOG SENSE"):
        return
    data = bench.command("LOG SENSE", pc=1, page_code=0, subpage_code=0xFF).data
    listed = {(data[at], data[at + 1]) for at in range(4, len(data), 2)}
    plain = bench.command("LOG SENSE", pc=1, page_code=0).data[4:]
    assert set(plain) == {page for page, subpage in listed if not subpage}
    for page in range(64):
        for subpage in {0, 1, 2, 3, 0xFF} | {s for p, s in listed if p == page}:
            result = bench.command("LOG SENSE", pc=1, page_code=page, subpage_code=subpage)
            assert result.good == ((page, subpage) in listed), f"log page {page:02x}/{subpage:02x}"
            if result.good:
                assert result.data[0] & 0x3F == page
                assert result.data[1] == subpage
                assert len(result.data) == 4 + int.from_bytes(result.data[2:4], "big")


def check_allocation_lengths(factory: UnitFactory) -> None:
    """A short allocation length cuts the data and nothing else: the header keeps the full length (SPC-5
    4.2.5.6)."""
    bench = _Bench(factory)
    for operation in bench.unit.server.table:
        if operation.allocation is None:
            continue
        most = (1 << operation.layout.field(operation.allocation).width) - 1
        for fields in _variations(bench, operation):
            whole = bench.command(operation.name, **fields, **{operation.allocation: min(most, 1 << 20)})
            if not whole.good:
                continue
            length = len(whole.data)
            for allocation in {0, 1, max(0, length - 1), length, most}:
                if allocation <= most:
                    cut = bench.command(operation.name, **fields, **{operation.allocation: allocation})
                    assert cut.good, f"{operation.name} {fields} allocation {allocation}: {cut}"
                    if operation.name.startswith("READ BUFFER"):
                        continue    # its data is as long as the allocation length
                    assert cut.data == whole.data[:allocation], f"{operation.name} {fields}"


def _variations(bench: _Bench, operation: Operation) -> Iterator[dict[str, int]]:
    """CDB fields to try an operation with."""
    yield {}
    if operation.name == "INQUIRY":
        for code in bench.command("INQUIRY", evpd=1).data[4:]:
            yield {"evpd": 1, "page_code": code}
    elif operation.name.startswith("MODE SENSE"):
        yield {"page_code": 0x3F}
        yield {"page_code": 0x3F, "subpage_code": 0xFF}
    elif operation.name == "LOG SENSE":
        for page in bench.command("LOG SENSE", pc=1).data[4:]:
            yield {"pc": 1, "page_code": page}
    elif operation.name == "REPORT SUPPORTED OPERATION CODES":
        yield {"rctd": 1}
        yield {"reporting_options": 1, "requested_operation_code": 0x12}


def check_parameter_lists(factory: UnitFactory) -> None:
    """Parameter lists that are absent or one byte long are answered; one that the initiator does not send in full is
    refused."""
    bench = _Bench(factory)
    for operation in bench.unit.server.table:
        if operation.parameter_list is None:
            continue
        base = operation.layout.parse(bench.base(operation))
        most = (1 << operation.layout.field(operation.parameter_list).width) - 1
        for announced, sent in ((0, 0), (1, 1), (2, 1), (min(most, 24), 0), (min(most, 24), 5), (min(most, 64), 64)):
            fields = {**dict(base.items()), operation.parameter_list: announced}
            for filler in (b"\0", b"\xff"):
                result = bench.execute(operation.layout.build(**fields), filler * sent)
                told = f"{operation.name}: {sent} bytes of {announced}"
                assert sent == announced or result.status != Status.GOOD, told
        over = operation.parameter_list_limit + 1
        if over <= most:
            fields = {**dict(base.items()), operation.parameter_list: over}
            result = bench.execute(operation.layout.build(**fields))
            assert result.status != Status.GOOD, operation.name


def check_random_cdbs(factory: UnitFactory, *, seed: int = 0, each: int = 24) -> None:
    """Whatever an initiator sends on any opcode ends with a status, never INTERNAL TARGET FAILURE."""
    chance = random.Random(seed)
    mixed = _Bench(factory)
    for opcode in range(256):
        declared = mixed.unit.server.table.by_opcode.get(opcode, ())
        # What came before may have closed the unit to others (reservations, access states): each starts afresh, and
        # one goes through all of it.
        fresh = _Bench(factory) if declared else mixed
        for turn in range(each):
            cdb = bytearray(chance.randbytes(chance.choice(_LENGTHS)))
            cdb[0] = opcode
            if declared and turn % 2:
                # Half of them get past the check of reserved bits.
                cdb = _plausible(chance, chance.choice(declared))
            data_out = chance.randbytes(chance.choice((0, 1, 8, 24, 512)))
            for bench in {mixed, fresh}:
                bench.execute(bytes(cdb), data_out, data_in=4096)


def _plausible(chance: random.Random, operation: Operation) -> bytearray:
    """A CDB with random small values in its fields and zeros in its reserved bits."""
    fields = {}
    for field in operation.layout.fields:
        if field.name not in ("_", "control"):
            fields[field.name] = chance.randrange(min(1 << field.width, chance.choice((2, 64, 1 << 16))))
    fields["opcode"] = operation.opcode
    if operation.service_action is not None:
        fields["service_action"] = operation.service_action
    if "additional_cdb_length" in operation.layout:
        fields["additional_cdb_length"] = operation.layout.length - 8
    return bytearray(operation.layout.build(**fields))
