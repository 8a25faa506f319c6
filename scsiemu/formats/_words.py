"""Words that the format definitions are written with, over construct, and their way to plain values.

A *record* is a flat run of fields counted in bits, most significant bit first, as the tables of the standards
show them. Lists and lengths are plain construct around records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    Bytewise,
    Construct,
    ConstructError,
    Container,
    ExprAdapter,
    FixedSized,
    Flag,
    ListContainer,
    Padding,
)

__all__ = [
    "bits", "flag", "parse_or_none", "plain", "raw", "record", "record_fields", "reserved", "sized", "text", "u8",
    "u16", "u24", "u32", "u64",
]


def bits(width: int) -> Construct:
    """An unsigned number of so many bits."""
    return BitsInteger(width)


flag = Flag
u8 = BitsInteger(8)
u16 = BitsInteger(16)
u24 = BitsInteger(24)
u32 = BitsInteger(32)
u64 = BitsInteger(64)


def reserved(width: int) -> Construct:
    """Bits that are zero and not looked at."""
    return Padding(width)


def raw(length: int) -> Construct:
    """So many bytes as they are."""
    return Bytewise(Bytes(length))


def sized(length: Callable[[Any], int], content: Construct) -> Construct:
    """`content` in so many bytes, or in what there is of them: parameter data is cut at the allocation length."""

    def available(context: Any) -> int:
        wanted = max(length(context), 0)
        if not context._parsing:
            return wanted
        stream = context._io
        here = stream.tell()
        end = stream.seek(0, 2)
        stream.seek(here)
        return min(wanted, int(end) - int(here))

    return FixedSized(available, content)


def text(length: int) -> Construct:
    """So many bytes of left-aligned ASCII, padded with spaces (SPC-5 4.3.1). Other bytes become escapes."""
    return ExprAdapter(
        Bytewise(Bytes(length)),
        lambda found, _: found.decode("ascii", "backslashreplace").rstrip(" "),
        lambda wanted, _: wanted.encode("ascii").ljust(length),
    )


def record(*fields: Construct) -> Construct:
    """A flat run of fields that fills whole bytes."""
    return BitStruct(*fields)


def record_fields(definition: Construct, data: bytes) -> dict[str, Any]:
    """The fields of a record of which all bits are in `data`: what a cut record still says."""
    padded = data.ljust(definition.sizeof(), b"\0")
    parsed = definition.parse(padded)
    found = {}
    end = 0
    for field in definition.subcon.subcons:
        end += field.sizeof()
        if end <= 8 * len(data) and field.name:
            found[field.name] = plain(parsed[field.name])
    return found


def plain(parsed: Any) -> Any:
    """A parsed construct value as dicts, lists, numbers, booleans and text. Bytes become hex."""
    match parsed:
        case Container():
            found: dict[str, Any] = {}
            for name, field in parsed.items():
                if name == "header":
                    found.update(plain(field))
                elif not name.startswith("_"):
                    found[name] = plain(field)
            return found
        case ListContainer() | list():
            return [plain(item) for item in parsed]
        case bytes() | bytearray() | memoryview():
            return bytes(parsed).hex()
        case bool() | int() | str() | None:
            return parsed
        case _:
            return str(parsed)


def parse_or_none(definition: Construct, data: bytes) -> Any:
    """The parsed data, None where it does not fit the definition."""
    try:
        return definition.parse(data)
    except (ConstructError, ValueError, OverflowError):
        return None
