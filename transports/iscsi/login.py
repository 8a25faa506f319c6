"""The login phase, target side: stages, security, operational negotiation, refusals (RFC 7143 6.3, 11.12, 11.13).

    login = TargetLogin(policy)                 # one for each connection
    step = login.receive(request)               # each LoginRequest; never raises for what an initiator can send
    send(encode(step.response))                 # always: digests are off until the login is over
    if step.result is not None: ...             # full feature phase begins after this response
    if step.failed: ...                         # close the connection once the response is sent
    login.close()                               # always, when the connection ends

The policy is the server's part, one for each connection (it knows the peer's address): who may see which target, how
they prove who they are, and, at the very end, `establish`, which makes the session and gives its TSIH. A session that
is to be reinstated is thus only ended by an initiator that is authenticated.

Time is the caller's: a deadline for the whole login is the server's.

What the table `_STAGES` cannot say: text that is cut by the C bit is answered by an empty response in every state; any
request may be refused, which ends the login; a CHAP exchange has its own order (chap.py), followed in `_chap`.

It does NOT: more than one connection in a session (the policy refuses them), Kerberos or SRP authentication.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from scsiemu._value import value
from transports.iscsi.chap import ChapFailed, ChapRequirement, ChapTarget, OutstandingChallenges
from transports.iscsi.codes import Flags, LoginStage
from transports.iscsi.keys import KEYS, Kind, Negotiation, OperationalParameters, OperationalSettings, Phase
from transports.iscsi.names import normalise_name
from transports.iscsi.pdu import LoginRequest, LoginResponse
from transports.iscsi.text import TextBuffer, TextError, encode_text

__all__ = [
    "InitiatorIdentity",
    "LoginLimits",
    "LoginPolicy",
    "LoginRefusal",
    "LoginResult",
    "LoginStatus",
    "LoginStep",
    "TargetAccess",
    "TargetLogin",
]


class LoginStatus:
    """Status class and detail (11.13.5)."""

    SUCCESS: Final = 0x0000
    MOVED_TEMPORARILY: Final = 0x0101
    MOVED_PERMANENTLY: Final = 0x0102
    INITIATOR_ERROR: Final = 0x0200
    AUTHENTICATION_FAILURE: Final = 0x0201
    AUTHORIZATION_FAILURE: Final = 0x0202
    NOT_FOUND: Final = 0x0203
    TARGET_REMOVED: Final = 0x0204
    UNSUPPORTED_VERSION: Final = 0x0205
    TOO_MANY_CONNECTIONS: Final = 0x0206
    MISSING_PARAMETER: Final = 0x0207
    CANNOT_INCLUDE_IN_SESSION: Final = 0x0208
    SESSION_TYPE_NOT_SUPPORTED: Final = 0x0209
    SESSION_DOES_NOT_EXIST: Final = 0x020A
    INVALID_DURING_LOGIN: Final = 0x020B
    TARGET_ERROR: Final = 0x0300
    SERVICE_UNAVAILABLE: Final = 0x0301
    OUT_OF_RESOURCES: Final = 0x0302


@value
class LoginRefusal:
    """A policy's no.

    Args:
        status: one of `LoginStatus`, not SUCCESS.
        address: where to go instead, `host[:port][,tag]`, for the two MOVED statuses.
        reason: one sentence for the log.
    """

    status: int
    address: str = ""
    reason: str = ""


class InitiatorIdentity(NamedTuple):
    """Who says to be there (not yet authenticated). `name` is in normal form."""

    name: str
    alias: str
    isid: bytes
    tsih: int


class TargetAccess(NamedTuple):
    """A policy's yes: the terms on which an initiator may log in to a target, or to discovery.

    Args:
        settings: our part in the negotiation.
        chap: what it must prove; None for no authentication.
        portal_group_tag: TargetPortalGroupTag of the portal in use.
        alias: TargetAlias, empty for none.
    """

    settings: OperationalSettings
    chap: ChapRequirement | None = None
    portal_group_tag: int = 1
    alias: str = ""


class LoginResult(NamedTuple):
    """A login that has come to its end: what the session needs to know.

    Args:
        initiator_name: in normal form.
        target_name: in normal form, empty for discovery.
        tsih: what the initiator gave: 0 for a new session.
        user: CHAP name, empty without authentication.
        negotiation: goes on in full feature phase (MaxRecvDataSegmentLength may be declared anew).
        cmd_sn: the CmdSN that the session's first command has.
        stat_sn: the next StatSN of the connection, after the final login response.
    """

    initiator_name: str
    initiator_alias: str
    target_name: str
    discovery: bool
    isid: bytes
    tsih: int
    cid: int
    portal_group_tag: int
    user: str
    parameters: OperationalParameters
    negotiation: Negotiation
    cmd_sn: int
    stat_sn: int


class LoginPolicy(Protocol):
    """What the server knows. One object for each connection."""

    challenges: OutstandingChallenges           # one for the process

    def random_bytes(self, count: int) -> bytes:
        """Bytes that nobody can foresee."""

    def find_target(self, initiator: InitiatorIdentity, target_name: str) -> TargetAccess | LoginRefusal:
        """The terms for a normal session; NOT_FOUND, AUTHORIZATION_FAILURE, TARGET_REMOVED, MOVED_... if not."""

    def find_discovery(self, initiator: InitiatorIdentity) -> TargetAccess | LoginRefusal:
        """The terms for a discovery session."""

    def establish(self, result: LoginResult) -> int | LoginRefusal:
        """Make the session (ending an older one of the same ISID): its TSIH, 1 to 65535, for discovery as well.

        With `result.tsih` not 0: the TSIH again, or SESSION_DOES_NOT_EXIST, TOO_MANY_CONNECTIONS.
        """


@value
class LoginLimits:
    """What one login may cost."""

    pdus: int = 32
    text_length: int = 8192                     # of all requests together
    continued_pdus: int = 16                    # that one text may come in
    keys: int = 64                              # of all requests together
    command_window: int = 128                   # MaxCmdSN - ExpCmdSN + 1 in the responses


class LoginStep(NamedTuple):
    """What one request came to.

    Args:
        response: to be sent.
        result: the login is over, the full feature phase begins.
        failed: the login is over, close.
        reason: why, for the log: never raw bytes of the peer.
    """

    response: LoginResponse
    result: LoginResult | None = None
    failed: bool = False
    reason: str = ""


class TargetLogin:
    """One connection's login.

    Attributes:
        initiator_name: as soon as it is known, else empty (for the log).
        finished: no more requests are taken.
    """

    def __init__(self, policy: LoginPolicy, limits: LoginLimits | None = None) -> None:
        self._policy = policy
        self._limits = limits if limits is not None else _LIMITS
        self._text = TextBuffer(
            max_length=self._limits.text_length, max_pdus=self._limits.continued_pdus, max_keys=self._limits.keys
        )
        self._pdus = 0
        self._stage = -1                        # CSG; -1 before the first request
        self._identity: dict[str, str] = {}     # keys of the first text that may come again unchanged
        self._first: LoginRequest | None = None
        self._access: TargetAccess | None = None
        self._negotiation: Negotiation          # with _access
        self._chap: ChapTarget | None = None
        self._security = _Security.NOTHING
        self._stat_sn = 0
        self._target_name = ""
        self._discovery = False
        self.initiator_name = ""
        self.finished = False

    def receive(self, request: LoginRequest) -> LoginStep:
        """Take a Login Request, answer it."""
        if self.finished:
            return self._refuse(request, LoginRefusal(LoginStatus.INITIATOR_ERROR, reason="login is over"))
        if self._first is None:
            self._first = request
            self._stat_sn = request.exp_stat_sn
        try:
            return self._step(request)
        except _Refused as refused:
            return self._refuse(request, refused.refusal)
        except TextError as error:
            return self._refuse(request, LoginRefusal(LoginStatus.INITIATOR_ERROR, reason=str(error)))
        except ChapFailed as error:
            status = LoginStatus.MISSING_PARAMETER if error.missing else LoginStatus.AUTHENTICATION_FAILURE
            return self._refuse(request, LoginRefusal(status, reason=str(error)))

    def refuse(self, request: LoginRequest, refusal: LoginRefusal) -> LoginStep:
        """End the login for a reason that the server has (overload, shutting down)."""
        if self._first is None:
            self._stat_sn = request.exp_stat_sn
        return self._refuse(request, refusal)

    def close(self) -> None:
        """The connection is gone, or the login over: forget outstanding challenges."""
        self.finished = True
        if self._chap is not None:
            self._chap.close()

    def _step(self, request: LoginRequest) -> LoginStep:
        self._check_header(request)
        continued = bool(request.flags & Flags.CONTINUE)
        pairs = self._text.add(request.data, more=continued)
        if pairs is None:
            return LoginStep(self._respond(request, [], transit=False))
        answers: list[tuple[str, str]] = []
        if self._access is None:
            answers += self._open(request, pairs)
        pairs = self._without_identity(pairs)
        if request.current_stage == LoginStage.SECURITY:
            answers += self._negotiate_security(pairs)
        else:
            self._check_authenticated()
            answers += self._negotiation.answer(pairs, Phase.OPERATIONAL, discovery=self._discovery)
            if "MaxRecvDataSegmentLength" not in dict(answers):     # not beside a Reject of theirs
                answers += self._negotiation.declare()
        if not request.flags & Flags.TRANSIT or not self._may_leave(request):
            return LoginStep(self._respond(request, answers, transit=False))
        self._stage = request.next_stage
        if self._stage != LoginStage.FULL_FEATURE:
            return LoginStep(self._respond(request, answers, transit=True))
        return self._finish(request, answers)

    def _check_header(self, request: LoginRequest) -> None:
        """Bounds, version, stages, and what must not change within a login."""
        self._pdus += 1
        if self._pdus > self._limits.pdus:
            raise _Refused(LoginStatus.INITIATOR_ERROR, "too many login requests")
        if request.version_min > _VERSION:
            raise _Refused(LoginStatus.UNSUPPORTED_VERSION, "version")
        if request.data_digest_error:
            raise _Refused(LoginStatus.INITIATOR_ERROR, "data digest error")
        first = self._first
        assert first is not None
        # Its CmdSN should not change either (11.12.8); where it does (nmap counts), the last one holds.
        if (request.isid, request.tsih, request.cid) != (first.isid, first.tsih, first.cid):
            raise _Refused(LoginStatus.INITIATOR_ERROR, "ISID, TSIH or CID changed within the login")
        stage = request.current_stage
        transit = bool(request.flags & Flags.TRANSIT)
        if transit and request.flags & Flags.CONTINUE:
            raise _Refused(LoginStatus.INITIATOR_ERROR, "T and C bits together")    # 11.12.2
        following = request.next_stage if transit else None
        if (self._stage, stage) not in _STAGES or following not in _STAGES[self._stage, stage]:
            raise _Refused(LoginStatus.INITIATOR_ERROR, "stage")
        self._stage = stage

    def _open(self, request: LoginRequest, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The first text: who is there, for what; the terms."""
        given = dict(pairs)
        if "InitiatorName" not in given:
            raise _Refused(LoginStatus.MISSING_PARAMETER, "no InitiatorName")       # 6.3
        name = normalise_name(given["InitiatorName"])
        if name is None:
            raise _Refused(LoginStatus.INITIATOR_ERROR, "InitiatorName is not an iSCSI name")
        self.initiator_name = name
        alias = given.get("InitiatorAlias", "")
        identity = InitiatorIdentity(name, alias[:255], request.isid, request.tsih)
        kind = given.get("SessionType", "Normal")
        if kind not in ("Normal", "Discovery"):
            raise _Refused(LoginStatus.SESSION_TYPE_NOT_SUPPORTED, "SessionType")
        self._discovery = kind == "Discovery"
        self._identity = {key: text for key, text in pairs if key in _IDENTITY}
        for key, text in self._identity.items():
            if len(text) > 255:
                raise _Refused(LoginStatus.INITIATOR_ERROR, f"{key} is too long")
        access = self._find(identity, given.get("TargetName"))
        if isinstance(access, LoginRefusal):
            raise _Refused.by(access)
        self._access = access
        self._negotiation = Negotiation(access.settings)
        if self._discovery:
            return []
        # 13.9: in the first response to a normal session's login that has a text.
        answers = [("TargetPortalGroupTag", str(access.portal_group_tag))]
        if access.alias:
            answers.append(("TargetAlias", access.alias))
        return answers

    def _find(self, identity: InitiatorIdentity, target_name: str | None) -> TargetAccess | LoginRefusal:
        if self._discovery:
            return self._policy.find_discovery(identity)
        if target_name is None:
            return LoginRefusal(LoginStatus.MISSING_PARAMETER, reason="no TargetName")
        name = normalise_name(target_name)
        if name is None:
            return LoginRefusal(LoginStatus.NOT_FOUND, reason="TargetName is not an iSCSI name")
        self._target_name = name
        return self._policy.find_target(identity, name)

    def _without_identity(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The pairs to negotiate. Initiators repeat who they are in the next stage: that must not change."""
        rest: list[tuple[str, str]] = []
        for key, text in pairs:
            if key not in _IDENTITY:
                rest.append((key, text))
            elif self._identity.get(key) != text:
                raise _Refused(LoginStatus.INITIATOR_ERROR, f"{key} changed within the login")
        return rest

    def _negotiate_security(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        ours = [pair for pair in pairs if pair[0] in _SECURITY_KEYS]
        rest = [pair for pair in pairs if pair[0] not in _SECURITY_KEYS]
        # Order of the RFC: the security keys are answered first, by what state the exchange is in.
        answers = self._answer_security(ours) if ours else []
        return answers + self._negotiation.answer(rest, Phase.SECURITY, discovery=self._discovery)

    def _answer_security(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        names = {name for name, _ in pairs}
        if any(len(text) > 255 and KEYS[name].kind is Kind.DECLARED_NUMBER for name, text in pairs):
            raise TextError("a number is too long")
        if self._security is _Security.NOTHING and names == {"AuthMethod"}:
            return self._choose_method(pairs[0][1])
        chap = self._chap
        if chap is not None and self._security is _Security.METHOD and names == {"CHAP_A"}:
            self._security = _Security.CHALLENGED
            return chap.choose(pairs)
        if chap is not None and self._security is _Security.CHALLENGED and names <= _RESPONSE_KEYS:
            answers = chap.verify(pairs)
            self._security = _Security.DONE
            return answers
        raise _Refused(LoginStatus.INITIATOR_ERROR, "security keys out of their order")

    def _choose_method(self, text: str) -> list[tuple[str, str]]:
        assert self._access is not None
        wanted = "None" if self._access.chap is None else "CHAP"
        if wanted not in text.split(","):
            raise _Refused(LoginStatus.AUTHENTICATION_FAILURE, f"AuthMethod {wanted} is not among those offered")
        if self._access.chap is None:
            self._security = _Security.DONE
        else:
            self._security = _Security.METHOD
            self._chap = ChapTarget(self._access.chap, self._policy.challenges, self._policy.random_bytes)
        return [("AuthMethod", wanted)]

    def _may_leave(self, request: LoginRequest) -> bool:
        """Whether the transition that the initiator asks for is granted now."""
        if request.current_stage == LoginStage.SECURITY and self._security is _Security.NOTHING:
            self._check_authenticated()
        return self._security in (_Security.DONE, _Security.NOTHING)

    def _check_authenticated(self) -> None:
        assert self._access is not None
        if self._access.chap is not None and self._security is not _Security.DONE:
            raise _Refused(LoginStatus.AUTHENTICATION_FAILURE, "authentication is required")

    def _finish(self, request: LoginRequest, answers: list[tuple[str, str]]) -> LoginStep:
        assert self._access is not None
        response = self._respond(request, answers, transit=True)
        result = LoginResult(
            initiator_name=self.initiator_name,
            initiator_alias=self._identity.get("InitiatorAlias", ""),
            target_name=self._target_name,
            discovery=self._discovery,
            isid=request.isid,
            tsih=request.tsih,
            cid=request.cid,
            portal_group_tag=self._access.portal_group_tag,
            user=self._chap.user if self._chap is not None else "",
            parameters=self._negotiation.parameters,
            negotiation=self._negotiation,
            cmd_sn=request.cmd_sn,
            stat_sn=self._stat_sn,
        )
        tsih = self._policy.establish(result)
        if isinstance(tsih, LoginRefusal):
            self._stat_sn = response.stat_sn
            raise _Refused.by(tsih)
        response.tsih = tsih
        self.close()
        return LoginStep(response, result)

    def _respond(
        self, request: LoginRequest, answers: list[tuple[str, str]], *, transit: bool
    ) -> LoginResponse:
        flags = request.current_stage << 2
        if transit:
            flags |= Flags.TRANSIT | request.next_stage
        response = LoginResponse(
            flags=flags,
            version_max=_VERSION,
            version_active=_VERSION,
            isid=request.isid,
            tsih=request.tsih,
            itt=request.itt,
            stat_sn=self._stat_sn,
            exp_cmd_sn=request.cmd_sn,
            max_cmd_sn=request.cmd_sn + self._limits.command_window - 1 & 0xFFFFFFFF,
            data=encode_text(answers),
        )
        self._stat_sn = self._stat_sn + 1 & 0xFFFFFFFF
        return response

    def _refuse(self, request: LoginRequest, refusal: LoginRefusal) -> LoginStep:
        self.close()
        response = self._respond(request, [], transit=False)
        response.flags = 0                      # 11.13: T, CSG and NSG are reserved when the status is not 0
        response.status_class = refusal.status >> 8
        response.status_detail = refusal.status & 0xFF
        if refusal.address:
            response.data = encode_text([("TargetAddress", refusal.address)])
        return LoginStep(response, failed=True, reason=refusal.reason)


class _Refused(Exception):
    """Leaves the handling of one request. Never seen outside of this module."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.refusal = LoginRefusal(status, reason=reason)

    @classmethod
    def by(cls, refusal: LoginRefusal) -> _Refused:
        refused = cls(refusal.status, refusal.reason)
        refused.refusal = refusal
        return refused


class _Security:
    """How far security negotiation has come."""

    NOTHING: Final = "no method yet"
    METHOD: Final = "CHAP was chosen"
    CHALLENGED: Final = "the challenge is out"
    DONE: Final = "authenticated, or no need to be"


_LIMITS = LoginLimits()
_VERSION = 0                                    # of RFC 3720 to RFC 7143

# (stage that we are in, CSG of the request) -> what NSG may be; None is a request without the T bit. -1 is the
# state before the first request. The stage that we are in is the one that we have granted.
_STAGES: Final[dict[tuple[int, int], tuple[int | None, ...]]] = {
    (-1, 0): (None, 1, 3),
    (-1, 1): (None, 3),
    (0, 0): (None, 1, 3),
    (1, 1): (None, 3),
}

_IDENTITY = frozenset(("InitiatorName", "InitiatorAlias", "TargetName", "SessionType"))
_SECURITY_KEYS = frozenset(("AuthMethod", "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"))
_RESPONSE_KEYS = frozenset(("CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"))
