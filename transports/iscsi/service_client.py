"""The client of the program: one unit, every trouble an OSError with one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Final

from scsiemu.errors import RemoteProtocolError
from scsiemu.lun import unit_lun
from scsiemu.sam import TaskManagementFunction
from scsiemu.services import ConnectRequest, Outcome
from transports.iscsi.chap import ChapCredentials, ChapFailed
from transports.iscsi.client import DEFAULT_INITIATOR, Client, connect, parse_url
from transports.iscsi.codes import NO_TAG, TmfResponseCode
from transports.iscsi.initiator import CommandDone, CommandResult, Rejected
from transports.iscsi.initiator_login import LoginFailed
from transports.iscsi.login import LoginStatus
from transports.iscsi.names import normalise_name
from transports.iscsi.task_management import FUNCTIONS

__all__ = ["ServiceClient", "connect_unit"]

_CODES: Final = {function: code for code, function in FUNCTIONS.items()}
_REASONS: Final[dict[int, str]] = {
    LoginStatus.AUTHENTICATION_FAILURE: "authentication failed: is it the right user and secret (--chap)?",
    LoginStatus.AUTHORIZATION_FAILURE: "the target does not let this initiator in",
    LoginStatus.NOT_FOUND: "there is no such target at this portal",
    LoginStatus.TARGET_REMOVED: "the target was removed",
    LoginStatus.SERVICE_UNAVAILABLE: "the target takes no logins now",
    LoginStatus.OUT_OF_RESOURCES: "the target has too many sessions",
}


class ServiceClient:
    """A session with a unit, see `scsiemu.services.Client`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def execute(self, cdb: bytes, *, data_out: bytes = b"", data_in_length: int = 0) -> Outcome:
        """Execute a command. Raises OSError when the connection or the time is at its end."""
        with self._troubles():
            return _outcome(self._client.execute(self._client.lun, cdb, data_out, data_in_length))

    def begin(self, cdb: bytes, *, data_out: bytes = b"", data_in_length: int = 0) -> int:
        """Send a command; its tag."""
        with self._troubles():
            return self._client.session.execute(
                unit_lun(self._client.lun), cdb, data_out=data_out, data_in_length=data_in_length
            )

    def wait(self, wake: int) -> list[tuple[int, Outcome]]:
        """Commands that have ended, by tag; none when `wake` is readable."""
        with self._troubles():
            events = self._client.wait(wake)
            if any(isinstance(event, Rejected) for event in events):
                raise ConnectionAbortedError("the target rejected a request")
            return [(event.tag, _outcome(event.result)) for event in events if isinstance(event, CommandDone)]

    def manage(self, function: TaskManagementFunction, tag: int = 0) -> bool:
        """Have a task management function performed; whether it was."""
        with self._troubles():
            response = self._client.manage(_CODES[function], self._client.lun, referenced=tag or NO_TAG)
        if function == TaskManagementFunction.ABORT_TASK:
            self._client.session.forget(tag)
        return response == TmfResponseCode.FUNCTION_COMPLETE

    @contextlib.contextmanager
    def _troubles(self) -> Iterator[None]:
        """After a trouble there is no connection any more."""
        try:
            yield
        except OSError:
            self._client.abandon()
            raise
        except RemoteProtocolError as error:
            self._client.abandon()
            raise ConnectionAbortedError(str(error)) from error

    def close(self) -> None:
        """Log out."""
        self._client.close()


def _outcome(result: CommandResult) -> Outcome:
    if result.response:
        raise ConnectionAbortedError(f"the target failed (iSCSI response {result.response:#04x})")
    return Outcome(result.status, result.sense, result.data_in, result.underflow, result.overflow)


def connect_unit(request: ConnectRequest) -> ServiceClient:
    """Log in to a unit. Raises ValueError for a wrong URL or name, OSError for everything that others do."""
    url = parse_url(request.url)
    target = normalise_name(url.target)
    if target is None or not 0 <= url.lun < 1 << 14:
        raise ValueError("it is no URL of a unit: iscsi://HOST:PORT/TARGET/LUN")
    name = normalise_name(request.initiator or DEFAULT_INITIATOR)
    if name is None:
        raise ValueError(f"{request.initiator!r} is not an iSCSI name")
    chap = ChapCredentials(*request.user) if request.user is not None else url.chap
    target_chap = ChapCredentials(*request.target_user) if request.target_user is not None else url.target_chap
    place = dataclasses.replace(url, target=target, chap=chap, target_chap=target_chap)
    try:
        return ServiceClient(connect(place, initiator_name=name, timeout=request.seconds))
    except LoginFailed as failure:
        raise ConnectionRefusedError(_why(failure)) from failure
    except ChapFailed as failure:
        raise ConnectionRefusedError(f"the target did not authenticate: {failure}") from failure
    except RemoteProtocolError as error:
        raise ConnectionAbortedError(str(error)) from error


def _why(failure: LoginFailed) -> str:
    if failure.redirected:
        return f"the target has moved to {failure.address}"
    return f"the login was refused: {_REASONS.get(failure.status) or failure}"
