"""Vital product data pages: their declaration, and the designators that they are made of (SPC-5 7.7).

    @vpd_page(0xB0, "Block limits", available=lambda server: ...)
    def vpd_block_limits(self, command): return body

The method returns the page without its four-byte header. INQUIRY finds pages by these declarations and page
00h lists them: a page that is not declared does not exist. What every device type has is in `spc_vpd`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from scsiemu._value import value
from scsiemu.command import Command

__all__ = [
    "Association", "Designator", "DesignatorType", "VpdPage", "VpdPageFunction", "available_vpd_pages",
    "declared_vpd_pages", "vpd_page",
]

VpdPageFunction: TypeAlias = Callable[[Any, Command], bytes]

_F = TypeVar("_F", bound=VpdPageFunction)


@value
class VpdPage:
    """The declaration of a VPD page.

    Args:
        code: PAGE CODE.
        name: as in the standard.
        available: asked with the device server; None for always.
        standard: where it is described.
        function: name of the method.
    """

    code: int
    name: str
    available: Callable[[Any], bool] | None = None
    standard: str = ""
    function: str = ""


def vpd_page(
    code: int, name: str, *, available: Callable[[Any], bool] | None = None, standard: str = "SPC-5"
) -> Callable[[_F], _F]:
    """Declare the decorated method as a VPD page; the arguments are those of `VpdPage`."""

    def declare(function: _F) -> _F:
        declared = VpdPage(code, name, available, standard, function.__name__)
        function.__vpd_page__ = declared  # type: ignore[attr-defined]  # functions take attributes
        return function

    return declare


def declared_vpd_pages(cls: type) -> dict[int, VpdPage]:
    """The pages that a device server class and its bases declare, ascending. An override without @vpd_page
    keeps the declaration that it overrides; a subclass may declare another page of the same code."""
    known = _declared.get(cls)
    if known is None:
        pages: dict[int, VpdPage] = {}
        for base in reversed(cls.__mro__):
            for member in vars(base).values():
                declared = getattr(member, "__vpd_page__", None)
                if isinstance(declared, VpdPage):
                    pages[declared.code] = declared
        known = _declared[cls] = dict(sorted(pages.items()))
    return known


# What classes declare, collected once.
_declared: dict[type, dict[int, VpdPage]] = {}


def available_vpd_pages(server: object) -> dict[int, VpdPage]:
    """The pages that a device server has now."""
    return {
        code: page
        for code, page in declared_vpd_pages(type(server)).items()
        if page.available is None or page.available(server)
    }


class Association:
    """ASSOCIATION field of a designator (SPC-5 table 584)."""

    LOGICAL_UNIT: Final = 0
    TARGET_PORT: Final = 1
    TARGET_DEVICE: Final = 2


class DesignatorType:
    """DESIGNATOR TYPE field (SPC-5 table 585)."""

    VENDOR_SPECIFIC: Final = 0x0
    T10_VENDOR_ID: Final = 0x1
    EUI_64: Final = 0x2
    NAA: Final = 0x3
    RELATIVE_TARGET_PORT: Final = 0x4
    TARGET_PORT_GROUP: Final = 0x5
    LOGICAL_UNIT_GROUP: Final = 0x6
    MD5: Final = 0x7
    SCSI_NAME_STRING: Final = 0x8
    PROTOCOL_SPECIFIC_PORT: Final = 0x9
    UUID: Final = 0xA


@value
class Designator:
    """A designation descriptor (SPC-5 7.7.6.1).

    Args:
        type: one of `DesignatorType`.
        data: the DESIGNATOR field.
        association: one of `Association`.
        protocol: PROTOCOL IDENTIFIER, which makes PIV one; None leaves it invalid.
    """

    type: int
    data: bytes
    association: int = Association.LOGICAL_UNIT
    protocol: int | None = None

    @property
    def code_set(self) -> int:
        """1 binary, 2 ASCII, 3 UTF-8: which one follows from the type."""
        return {DesignatorType.T10_VENDOR_ID: 2, DesignatorType.SCSI_NAME_STRING: 3}.get(self.type, 1)

    def encode(self) -> bytes:
        """The descriptor."""
        piv = self.protocol is not None and self.association != Association.LOGICAL_UNIT
        first = (self.protocol or 0) << 4 if piv else 0
        second = piv << 7 | self.association << 4 | self.type
        return bytes((first | self.code_set, second, 0, len(self.data))) + self.data

    @classmethod
    def scsi_name(cls, name: str, association: int, protocol: int | None = None) -> Designator:
        """A SCSI name string, padded as 7.7.6.12 wants: null-terminated, a multiple of four bytes."""
        raw = name.encode() + b"\0"
        return cls(DesignatorType.SCSI_NAME_STRING, raw + bytes(-len(raw) % 4), association, protocol)
