"""LOG SENSE and LOG SELECT (SPC-5 6.10, 6.11), and the log pages that every device type has.

Pages are found by their declarations (`log_pages`); the lists of pages are made here. There is no saving of
log
parameters: SP is refused. Thresholds cannot be set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from scsiemu import asc
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion
from scsiemu.identity import Identity
from scsiemu.log_pages import (
    LogFormat,
    LogPage,
    LogParameter,
    available_log_pages,
    encode_log_page,
    log_page,
    parse_log_parameters,
)
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition, FieldPointer
from scsiemu.spc_inquiry import InquiryOperations

__all__ = ["LOG_SELECT", "LOG_SENSE", "CommonLogPages", "LogOperations"]

LOG_SENSE: Final = CdbLayout(
    "opcode:8 _:7 sp pc:2 page_code:6 subpage_code:8 _:8 parameter_pointer:16 allocation_length:16 control:8"
)
LOG_SELECT: Final = CdbLayout(
    "opcode:8 _:6 pcr sp pc:2 page_code:6 subpage_code:8 _:24 parameter_list_length:16 control:8"
)

_THRESHOLD: Final = 0
_CUMULATIVE: Final = 1
_DEFAULT_THRESHOLD: Final = 2
_DEFAULT_CUMULATIVE: Final = 3

_SUBPAGE_LIST: Final = 0xFF
_MILLISECONDS: Final = (3).to_bytes(4, "big") + (1).to_bytes(4, "big")   # 1 x 10^-3 seconds
_GENERAL_USAGE_PARAMETERS: Final = 64
_GENERAL_USAGE_LENGTH: Final = 252
_LENGTH_LIMIT: Final = 0xFFFF


class LogOperations(InquiryOperations):
    """LOG SENSE and LOG SELECT for the log pages that the class declares."""

    def log_page_lists(self) -> dict[tuple[int, int], bytes]:
        """The pages that list pages (SPC-5 7.3.16, 7.3.17, 7.3.18), by page and subpage code, with their
        bodies."""
        keys = set(available_log_pages(self)) | {(0, 0), (0, _SUBPAGE_LIST)}
        keys |= {(page, _SUBPAGE_LIST) for page, subpage in keys if subpage}
        lists = {
            (0, 0): bytes(sorted(page for page, subpage in keys if not subpage)),
            (0, _SUBPAGE_LIST): b"".join(bytes(key) for key in sorted(keys)),
        }
        for page, subpage in sorted(keys):
            if page and subpage == _SUBPAGE_LIST:
                lists[page, subpage] = b"".join(bytes(key) for key in sorted(keys) if key[0] == page)
        return lists

    @operation(
        0x4D, "LOG SENSE", LOG_SENSE, data=DataDirection.IN, conflict=ReservationClass.ALWAYS,
        allocation="allocation_length", standby_allowed=True, standard="SPC-5 6.11",
    )
    def log_sense(self, command: Command, cdb: CdbFields) -> Completion:
        """One log page."""
        if cdb.sp:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="sp")
        key = (cdb.page_code, cdb.subpage_code)
        lists = self.log_page_lists()
        if key in lists:
            if cdb.parameter_pointer:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_pointer")
            return Completion(encode_log_page(*key, lists[key]))
        page = available_log_pages(self).get(key)
        if page is None:
            raise self._no_page(cdb.page_code)
        parameters = self.log_parameters(page)
        wanted = [parameter for parameter in parameters if parameter.code >= cdb.parameter_pointer]
        if not wanted and cdb.parameter_pointer:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_pointer")
        return Completion(encode_log_page(*key, _encode(wanted, cdb.pc), disable_save=page.disable_save))

    def _no_page(self, page: int) -> CheckCondition:
        """A page or subpage in the CDB that there is not."""
        known = any(other[0] == page for other in (*available_log_pages(self), *self.log_page_lists()))
        return CheckCondition(asc.INVALID_FIELD_IN_CDB, field="subpage_code" if known else "page_code")

    def log_parameters(self, page: LogPage) -> list[LogParameter]:
        """The parameters of a page, in ascending order."""
        build: Callable[[], Iterable[LogParameter]] = getattr(self, page.function)
        return sorted(build(), key=lambda parameter: parameter.code)

    @operation(
        0x4C, "LOG SELECT", LOG_SELECT, data=DataDirection.OUT, conflict=ReservationClass.WRITE,
        parameter_list="parameter_list_length", standby_allowed=True, standard="SPC-5 6.10",
    )
    def log_select(self, command: Command, cdb: CdbFields) -> Completion:
        """Set parameters to their defaults, or to the values of a list."""
        if cdb.sp:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="sp")
        if cdb.parameter_list_length:
            changed = self._select_list(command.parameter_list, cdb)
        else:
            changed = self._select_defaults(cdb)
        if changed:
            self.unit.attention(asc.LOG_PARAMETERS_CHANGED, but=command.nexus)
        return Completion()

    def _select_defaults(self, cdb: CdbFields) -> bool:
        """Without a parameter list (SPC-5 6.10.2): PCR, or PC of the default cumulative values, resets the
        pages that PAGE CODE and SUBPAGE CODE name. Default thresholds are what the thresholds are."""
        page, subpage = cdb.page_code, cdb.subpage_code
        pages = [
            declared
            for key, declared in available_log_pages(self).items()
            if (page, subpage) == (0, 0) or key == (page, subpage) or (subpage == _SUBPAGE_LIST and key[0] == page)
        ]
        if not pages and (page, subpage) not in self.log_page_lists():
            raise self._no_page(page)
        if not cdb.pcr and cdb.pc != _DEFAULT_CUMULATIVE:
            return False
        resets = [declared.reset for declared in pages if declared.reset is not None]
        for name in resets:
            getattr(self, name)()
        return bool(resets)

    def _select_list(self, data: bytes, cdb: CdbFields) -> bool:
        """With a parameter list (SPC-5 6.10.1): check all of it, then set all of it."""
        for field in ("page_code", "subpage_code", "pcr"):
            if getattr(cdb, field):
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field=field)
        accepted: list[tuple[str, LogParameter]] = []
        for page, subpage, offset, parameter in parse_log_parameters(data):
            accepted.append((self._selectable(page, subpage, offset, parameter, cdb.pc), parameter))
        for name, parameter in accepted:
            getattr(self, name)(parameter)
        return bool(accepted)

    def _selectable(self, page: int, subpage: int, offset: int, parameter: LogParameter, control: int) -> str:
        """The name of the method that takes a parameter. Raises CheckCondition where there is none."""
        declared = available_log_pages(self).get((page, subpage))
        current = None
        if declared is not None and declared.select is not None:
            same = [p for p in self.log_parameters(declared) if p.code == parameter.code and p.settable]
            current = same[0] if same else None
        wrong = None
        if declared is None or declared.select is None or current is None:
            wrong = 0
        elif parameter.format != current.format:
            wrong = 2
        elif len(parameter.value) != len(current.value):
            wrong = 3
        elif current.is_counter and control != _CUMULATIVE:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="pc")
        if wrong is not None or declared is None or declared.select is None:
            pointer = FieldPointer(offset + (wrong or 0), in_cdb=False)
            raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)
        return declared.select


def _encode(parameters: list[LogParameter], control: int) -> bytes:
    """Parameters with the values that PC asks for; it does not count for list parameters (SPC-5 6.11)."""
    return b"".join(_value(parameter, control).encode() for parameter in parameters)[:_LENGTH_LIMIT]


def _value(parameter: LogParameter, control: int) -> LogParameter:
    if not parameter.is_counter or control == _CUMULATIVE:
        return parameter
    if control == _DEFAULT_CUMULATIVE:
        return LogParameter(parameter.code, bytes(len(parameter.value)), parameter.format)
    if parameter.format == LogFormat.UNBOUNDED_COUNTER:
        return parameter            # has no threshold
    return LogParameter(parameter.code, b"\xff" * len(parameter.value), parameter.format)


class CommonLogPages(LogOperations):
    """The log pages of all device types that come from counters.

    Attributes:
        has_start_stop: the unit can be started and stopped, or loaded, and counts that.
    """

    def __init__(self, *, identity: Identity | None = None) -> None:
        super().__init__(identity=identity)
        self.has_start_stop = False
        self._general_usage: dict[int, bytes] = {}
        self._accounting_date = b" " * 6
        self._statistics_since = 0.0

    def attached(self) -> None:
        """Statistics begin."""
        super().attached()
        self._statistics_since = self.unit.now

    @log_page(0x06, "Non-medium error", reset="reset_non_medium_errors", select="set_non_medium_errors",
              standard="SPC-5 7.3.14")
    def log_non_medium_error(self) -> Iterable[LogParameter]:
        """Recoverable errors that are not the medium's."""
        count = self.counters.non_medium_errors.to_bytes(8, "big")
        return [LogParameter(0x0000, count, LogFormat.BOUNDED_COUNTER)]

    def reset_non_medium_errors(self) -> None:
        """LOG SELECT resets page 06h."""
        self.counters.non_medium_errors = 0

    def set_non_medium_errors(self, parameter: LogParameter) -> None:
        """LOG SELECT sets page 06h."""
        self.counters.non_medium_errors = int.from_bytes(parameter.value, "big")

    @log_page(0x0E, "Start-stop cycle counter", select="set_accounting_date",
              available=lambda server: bool(server.has_start_stop), standard="SPC-5 7.3.20")
    def log_start_stop_cycles(self) -> Iterable[LogParameter]:
        """Accounting date, start-stop cycles and load-unload cycles. There is no date of manufacture and no
        limit of cycles to tell of."""
        counters = self.counters
        return [
            LogParameter(0x0002, self._accounting_date, LogFormat.ASCII_LIST),
            LogParameter(0x0004, counters.start_stop_cycles.to_bytes(4, "big"), settable=False),
            LogParameter(0x0006, counters.load_unload_cycles.to_bytes(4, "big"), settable=False),
        ]

    def set_accounting_date(self, parameter: LogParameter) -> None:
        """LOG SELECT sets the accounting date of page 0Eh."""
        self._accounting_date = parameter.value

    @log_page(0x0F, "Application client", reset="reset_general_usage", select="set_general_usage",
              standard="SPC-5 7.3.4")
    def log_application_client(self) -> Iterable[LogParameter]:
        """General usage parameters: what application clients left here."""
        empty = bytes(_GENERAL_USAGE_LENGTH)
        return [LogParameter(code, self._general_usage.get(code, empty)) for code in range(_GENERAL_USAGE_PARAMETERS)]

    def reset_general_usage(self) -> None:
        """LOG SELECT resets page 0Fh."""
        self._general_usage.clear()

    def set_general_usage(self, parameter: LogParameter) -> None:
        """LOG SELECT sets page 0Fh."""
        self._general_usage[parameter.code] = parameter.value

    @log_page(0x19, "General statistics and performance", reset="reset_statistics", standard="SPC-5 7.3.11")
    def log_general_statistics(self) -> Iterable[LogParameter]:
        """Commands, blocks and times. Weighted values are not kept."""
        counters = self.counters
        idle = self.unit.now - self._statistics_since - counters.read_seconds - counters.write_seconds
        numbers = (
            counters.read_commands, counters.write_commands, counters.blocks_written, counters.blocks_read,
            int(counters.read_seconds * 1000), int(counters.write_seconds * 1000), 0, 0,
        )
        body = b"".join((number & (1 << 64) - 1).to_bytes(8, "big") for number in numbers)
        return [
            LogParameter(0x0001, body, LogFormat.UNBOUNDED_COUNTER),
            LogParameter(0x0002, max(0, int(idle * 1000)).to_bytes(8, "big"), LogFormat.UNBOUNDED_COUNTER),
            LogParameter(0x0003, _MILLISECONDS),
        ]

    def reset_statistics(self) -> None:
        """LOG SELECT resets page 19h."""
        self.counters.reset_statistics()
        self._statistics_since = self.unit.now
