"""CDB layouts, declared as one line of text and read most significant bit first (SPC-5 4.2).

    READ_10 = CdbLayout(
        "opcode:8 rdprotect:3 dpo fua rarc _:2 lba:32 _:2 group_number:6 transfer_length:16 control:8"
    )

A word is `name` (one bit), `name:width`, or `_:width` for reserved bits, which must be zero. A name that ends
in `?` is a field that we take and do not look at (obsolete or vendor specific): neither checked nor reported
as evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator

from scsiemu._value import value
from scsiemu.command import Buffer
from scsiemu.sense import FieldPointer

__all__ = ["CdbField", "CdbFields", "CdbLayout"]


@value
class CdbField:
    """A field of a CDB.

    Args:
        name: as in the standard, lower case, underscores for spaces; "_" for reserved bits.
        start: bits before it, from bit 7 of byte 0.
        width: bits.
        ignored: not evaluated by the device server.
    """

    name: str
    start: int
    width: int
    ignored: bool = False

    @property
    def pointer(self) -> FieldPointer:
        """The field pointer at this field: its first byte and, unless it fills whole bytes, its top bit."""
        whole = self.start % 8 == 0 and self.width % 8 == 0
        return FieldPointer(self.start // 8, None if whole else 7 - self.start % 8)


class CdbFields:
    """The parsed fields of one CDB: `fields.transfer_length`. Every field is an int; one that the layout does
    not have is an AttributeError."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, int]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> int:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(name) from None

    def items(self) -> Iterator[tuple[str, int]]:
        """Names and values in the order of the layout."""
        return iter(self._values.items())


class CdbLayout:
    """The layout of a CDB.

    Args:
        text: see the module's docstring. Its bits must fill whole bytes.

    Attributes:
        length: of the CDB in bytes.
        fields: all fields, reserved ones included, in order.
        reserved_mask: the bits that must be zero, as an integer of `length` bytes.
    """

    def __init__(self, text: str) -> None:
        fields: list[CdbField] = []
        start = 0
        for word in text.split():
            name, _, width_text = word.partition(":")
            width = int(width_text or 1)
            fields.append(CdbField(name.rstrip("?"), start, width, ignored=name.endswith("?")))
            start += width
        if start % 8:
            raise ValueError(f"CDB layout of {start} bits: {text}")
        self.text = text
        self.length = start // 8
        self.fields = tuple(fields)
        self._by_name = {field.name: field for field in fields if field.name != "_"}
        self._shifts = [
            (field.name, start - field.start - field.width, (1 << field.width) - 1)
            for field in self._by_name.values()
        ]
        self.reserved_mask = self._mask(field for field in fields if field.name == "_")

    def _mask(self, fields: Iterator[CdbField]) -> int:
        total = self.length * 8
        return sum(((1 << field.width) - 1) << (total - field.start - field.width) for field in fields)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def field(self, name: str) -> CdbField:
        """The field of that name. Raises KeyError."""
        return self._by_name[name]

    def parse(self, cdb: Buffer) -> CdbFields:
        """The fields of `cdb`, which has at least `length` bytes."""
        number = int.from_bytes(cdb[: self.length], "big")
        return CdbFields({name: number >> shift & mask for name, shift, mask in self._shifts})

    def build(self, **values: int) -> bytes:
        """A CDB with these field values, the others zero. Raises ValueError for a value that does not fit."""
        number = 0
        for name, wanted in values.items():
            field = self._by_name[name]
            if not 0 <= wanted < 1 << field.width:
                raise ValueError(f"{name}={wanted} does not fit into {field.width} bits")
            number |= wanted << (self.length * 8 - field.start - field.width)
        return number.to_bytes(self.length, "big")

    def reserved_bit_set(self, cdb: Buffer, *, lun_ignored: bool = False) -> FieldPointer | None:
        """The field pointer of the first reserved bit that is one, None where all are zero.

        Args:
            lun_ignored: the bits where SCSI-2 had the LUN, 7 to 5 of byte 1, may be anything where they are reserved.
        """
        wrong = int.from_bytes(cdb[: self.length], "big") & self.reserved_mask
        if lun_ignored and self.length <= 12:
            wrong &= ~(0xE0 << (self.length - 2) * 8)
        if not wrong:
            return None
        bit = self.length * 8 - wrong.bit_length()
        return FieldPointer(bit // 8, 7 - bit % 8)

    def usage(self, **fixed: int) -> bytes:
        """CDB USAGE DATA of REPORT SUPPORTED OPERATION CODES (SPC-5 6.34.3): ones where the device server
        evaluates, with the opcode and service action in `fixed` as they are."""
        evaluated = (f for f in self._by_name.values() if not f.ignored and f.name not in (*fixed, "control"))
        number = self._mask(evaluated) | int.from_bytes(self.build(**fixed), "big")
        if "control" in self._by_name:
            # Of the CONTROL byte NACA alone is evaluated (SAM-5 5.2).
            number |= int.from_bytes(self.build(control=0x04), "big")
        return number.to_bytes(self.length, "big")
