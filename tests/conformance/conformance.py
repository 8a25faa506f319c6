"""What every conformance case is written with: a unit by its commands, and what its answers must be.

A case sees nothing but CDBs and answers, so that it can be run against any target:

    python -m pytest tests/conformance/ssc --url iscsi://127.0.0.1:3260/iqn.2026-11.org.example:tape/0

Without `--url` it is run against our own unit in this process, and may not be skipped there.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, NoReturn

import pytest

from scsiemu._value import value
from scsiemu.errors import RemoteProtocolError
from scsiemu.lun import unit_lun
from scsiemu.sam import STATUS_NAMES, Status, TaskManagementFunction, TaskManagementResponse
from scsiemu.sense import Sense, SenseCode, SenseKey, decode_sense
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator
from transports.iscsi.client import Client, connect

__all__ = ["Answer", "ConformanceUnit", "LocalUnit", "RemoteUnit", "clause"]

_ATTENTIONS: Final = 32
_TEST_UNIT_READY: Final = bytes(6)


def clause(text: str) -> pytest.MarkDecorator:
    """The clause that a case proves, `SSC-5 7.4`. Every case has one."""
    return pytest.mark.clause(text)


@value
class Answer:
    """How a command ended.

    Args:
        status: one of `Status`.
        data: Data-In that came.
        sense: decoded sense data, None where there is none.
        residual: bytes that were not transferred: of Data-In where the command has Data-In, else of Data-Out.
            Negative where there was more than the initiator was ready for. None where it cannot be told.
        residual_out: the same of the Data-Out of a command that has both.
        raw_sense: the sense data as it came.
    """

    status: int
    data: bytes = b""
    sense: Sense | None = None
    residual: int | None = None
    residual_out: int | None = None
    raw_sense: bytes = b""

    @property
    def good(self) -> bool:
        """Status GOOD."""
        return self.status == Status.GOOD

    @property
    def code(self) -> SenseCode | None:
        """Sense key, ASC and ASCQ."""
        return self.sense.code if self.sense is not None else None

    def __str__(self) -> str:
        return f"{STATUS_NAMES.get(self.status, hex(self.status))} {self.code} {self.data[:64].hex()}"


class ConformanceUnit(ABC):
    """One I_T nexus to the unit under test."""

    @abstractmethod
    def execute(self, cdb: bytes, data_out: bytes = b"", data_in: int = 0) -> Answer:
        """Execute a CDB. `data_in` is how many bytes the initiator is ready for."""

    @abstractmethod
    def another(self, name: str = "iqn.2026-11.org.example:second") -> ConformanceUnit:
        """The unit by another nexus."""

    @abstractmethod
    def at(self, lun: int) -> ConformanceUnit:
        """Another unit of the same target by the same nexus; it ends with this one."""

    @abstractmethod
    def reset(self) -> None:
        """A LOGICAL UNIT RESET."""

    @abstractmethod
    def close(self) -> None:
        """End the nexus."""

    # --- what cases expect -------------------------------------------------------------------------------------

    def good(self, cdb: bytes, data_out: bytes = b"", data_in: int = 0) -> bytes:
        """A command that must end with GOOD; its data."""
        answer = self.execute(cdb, data_out, data_in)
        assert answer.good, f"CDB {cdb.hex()}: {answer}"
        return answer.data

    def refused(self, cdb: bytes, code: SenseCode, data_out: bytes = b"", data_in: int = 0) -> Sense:
        """A command that must end with CHECK CONDITION and this key, ASC and ASCQ; its sense data."""
        answer = self.execute(cdb, data_out, data_in)
        assert answer.status == Status.CHECK_CONDITION, f"CDB {cdb.hex()}: {answer}"
        assert answer.code == code, f"CDB {cdb.hex()}: {answer}, expected {code}"
        assert answer.sense is not None
        return answer.sense

    def conflict(self, cdb: bytes, data_out: bytes = b"", data_in: int = 0) -> None:
        """A command that must end with RESERVATION CONFLICT."""
        answer = self.execute(cdb, data_out, data_in)
        assert answer.status == Status.RESERVATION_CONFLICT, f"CDB {cdb.hex()}: {answer}"

    def attentions(self) -> list[SenseCode]:
        """Take the pending unit attentions."""
        found = []
        for _ in range(_ATTENTIONS):
            answer = self.execute(_TEST_UNIT_READY)
            if answer.code is None or answer.code.key != SenseKey.UNIT_ATTENTION:
                return found
            found.append(answer.code)
        raise AssertionError(f"unit attentions without end: {found[-1]}")

    def not_supported(self, why: str) -> NoReturn:
        """End a case that a target of somebody else cannot be asked."""
        pytest.skip(why)


class LocalUnit(ConformanceUnit):
    """A unit of a target in this process."""

    def __init__(
        self,
        target: Target,
        lun: int = 0,
        *,
        initiator: Callable[[str], Initiator] | None = None,
        name: str = "iqn.2026-11.org.example:first",
    ) -> None:
        self.target = target
        self.lun = lun
        self._make = initiator or (lambda name: Initiator(target, name))
        self.initiator = self._make(name)

    def execute(self, cdb: bytes, data_out: bytes = b"", data_in: int = 0) -> Answer:
        """Execute a CDB."""
        result = self.initiator.execute(self.lun, cdb, data_out, data_in)
        residual = data_in - result.full_length if data_in else None
        out = len(data_out) - result.data_out_wanted if data_in and data_out else None
        return Answer(result.status, result.data, result.sense, residual, out)

    def another(self, name: str = "iqn.2026-11.org.example:second") -> ConformanceUnit:
        """The unit by another nexus, without unit attentions."""
        return LocalUnit(self.target, self.lun, initiator=self._make, name=name)

    def at(self, lun: int) -> ConformanceUnit:
        """Another unit of the target."""
        other = copy.copy(self)
        other.lun = lun
        return other

    def reset(self) -> None:
        """A LOGICAL UNIT RESET."""
        response = self.initiator.manage(TaskManagementFunction.LOGICAL_UNIT_RESET, self.lun)
        assert response == TaskManagementResponse.FUNCTION_COMPLETE, response

    def close(self) -> None:
        """Lose the nexus."""
        self.initiator.close()


class RemoteUnit(ConformanceUnit):
    """A unit of a target somewhere else, over iSCSI."""

    def __init__(self, url: str, name: str = "iqn.2026-11.org.example:first") -> None:
        self._url = url
        self._client: Client = connect(url, initiator_name=name)
        self._lun = self._client.lun
        self._others: list[ConformanceUnit] = []
        self.attentions()

    def execute(self, cdb: bytes, data_out: bytes = b"", data_in: int = 0) -> Answer:
        """Execute a CDB."""
        result = self._client.execute(self._lun, cdb, data_out, data_in)
        residual, out = result.underflow - result.overflow, None
        if data_in and data_out:
            residual, out = result.bidi_underflow - result.bidi_overflow, residual
        sense = bytes(result.sense)
        return Answer(result.status, bytes(result.data_in), decode_sense(sense), residual, out, sense)

    def another(self, name: str = "iqn.2026-11.org.example:second") -> ConformanceUnit:
        """The unit by another nexus, without unit attentions."""
        other = RemoteUnit(self._url, name)
        self._others.append(other)
        other._lun = self._lun
        other.attentions()
        return other

    def at(self, lun: int) -> ConformanceUnit:
        """Another unit of the target."""
        other = copy.copy(self)
        other._lun = lun
        other.attentions()
        return other

    def reset(self) -> None:
        """A LOGICAL UNIT RESET."""
        response = self._client.manage(5, unit_lun(self._lun))       # RFC 7143 11.5.1
        assert response == 0, f"LOGICAL UNIT RESET: response {response}"

    def close(self) -> None:
        """Log out, with all others."""
        for other in self._others:
            other.close()
        try:
            self._client.close()
        except (OSError, RemoteProtocolError):
            self._client.abandon()
