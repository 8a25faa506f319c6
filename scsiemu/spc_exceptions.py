"""Informational exceptions: the control mode page 1Ch, its methods of reporting, log page 2Fh (SPC-5 7.5.13,
7.3.13).

MRIE 0 (no report), 2 (unit attention) and 6 (on request) are there. The methods that end a command which
succeeded with CHECK CONDITION (3h, 4h, 5h) are refused. A device type calls `informational_exception` when
its state has one; the TEST bit makes a false one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.identity import Identity
from scsiemu.io_requests import Sleep
from scsiemu.log_pages import LogParameter, log_page
from scsiemu.mode_pages import ModeFieldRefused, ModePage
from scsiemu.sense import Sense, SenseCode, SenseKey
from scsiemu.spc_mode import ModeOperations
from scsiemu.spc_mode_pages import INFORMATIONAL_EXCEPTIONS_CONTROL

__all__ = ["InformationalExceptions"]

_UNIT_ATTENTION: Final = 2
_ON_REQUEST: Final = 6
_METHODS: Final = (0, _UNIT_ATTENTION, _ON_REQUEST)
_TENTH: Final = 0.1                             # unit of INTERVAL TIMER, seconds
_UNKNOWN_TEMPERATURE: Final = 0xFF


class InformationalExceptions(ModeOperations):
    """What is wrong with a unit that still does its work.

    Attributes:
        exception: the informational exception that there is now, None for none.
    """

    def __init__(self, *, identity: Identity | None = None) -> None:
        super().__init__(identity=identity)
        self.exception: SenseCode | None = None

    @property
    def temperature(self) -> int | None:
        """Degrees Celsius, where the device type knows."""
        return None

    def informational_exception(self, code: SenseCode | None) -> None:
        """There is an exception now (FAILURE PREDICTION THRESHOLD EXCEEDED, a WARNING), or it has gone."""
        fresh = code is not None and code != self.exception
        self.exception = code
        control = self.mode_pages.fields(0x1C)
        enabled = control.ewasc if code is not None and code.asc == 0x0B else not control.dexcpt
        if fresh and code is not None and enabled and control.mrie == _UNIT_ATTENTION:
            self.unit.start_background(self._report(code), "informational exception")

    def _report(self, code: SenseCode) -> Steps:
        """Unit attentions, again at each interval until REPORT COUNT, while the exception lasts."""
        control = self.mode_pages.fields(0x1C)
        reported = 0
        while self.exception == code:
            self.unit.attention(asc.with_key(code, SenseKey.UNIT_ATTENTION))
            reported += 1
            # INTERVAL TIMER 0 and FFFFFFFFh are vendor specific: once.
            if reported == control.report_count or control.interval_timer in (0, 0xFFFFFFFF):
                break
            yield from Sleep(control.interval_timer * _TENTH)
            if self.mode_pages.fields(0x1C).mrie != _UNIT_ATTENTION:
                break
        return Completion()

    def check_mode_page(self, page: ModePage, wanted: CdbFields) -> Mapping[str, int]:
        """MRIE must be a method that there is; TEST and DEXCPT exclude each other (SPC-5 7.5.13)."""
        if page.key == INFORMATIONAL_EXCEPTIONS_CONTROL.key:
            if wanted.mrie not in _METHODS:
                raise ModeFieldRefused("mrie")
            if wanted.test and wanted.dexcpt:
                raise ModeFieldRefused("test")
        return super().check_mode_page(page, wanted)

    def mode_page_changed(self, page: ModePage, fields: CdbFields) -> None:
        """TEST makes a false exception, or ends it."""
        super().mode_page_changed(page, fields)
        if page.key == INFORMATIONAL_EXCEPTIONS_CONTROL.key:
            if fields.test:
                self.test_exception(fields)
            elif self.exception == asc.FAILURE_PREDICTION_THRESHOLD_EXCEEDED_FALSE:
                self.exception = None

    def test_exception(self, control: CdbFields) -> None:
        """TEST was set: a false exception."""
        self.exception = None               # a new method of reporting starts anew
        self.informational_exception(asc.FAILURE_PREDICTION_THRESHOLD_EXCEEDED_FALSE)

    def pollable_sense(self, command: Command) -> Sense | None:
        """An exception that is reported on request: NO SENSE with its additional sense code."""
        control = self.mode_pages.fields(0x1C)
        if self.exception is not None and control.mrie == _ON_REQUEST and not control.dexcpt:
            return Sense(asc.with_key(self.exception, SenseKey.NO_SENSE))
        return super().pollable_sense(command)

    @log_page(0x2F, "Informational exceptions", standard="SPC-5 7.3.13")
    def log_informational_exceptions(self) -> Iterable[LogParameter]:
        """The exception, and the temperature; its vendor specific threshold is not known."""
        code = self.exception or SenseCode(0, 0, 0)
        degrees = self.temperature
        reading = _UNKNOWN_TEMPERATURE if degrees is None else max(0, min(degrees, 0xFE))
        return [LogParameter(0x0000, bytes((code.asc, code.ascq, reading, _UNKNOWN_TEMPERATURE)))]
