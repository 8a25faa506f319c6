"""Log pages: their declaration, log parameters, and LOG SELECT parameter lists (SPC-5 7.3).

    @log_page(0x0E, "Start-stop cycle counter", reset="reset_cycles")
    def log_start_stop(self): return [LogParameter(4, counters.start_stop_cycles.to_bytes(4, "big"))]

The method returns the parameters built from state. LOG SENSE finds pages by these declarations, pages 00h and
00h/FFh list them. `reset` and `select` name the methods for LOG SELECT. The commands are in `spc_log`.
There are no thresholds: ETC is zero in every parameter, threshold values read as the largest ones and cannot
be set; nothing is saved, and DS says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, TypeVar

from scsiemu import asc
from scsiemu._value import value
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = [
    "LogFormat", "LogPage", "LogPageFunction", "LogParameter", "available_log_pages", "declared_log_pages",
    "encode_log_page", "log_page", "parse_log_parameters",
]

LogPageFunction: TypeAlias = "Callable[[Any], Iterable[LogParameter]]"

_F = TypeVar("_F", bound=LogPageFunction)


class LogFormat:
    """FORMAT AND LINKING field of the parameter control byte (SPC-5 table 339)."""

    BOUNDED_COUNTER: Final = 0
    ASCII_LIST: Final = 1
    UNBOUNDED_COUNTER: Final = 2
    BINARY_LIST: Final = 3


@value
class LogParameter:
    """A log parameter.

    Args:
        code: PARAMETER CODE.
        value: PARAMETER VALUE.
        format: one of `LogFormat`.
        settable: LOG SELECT may set it, where its page allows that at all.
    """

    code: int
    value: bytes
    format: int = LogFormat.BINARY_LIST
    settable: bool = True

    @property
    def is_counter(self) -> bool:
        """A data counter: PC of LOG SENSE and LOG SELECT counts; for list parameters it does not."""
        return self.format in (LogFormat.BOUNDED_COUNTER, LogFormat.UNBOUNDED_COUNTER)

    def encode(self) -> bytes:
        """The parameter with its header. DU, TSD, ETC and TMC are zero."""
        return self.code.to_bytes(2, "big") + bytes((self.format, len(self.value))) + self.value


@value
class LogPage:
    """The declaration of a log page.

    Args:
        page, subpage: its codes.
        name: as in the standard.
        reset: name of the method that sets its parameters to their defaults (LOG SELECT with PCR), if that is
            possible: `def reset(self) -> None`.
        select: name of the method that takes cumulative values from LOG SELECT, where the page allows:
            `def select(self, parameter: LogParameter) -> None`. It is called for settable parameters of
            existing codes and of equal length only.
        available: asked with the device server; None for always.
        disable_save: DS. With SP refused, nothing follows from it.
        standard: where it is described.
        function: name of the method.
    """

    page: int
    subpage: int
    name: str
    reset: str | None = None
    select: str | None = None
    available: Callable[[Any], bool] | None = None
    disable_save: bool = True
    standard: str = ""
    function: str = ""

    @property
    def key(self) -> tuple[int, int]:
        """Page code and subpage code."""
        return (self.page, self.subpage)


def log_page(
    page: int,
    name: str,
    *,
    subpage: int = 0,
    reset: str | None = None,
    select: str | None = None,
    available: Callable[[Any], bool] | None = None,
    disable_save: bool = True,
    standard: str = "SPC-5",
) -> Callable[[_F], _F]:
    """Declare the decorated method as a log page; the arguments are those of `LogPage`."""

    def declare(function: _F) -> _F:
        declared = LogPage(
            page, subpage, name, reset, select, available, disable_save, standard, function.__name__
        )
        function.__log_page__ = declared  # type: ignore[attr-defined]  # functions take attributes
        return function

    return declare


def declared_log_pages(cls: type) -> dict[tuple[int, int], LogPage]:
    """The pages that a device server class and its bases declare, ascending."""
    known = _declared.get(cls)
    if known is None:
        pages: dict[tuple[int, int], LogPage] = {}
        for base in reversed(cls.__mro__):
            for member in vars(base).values():
                declared = getattr(member, "__log_page__", None)
                if isinstance(declared, LogPage):
                    pages[declared.key] = declared
        known = _declared[cls] = dict(sorted(pages.items()))
    return known


# What classes declare, collected once.
_declared: dict[type, dict[tuple[int, int], LogPage]] = {}


def available_log_pages(server: object) -> dict[tuple[int, int], LogPage]:
    """The pages that a device server has now, less the lists of pages (00h and FFh), which LOG SENSE
    makes."""
    return {
        key: page
        for key, page in declared_log_pages(type(server)).items()
        if page.available is None or page.available(server)
    }


def encode_log_page(page: int, subpage: int, body: bytes, *, disable_save: bool = True) -> bytes:
    """A log page with its header (SPC-5 7.3.2.1): SPF says whether there is a subpage code."""
    first = (0x80 if disable_save else 0) | (0x40 if subpage else 0) | page
    return bytes((first, subpage)) + len(body).to_bytes(2, "big") + body


def parse_log_parameters(data: bytes) -> list[tuple[int, int, int, LogParameter]]:
    """The parameters of a LOG SELECT list: page, subpage, offset in the list, parameter.

    Raises:
        CheckCondition: a page or parameter is cut, in the wrong order, or has control bits that we don't
            have.
    """
    found: list[tuple[int, int, int, LogParameter]] = []
    at = 0
    before = (-1, -1)
    while at < len(data):
        if at + 4 > len(data):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        page, subpage = data[at] & 0x3F, data[at + 1]
        if subpage and not data[at] & 0x40:
            raise _invalid(at, 6)
        if (page, subpage) <= before:  # SPC-5 6.9: pages in ascending order, each once
            raise _invalid(at, 5)
        end = at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        for offset, parameter in _parameters(data, at + 4, end):
            found.append((page, subpage, offset, parameter))
        before = (page, subpage)
        at = end
    return found


def _parameters(data: bytes, at: int, end: int) -> Iterable[tuple[int, LogParameter]]:
    """The parameters of one page, with their offsets."""
    before = -1
    while at < end:
        # A page length that cuts a parameter (SPC-5 7.3.2.1).
        if at + 4 > end or at + 4 + data[at + 3] > end:
            raise _invalid(at)
        code = int.from_bytes(data[at : at + 2], "big")
        if code <= before:
            raise _invalid(at)
        control = data[at + 2]
        # DU, TSD, ETC, TMC: only what LOG SENSE returns. DS of older standards (bit 6) may be one.
        if control & 0xBC:
            raise _invalid(at + 2, (control & 0xBC).bit_length() - 1)
        yield at, LogParameter(code, data[at + 4 : at + 4 + data[at + 3]], control & 3)
        before = code
        at += 4 + data[at + 3]


def _invalid(byte: int, bit: int | None = None) -> CheckCondition:
    """INVALID FIELD IN PARAMETER LIST."""
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(byte, bit, in_cdb=False))
