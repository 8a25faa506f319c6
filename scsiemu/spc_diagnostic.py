"""SEND DIAGNOSTIC, RECEIVE DIAGNOSTIC RESULTS, self-tests and their log page (SPC-5 6.34, 6.45, 5.15,
7.3.16).

What a self-test does is the device type's `self_test`; here are its modes, its abort and its results.
Diagnostic pages beyond 00h come from the device type too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from scsiemu import asc
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion, Steps
from scsiemu.errors import IoFailed
from scsiemu.identity import Identity
from scsiemu.log_pages import LogParameter, log_page
from scsiemu.logical_unit import BackgroundTask
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition, FieldPointer, Progress, Sense, SenseCode, SenseKey
from scsiemu.spc_log import CommonLogPages

__all__ = ["RECEIVE_DIAGNOSTIC_RESULTS", "SEND_DIAGNOSTIC", "DiagnosticOperations", "SelfTestResult"]

SEND_DIAGNOSTIC: Final = CdbLayout(
    "opcode:8 self_test_code:3 pf _ selftest devoffl unitoffl _:8 parameter_list_length:16 control:8"
)
RECEIVE_DIAGNOSTIC_RESULTS: Final = CdbLayout("opcode:8 _:7 pcv page_code:8 allocation_length:16 control:8")

_ABORT: Final = 0b100
_EXTENDED: Final = (0b010, 0b110)
_BACKGROUND: Final = (0b001, 0b010)
_FOREGROUND: Final = (0b101, 0b110)
_KEPT: Final = 20

_GOOD: Final = 0x0
_ABORTED_BY_COMMAND: Final = 0x1
_ABORTED_OTHERWISE: Final = 0x2
_FAILED: Final = 0x4
_IN_PROGRESS: Final = 0xF


class SelfTestResult:
    """A self-test, ended or not.

    Args:
        code: SELF-TEST CODE that asked for it.
        hours: of the unit's clock.

    Attributes:
        result: SELF-TEST RESULTS value.
        sense: sense code of the failure.
        address: ADDRESS OF FIRST FAILURE, all ones where there is none.
    """

    __slots__ = ("address", "code", "hours", "result", "sense")

    def __init__(self, code: int, hours: int) -> None:
        self.code = code
        self.hours = hours
        self.result = _IN_PROGRESS
        self.sense = SenseCode(0, 0, 0)
        self.address = (1 << 64) - 1

    def encode(self) -> bytes:
        """The parameter value of log page 10h."""
        return (
            bytes((self.code << 5 | self.result, 0))
            + min(self.hours, 0xFFFF).to_bytes(2, "big")
            + self.address.to_bytes(8, "big")
            + bytes((self.sense.key, self.sense.asc, self.sense.ascq, 0))
        )


class DiagnosticOperations(CommonLogPages):
    """Diagnostics.

    Attributes:
        self_test_progress: how much of the current self-test is done, of 65536; set by `self_test`.
    """

    def __init__(self, *, identity: Identity | None = None) -> None:
        super().__init__(identity=identity)
        self.self_test_progress = 0
        self._results: list[SelfTestResult] = []
        self._self_test: tuple[BackgroundTask, SelfTestResult] | None = None
        self._sent_page = 0

    # --- what device types answer
    # ------------------------------------------------------------------------------

    def self_test(self, *, extended: bool) -> Steps | None:
        """The unit's self-test: requests to its store. Fails by IoFailed or CheckCondition. None: nothing to
        test."""
        return None

    def diagnostic_page_codes(self) -> tuple[int, ...]:
        """The diagnostic pages other than 00h that `diagnostic_page` has."""
        return ()

    def diagnostic_page(self, code: int) -> bytes:
        """A diagnostic page with its header, for RECEIVE DIAGNOSTIC RESULTS."""
        raise KeyError(code)

    def send_diagnostic_page(self, command: Command, page: bytes) -> None:
        """A diagnostic page of `diagnostic_page_codes` that SEND DIAGNOSTIC brought, whole."""

    # --- SEND DIAGNOSTIC
    # ---------------------------------------------------------------------------------------

    @operation(
        0x1D, "SEND DIAGNOSTIC", SEND_DIAGNOSTIC, data=DataDirection.OUT, conflict=ReservationClass.WRITE,
        parameter_list="parameter_list_length", standby_allowed=True, recommended_timeout=60,
        standard="SPC-5 6.45",
    )
    def send_diagnostic(self, command: Command, cdb: CdbFields) -> Completion | Steps:
        """Start or stop a self-test, or take a diagnostic page."""
        code = cdb.self_test_code
        if code and (cdb.selftest or cdb.pf or code in (0b011, 0b111)):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="self_test_code")
        if (code or cdb.selftest) and cdb.parameter_list_length:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_list_length")
        if code == _ABORT:
            return self._abort_self_test()
        if code or cdb.selftest:
            if self._self_test is not None:
                progress = self.self_test_progress
                raise CheckCondition(asc.LOGICAL_UNIT_NOT_READY_SELF_TEST_IN_PROGRESS, progress=progress)
            if code in _BACKGROUND:
                return self._start_self_test(code)
            return self._foreground_self_test(code)
        if cdb.parameter_list_length:
            self._take_page(command, cdb)
        return Completion()

    def _take_page(self, command: Command, cdb: CdbFields) -> None:
        """A parameter list: one diagnostic page (SPC-5 7.2.1)."""
        page = command.parameter_list
        if not cdb.pf:  # vendor specific parameters
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="pf")
        if len(page) < 4:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        length = 4 + int.from_bytes(page[2:4], "big")
        if page[0] and page[0] not in self.diagnostic_page_codes():
            raise _invalid(0)
        if length > len(page):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        if page[0] == 0x00 and (page[1] or length != 4):
            raise _invalid(1 if page[1] else 2)
        if page[0]:
            self.send_diagnostic_page(command, page[:length])
        self._sent_page = page[0]

    # --- self-tests
    # --------------------------------------------------------------------------------------------

    def _new_result(self, code: int) -> SelfTestResult:
        result = SelfTestResult(code, int((self.unit.now - self.powered_at) / 3600))
        self._results.insert(0, result)
        del self._results[_KEPT:]
        self.self_test_progress = 0
        return result

    def _start_self_test(self, code: int) -> Completion:
        """Background mode: GOOD at once, the test goes on (SPC-5 5.15.4.3)."""
        result = self._new_result(code)
        task = self.unit.start_background(self._test(result), "self-test")
        if not task.done:
            self._self_test = (task, result)
        return Completion()

    def _foreground_self_test(self, code: int) -> Steps:
        """Foreground mode: the command ends with the test (SPC-5 5.15.4.2)."""
        result = self._new_result(code)
        yield from self._test(result)
        if result.result != _GOOD:
            raise CheckCondition(asc.LOGICAL_UNIT_FAILED_SELF_TEST)
        return Completion()

    def _test(self, result: SelfTestResult) -> Steps:
        """Do the test, keep its result."""
        try:
            steps = self.self_test(extended=result.code in _EXTENDED)
            if steps is not None:
                yield from steps
            result.result = _GOOD
        except IoFailed as failure:
            result.result = _FAILED
            result.sense = asc.with_key(asc.LOGICAL_UNIT_FAILED_SELF_TEST, SenseKey.HARDWARE_ERROR)
            if failure.offset is not None:
                result.address = failure.offset
        except CheckCondition as refusal:
            result.result = _FAILED
            result.sense = refusal.sense.code
        except GeneratorExit:
            if result.result == _IN_PROGRESS:
                result.result = _ABORTED_OTHERWISE
            raise
        finally:
            self._self_test = None
        return Completion()

    def _abort_self_test(self) -> Completion:
        """Abort background self-test (SPC-5 table 200); only while there is one."""
        if self._self_test is None:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="self_test_code")
        task, result = self._self_test
        result.result = _ABORTED_BY_COMMAND
        self._self_test = None
        self.unit.abort(task)
        return Completion()

    def reset(self, kind: str) -> None:
        """A reset ends a self-test (SPC-5 table 96)."""
        if self._self_test is not None:
            task, result = self._self_test
            result.result = _ABORTED_OTHERWISE
            self._self_test = None
            self.unit.abort(task)
        super().reset(kind)

    def pollable_sense(self, command: Command) -> Sense | None:
        """Progress of a background self-test (SPC-5 5.15.4.3)."""
        if self._self_test is not None:
            progress = Progress(self.self_test_progress)
            return Sense(asc.LOGICAL_UNIT_NOT_READY_SELF_TEST_IN_PROGRESS, specific=progress)
        return super().pollable_sense(command)

    @log_page(0x10, "Self-test results", standard="SPC-5 7.3.19")
    def log_self_test_results(self) -> Iterable[LogParameter]:
        """The last twenty self-tests, the last first; unused parameters are zero."""
        return [
            LogParameter(number + 1, self._results[number].encode() if number < len(self._results) else bytes(16))
            for number in range(_KEPT)
        ]

    # --- RECEIVE DIAGNOSTIC RESULTS
    # ----------------------------------------------------------------------------

    @operation(
        0x1C, "RECEIVE DIAGNOSTIC RESULTS", RECEIVE_DIAGNOSTIC_RESULTS, data=DataDirection.IN,
        conflict=ReservationClass.READ, allocation="allocation_length", standby_allowed=True,
        standard="SPC-5 6.34",
    )
    def receive_diagnostic_results(self, command: Command, cdb: CdbFields) -> Completion:
        """The page that is asked for, or with PCV zero the one that the last SEND DIAGNOSTIC was about."""
        code = cdb.page_code if cdb.pcv else self._sent_page
        if code == 0x00:
            codes = bytes((0, *sorted(self.diagnostic_page_codes())))
            return Completion(bytes(2) + len(codes).to_bytes(2, "big") + codes)
        if code not in self.diagnostic_page_codes():
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="page_code")
        return Completion(self.diagnostic_page(code))


def _invalid(byte: int) -> CheckCondition:
    """INVALID FIELD IN PARAMETER LIST."""
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(byte, in_cdb=False))
