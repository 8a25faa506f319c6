"""What a login of one connection asks of the node: who may use what, and the session at its end (RFC 7143 6.3, 6.3.5).

It does NOT: authenticate (login.py, chap.py), or keep sessions (node.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scsiemu.nexus import Nexus
from scsiemu.sam import TaskManagementFunction
from transports.iscsi.chap import OutstandingChallenges
from transports.iscsi.keys import OperationalSettings
from transports.iscsi.login import InitiatorIdentity, LoginRefusal, LoginResult, LoginStatus, TargetAccess
from transports.iscsi.session import Session

if TYPE_CHECKING:
    from transports.iscsi.connection import TargetConnection

__all__ = ["ConnectionPolicy"]

_DISCOVERY_SETTINGS: Final = OperationalSettings()


class ConnectionPolicy:
    """The node's targets, for the peer of one connection: a `login.LoginPolicy`."""

    __slots__ = ("_connection", "challenges")

    def __init__(self, connection: TargetConnection) -> None:
        self._connection = connection
        self.challenges: OutstandingChallenges = connection.node.challenges

    def random_bytes(self, count: int) -> bytes:
        """Bytes that nobody can foresee."""
        return self._connection.node.random_bytes(count)

    def find_target(self, initiator: InitiatorIdentity, target_name: str) -> TargetAccess | LoginRefusal:
        """The terms for a normal session."""
        connection = self._connection
        entry = connection.node.targets.get(target_name)
        if entry is None or connection.group not in entry.ports:
            return LoginRefusal(LoginStatus.NOT_FOUND, reason="no such target")
        access = entry.access_of(initiator.name, connection.address)
        if access is None:
            return LoginRefusal(LoginStatus.AUTHORIZATION_FAILURE, reason="not in its access list")
        chap = access.chap if access.chap is not None else entry.chap
        return TargetAccess(entry.settings, chap, connection.group, entry.alias)

    def find_discovery(self, initiator: InitiatorIdentity) -> TargetAccess | LoginRefusal:
        """The terms for a discovery session."""
        connection = self._connection
        return TargetAccess(_DISCOVERY_SETTINGS, connection.node.discovery_chap, connection.group)

    def establish(self, result: LoginResult) -> int | LoginRefusal:
        """Make the session, after authentication; an older one of the same ports ends now."""
        connection = self._connection
        node = connection.node
        entry = None if result.discovery else node.targets.get(result.target_name)
        if entry is None and not result.discovery:
            return LoginRefusal(LoginStatus.TARGET_REMOVED, reason="the target was removed")
        old = node.find_session(result.initiator_name, result.isid, entry, connection.group)
        if result.tsih:
            if old is None or old.tsih != result.tsih:
                return LoginRefusal(LoginStatus.SESSION_DOES_NOT_EXIST, reason="no such session")
            if old.connection.cid != result.cid:
                return LoginRefusal(LoginStatus.TOO_MANY_CONNECTIONS, reason="MaxConnections is 1")
            result.negotiation.keep(old.parameters)
        access = entry.access_of(result.initiator_name, connection.address) if entry is not None else None
        nexus = None
        if old is not None:
            if result.tsih and entry is not None and access is not None:
                before = entry.access_of(result.initiator_name, old.connection.address)
                nexus = _hand_over(old) if access is before else None
            old.connection.drop("connection reinstatement" if result.tsih else "session reinstatement")
        tsih = result.tsih or node.new_tsih()
        if not tsih:
            return LoginRefusal(LoginStatus.OUT_OF_RESOURCES, reason="too many sessions")
        if entry is not None and nexus is None:
            if access is None:
                return LoginRefusal(LoginStatus.AUTHORIZATION_FAILURE, reason="not in its access list")
            nexus = node.establish_nexus(entry, access, result.initiator_name, result.isid, connection.group)
        connection.session = Session(
            connection, entry, nexus, result.parameters, initiator_name=result.initiator_name, isid=result.isid,
            tsih=tsih, exp_cmd_sn=result.cmd_sn, window=node.limits.window,
        )
        node.add_session(connection.session)
        return tsih


def _hand_over(session: Session) -> Nexus | None:
    """Another connection takes the place of the session's: its commands end without a word, the nexus goes on (6.3.4;
    6.3.5.1 has what it is lost by). None where it is lost after all: a store still works for a command, whose tag may
    come again.
    """
    nexus, target = session.nexus, session.target
    if nexus is None or target is None:
        return None
    for lun in list(nexus.units):
        session.node.manage(target, TaskManagementFunction.ABORT_TASK_SET, nexus, lun, tag=None, origin=None)
    if any(state.unit.task_set.of_nexuses((nexus,)) for state in nexus.units.values()):
        return None
    session.nexus = None
    return nexus
