"""Hypothesis strategies of commands, derived from operation tables: what is declared is what is tried.

    @given(commands(OperationTable(VirtualDisk)))
    def test_any_command_ends(case): initiator.execute(0, case.cdb, case.data_out, case.data_in_length)

Small numbers come most often: large ones end in the same three refusals. They do NOT know what a field means, so a
parameter list is right by chance, or by what the caller gives as `valid`. Needs hypothesis, which the `test` extra of
the distribution installs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from hypothesis import strategies as st

from scsiemu._value import value
from scsiemu.operations import DataDirection, Operation, OperationTable

__all__ = ["CommandCase", "cdbs", "commands", "hostile_cdbs", "numbers", "parameter_lists"]

_NACA: Final = 0x04
_VARIABLE_LENGTH: Final = 0x7F
_LONGEST_CDB: Final = 260               # of 7Fh: 8 bytes and the most of ADDITIONAL CDB LENGTH, in words
_LENGTHS: Final = (6, 10, 12, 16, 32, _LONGEST_CDB)


@value
class CommandCase:
    """A command to try.

    Args:
        operation: whose CDB it is.
        cdb: of its layout.
        data_out: what the initiator is ready to send.
        data_in_length: what it is ready to receive.
    """

    operation: Operation
    cdb: bytes
    data_out: bytes
    data_in_length: int


def numbers(width: int) -> st.SearchStrategy[int]:
    """Values of a field of `width` bits: mostly small, sometimes the largest, sometimes any."""
    most = (1 << width) - 1
    small = st.integers(0, min(most, 3))
    if most <= 3:
        return small
    edges = sorted({most, most - 1, most >> 1, (most >> 1) + 1})
    return st.one_of(
        small, small, st.integers(0, min(most, 40)), st.integers(0, min(most, 512)), st.sampled_from(edges),
        st.integers(0, most),
    )


def cdbs(operation: Operation, *, reserved: bool = True, naca: bool = False) -> st.SearchStrategy[bytes]:
    """CDBs of an operation: its opcode and service action, anything in its fields.

    Args:
        reserved: now and then a reserved bit is set.
        naca: now and then NACA is set: then a CHECK CONDITION leaves an ACA condition behind.
    """
    layout = operation.layout
    fixed = {"opcode": operation.opcode}
    if operation.service_action is not None:
        fixed["service_action"] = operation.service_action
    if "additional_cdb_length" in layout:
        fixed["additional_cdb_length"] = layout.length - 8
    fields: dict[str, st.SearchStrategy[int]] = {}
    for field in layout.fields:
        if field.name in fixed or field.name == "_":
            continue
        if field.name == "control":
            fields["control"] = st.sampled_from((0, 0, 0, _NACA)) if naca else st.just(0)
        else:
            fields[field.name] = numbers(field.width)

    # Most fields stay zero in most CDBs: few operations allow all of their bits at once.
    chosen = st.fixed_dictionaries({}, optional=fields) if len(fields) > 2 else st.fixed_dictionaries(fields)
    built = chosen.map(lambda values: layout.build(**fixed, **values))
    spare = [bit for bit in range(layout.length * 8) if layout.reserved_mask >> bit & 1]
    if not (reserved and spare):
        return built
    flipped = st.builds(_with_bit, built, st.sampled_from(spare))
    return st.integers(0, 15).flatmap(lambda chance: built if chance else flipped)


def commands(
    table: OperationTable | Iterable[Operation],
    *,
    block_size: int = 512,
    most: int = 1 << 16,
    reserved: bool = True,
    naca: bool = False,
    valid: Sequence[bytes] = (),
) -> st.SearchStrategy[CommandCase]:
    """Commands of a table, each operation as often as another, with Data-Out and room for Data-In that mostly fit.

    Args:
        block_size: bytes of Data-Out for each block of an operation that has a range.
        most: no more bytes of Data-Out or Data-In than this.
        reserved, naca: as of `cdbs`.
        valid: parameter lists that are right for some operation, to start from.
    """
    return _operations(table).flatmap(
        lambda operation: cdbs(operation, reserved=reserved, naca=naca).flatmap(
            lambda cdb: _case(operation, cdb, block_size=block_size, most=most, valid=valid)
        )
    )


def parameter_lists(
    length: int | None = None, *, valid: Sequence[bytes] = (), most: int = 1024
) -> st.SearchStrategy[bytes]:
    """Parameter lists: anything; headers that tell the true length of what follows; and valid ones with faults.

    Args:
        length: exactly so many bytes; None: as it comes.
        valid: to start from: as they are, cut short, with bytes behind, with some bytes changed.
        most: bytes, where `length` is None.
    """
    upper = most if length is None else length
    plain = st.binary(max_size=min(upper, 64))
    kinds = [plain, st.builds(_with_length, plain, st.sampled_from((1, 2, 4)), st.integers(0, 7))]
    kinds.append(st.builds(lambda byte, count: bytes((byte,)) * count, st.integers(0, 255), st.integers(0, upper)))
    if valid:
        right = st.sampled_from(tuple(valid))
        changes = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=3)
        kinds += [right, st.builds(_changed, right, changes)]
        kinds.append(st.builds(lambda whole, end: whole[: end % (len(whole) + 1)], right, st.integers(0, 255)))
        kinds.append(st.builds(lambda whole, more: whole + more, right, st.binary(max_size=8)))
    if length is None:
        return st.one_of(kinds).map(lambda data: data[:most])
    return st.one_of(kinds).map(lambda data: data[:length].ljust(length, b"\0"))


def hostile_cdbs(table: OperationTable | Iterable[Operation] = ()) -> st.SearchStrategy[bytes]:
    """CDBs that nobody would send: of any length from one byte on, any opcode, lengths that lie.

    Args:
        table: its operations are cut short, made longer, and get bits that they must not have.
    """
    anything = st.binary(min_size=1, max_size=_LONGEST_CDB)
    sized = st.sampled_from(_LENGTHS).flatmap(lambda length: st.binary(min_size=length, max_size=length))
    # ADDITIONAL CDB LENGTH has nothing to do with what follows.
    lying = st.builds(lambda rest: bytes((_VARIABLE_LENGTH,)) + rest, st.binary(max_size=_LONGEST_CDB - 1))
    kinds = [anything, sized, lying]
    if declarations := tuple(table):
        declared = _operations(declarations).flatmap(lambda operation: cdbs(operation, naca=True))
        kinds.append(st.builds(lambda cdb, end: cdb[: end % len(cdb) or 1], declared, st.integers(0, 255)))
        kinds.append(st.builds(lambda cdb, more: cdb + more, declared, st.binary(max_size=32)))
        kinds.append(st.builds(_with_any_bit, declared, st.integers(0, 255)))
        kinds.append(st.builds(lambda cdb, noise: cdb[:1] + noise[1 : len(cdb)], declared, st.binary(min_size=32)))
    return st.one_of(kinds)


def _operations(table: Iterable[Operation]) -> st.SearchStrategy[Operation]:
    """One of them. By its number: a hundred declarations are a long thing to print."""
    operations = tuple(table)
    return st.integers(0, len(operations) - 1).map(lambda number: operations[number])


def _case(
    operation: Operation, cdb: bytes, *, block_size: int, most: int, valid: Sequence[bytes]
) -> st.SearchStrategy[CommandCase]:
    """The command of a CDB: how much it would send and receive, or nearly so."""
    fields = dict(operation.layout.parse(cdb).items())
    wanted = fields[operation.range[1]] * block_size if operation.range is not None else block_size
    wanted = min(wanted, most)
    data_out: st.SearchStrategy[bytes] = st.just(b"")
    if operation.parameter_list is not None:
        told = min(fields[operation.parameter_list], most)
        data_out = st.one_of(parameter_lists(told, valid=valid), parameter_lists(valid=valid, most=most))
    elif operation.data in (DataDirection.OUT, DataDirection.BIDIRECTIONAL):
        # COMPARE AND WRITE wants two bytes for each one, WRITE SAME one block for all.
        lengths = {wanted, min(wanted * 2, most), block_size, 0, max(0, wanted - 1), max(0, wanted - block_size)}
        # What matters most comes first: shrinking goes there.
        ordered = [wanted, *sorted(lengths - {wanted})]
        data_out = st.builds(_pattern, st.sampled_from(ordered), st.integers(0, 255))
    data_in = st.just(0)
    if operation.data in (DataDirection.IN, DataDirection.BIDIRECTIONAL):
        room = min(fields[operation.allocation], most) if operation.allocation is not None else wanted
        data_in = st.one_of(st.just(room), st.just(most), st.integers(0, min(most, 64)))
    return st.builds(CommandCase, st.just(operation), st.just(cdb), data_out, data_in)


def _pattern(length: int, seed: int) -> bytes:
    """Bytes that differ from sector to sector, cheaply drawn."""
    return b"".join(bytes((seed + at & 0xFF,)) * min(512, length - at * 512) for at in range(-(-length // 512)))


def _with_bit(cdb: bytes, bit: int) -> bytes:
    return (int.from_bytes(cdb, "big") | 1 << bit).to_bytes(len(cdb), "big")


def _with_any_bit(cdb: bytes, bit: int) -> bytes:
    return _with_bit(cdb, bit % (len(cdb) * 8))


def _with_length(body: bytes, size: int, more: int) -> bytes:
    """A header of a length in `size` bytes, counting what follows it, and `more` bytes in between."""
    rest = bytes(more) + body
    return (len(rest) & (1 << size * 8) - 1).to_bytes(size, "big") + rest


def _changed(whole: bytes, changes: list[tuple[int, int]]) -> bytes:
    """Some bytes replaced."""
    data = bytearray(whole)
    for at, byte in changes:
        if data:
            data[at % len(data)] = byte
    return bytes(data)
