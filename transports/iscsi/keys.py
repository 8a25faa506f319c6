"""The login and text keys of iSCSI as one table, and their negotiation (RFC 7143 6.2 and 13, RFC 7144).

    negotiation = Negotiation(OperationalSettings())
    answers = negotiation.answer(offers, Phase.OPERATIONAL, discovery=False)     # the target's part
    negotiation.parameters                                                       # what holds now

    offers = negotiation.propose(discovery=False)                                # the initiator's part
    negotiation.accept(answers)

Reserved answers used as offers, and values over their length, are `TextError` (protocol errors by 6.2). A value that
is not legal for its key is answered Reject, and the key keeps the value that it has.

It does NOT: handle the keys in `ELSEWHERE` (names, session type, AuthMethod, CHAP, SendTargets): login, chap and
session take them out before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final

from scsiemu._value import value
from transports.iscsi.text import TextError, parse_number

__all__ = [
    "IRRELEVANT",
    "KEYS",
    "NOT_UNDERSTOOD",
    "REJECT",
    "Key",
    "Kind",
    "Negotiation",
    "OperationalParameters",
    "OperationalSettings",
    "Phase",
    "Sender",
    "Use",
]

REJECT: Final = "Reject"
IRRELEVANT: Final = "Irrelevant"
NOT_UNDERSTOOD: Final = "NotUnderstood"
_RESERVED: Final = frozenset((REJECT, IRRELEVANT, NOT_UNDERSTOOD))


class Kind(Enum):
    """What a key's value is, and the function that makes the result of offer and own value (6.2)."""

    TEXT = "text, declared"
    DECLARED_NUMBER = "number, declared"
    MINIMUM = "number, the smaller"
    MAXIMUM = "number, the larger"
    AND = "boolean, Yes if both say so"
    OR = "boolean, Yes if one says so"
    LIST = "list, the first that the other side has"
    OBSOLETE_BOOLEAN = "obsolete: answered No"
    OBSOLETE = "obsolete: answered Reject"


class Phase(Enum):
    """When keys are exchanged."""

    SECURITY = "security negotiation"
    OPERATIONAL = "operational negotiation"
    FULL_FEATURE = "full feature phase"


class Use(Enum):
    """The Use of a key in clause 13."""

    SECURITY = "security negotiation"
    LOGIN = "IO: any connection's login"
    LEADING = "LO: the leading login"
    DECLARED_AT_LOGIN = "any stage of a login"
    FULL_FEATURE_ONLY = "FFPO"
    ALL = "ALL"


class Sender(Enum):
    """Who may send a key."""

    INITIATOR = "initiator"
    TARGET = "target"
    BOTH = "both"


@value
class Key:
    """A row of the table.

    Args:
        name: as on the wire.
        kind: value type and result function.
        use: in which phases it may be sent.
        sender: by whom.
        low, high: the legal range of a number.
        attribute: the name in `OperationalParameters` and `OperationalSettings`; empty for keys whose value is
            handled elsewhere.
        normal_only: irrelevant in discovery sessions.
        values: the legal values of a list.
        clause: of RFC 7143 (7144 where it says so).
    """

    name: str
    kind: Kind
    use: Use
    sender: Sender = Sender.BOTH
    low: int = 0
    high: int = 0
    attribute: str = ""
    normal_only: bool = False
    values: tuple[str, ...] = ()
    clause: str = ""


_24 = (1 << 24) - 1
_I, _T = Sender.INITIATOR, Sender.TARGET
_DIGESTS = ("CRC32C", "None")

_TABLE = (
    Key("InitiatorName", Kind.TEXT, Use.DECLARED_AT_LOGIN, _I, clause="13.5"),
    Key("InitiatorAlias", Kind.TEXT, Use.ALL, _I, clause="13.7"),
    Key("TargetName", Kind.TEXT, Use.ALL, clause="13.4"),
    Key("TargetAlias", Kind.TEXT, Use.ALL, _T, clause="13.6"),
    Key("TargetAddress", Kind.TEXT, Use.ALL, _T, clause="13.8"),
    Key("TargetPortalGroupTag", Kind.DECLARED_NUMBER, Use.DECLARED_AT_LOGIN, _T, 0, 65535, clause="13.9"),
    Key("SessionType", Kind.TEXT, Use.DECLARED_AT_LOGIN, _I, clause="13.21"),
    Key("SendTargets", Kind.TEXT, Use.FULL_FEATURE_ONLY, _I, clause="13.3, appendix C"),
    Key("AuthMethod", Kind.LIST, Use.SECURITY, clause="12.1"),
    Key("CHAP_A", Kind.LIST, Use.SECURITY, clause="12.1.3"),
    Key("CHAP_I", Kind.DECLARED_NUMBER, Use.SECURITY, Sender.BOTH, 0, 255, clause="12.1.3"),
    Key("CHAP_C", Kind.TEXT, Use.SECURITY, clause="12.1.3"),
    Key("CHAP_N", Kind.TEXT, Use.SECURITY, clause="12.1.3"),
    Key("CHAP_R", Kind.TEXT, Use.SECURITY, clause="12.1.3"),
    Key("HeaderDigest", Kind.LIST, Use.LOGIN, attribute="header_digest", values=_DIGESTS, clause="13.1"),
    Key("DataDigest", Kind.LIST, Use.LOGIN, attribute="data_digest", values=_DIGESTS, clause="13.1"),
    Key("MaxConnections", Kind.MINIMUM, Use.LEADING, Sender.BOTH, 1, 65535, "max_connections", True,
        clause="13.2"),
    Key("InitialR2T", Kind.OR, Use.LEADING, attribute="initial_r2t", normal_only=True, clause="13.10"),
    Key("ImmediateData", Kind.AND, Use.LEADING, attribute="immediate_data", normal_only=True, clause="13.11"),
    Key("MaxRecvDataSegmentLength", Kind.DECLARED_NUMBER, Use.ALL, Sender.BOTH, 512, _24,
        "max_send_data_segment_length", clause="13.12"),
    Key("MaxBurstLength", Kind.MINIMUM, Use.LEADING, Sender.BOTH, 512, _24, "max_burst_length", True,
        clause="13.13"),
    Key("FirstBurstLength", Kind.MINIMUM, Use.LEADING, Sender.BOTH, 512, _24, "first_burst_length", True,
        clause="13.14"),
    Key("DefaultTime2Wait", Kind.MAXIMUM, Use.LEADING, Sender.BOTH, 0, 3600, "default_time2wait",
        clause="13.15"),
    Key("DefaultTime2Retain", Kind.MINIMUM, Use.LEADING, Sender.BOTH, 0, 3600, "default_time2retain",
        clause="13.16"),
    Key("MaxOutstandingR2T", Kind.MINIMUM, Use.LEADING, Sender.BOTH, 1, 65535, "max_outstanding_r2t", True,
        clause="13.17"),
    Key("DataPDUInOrder", Kind.OR, Use.LEADING, attribute="data_pdu_in_order", normal_only=True,
        clause="13.18"),
    Key("DataSequenceInOrder", Kind.OR, Use.LEADING, attribute="data_sequence_in_order", normal_only=True,
        clause="13.19"),
    Key("ErrorRecoveryLevel", Kind.MINIMUM, Use.LEADING, Sender.BOTH, 0, 2, "error_recovery_level",
        clause="13.20"),
    Key("TaskReporting", Kind.LIST, Use.LEADING, attribute="task_reporting", normal_only=True,
        values=("RFC3720", "ResponseFence", "FastAbort"), clause="13.23"),
    Key("iSCSIProtocolLevel", Kind.MINIMUM, Use.LEADING, Sender.BOTH, 0, 31, "protocol_level", True,
        clause="13.24, RFC 7144"),
    Key("OFMarker", Kind.OBSOLETE_BOOLEAN, Use.LOGIN, clause="13.25"),
    Key("IFMarker", Kind.OBSOLETE_BOOLEAN, Use.LOGIN, clause="13.25"),
    Key("OFMarkInt", Kind.OBSOLETE, Use.LOGIN, clause="13.25"),
    Key("IFMarkInt", Kind.OBSOLETE, Use.LOGIN, clause="13.25"),
)

KEYS: Final[Mapping[str, Key]] = {key.name: key for key in _TABLE}
_UNLIMITED = frozenset(("CHAP_C", "CHAP_R"))    # binary values: up to 1024 bytes in hex


@value
class OperationalSettings:
    """What this side wants and can: its part in each result function. Lists are in order of preference."""

    header_digest: tuple[str, ...] = ("None", "CRC32C")
    data_digest: tuple[str, ...] = ("None", "CRC32C")
    max_connections: int = 1
    initial_r2t: bool = False
    immediate_data: bool = True
    max_recv_data_segment_length: int = 262144
    max_burst_length: int = 1 << 20
    first_burst_length: int = 262144
    default_time2wait: int = 0
    default_time2retain: int = 0
    max_outstanding_r2t: int = 8
    data_pdu_in_order: bool = True
    data_sequence_in_order: bool = True
    error_recovery_level: int = 0
    task_reporting: tuple[str, ...] = ("RFC3720",)
    protocol_level: int = 2


class OperationalParameters:
    """What holds for a connection and its session: the defaults of clause 13 until they are negotiated.

    Attributes:
        max_recv_data_segment_length: what we declared: how long a data segment the peer may send.
        max_send_data_segment_length: what the peer declared: how long a data segment we may send.
        header_digest, data_digest: "None" or "CRC32C".
    """

    __slots__ = (
        "data_digest", "data_pdu_in_order", "data_sequence_in_order", "default_time2retain",
        "default_time2wait", "error_recovery_level", "first_burst_length", "header_digest", "immediate_data",
        "initial_r2t", "max_burst_length", "max_connections", "max_outstanding_r2t",
        "max_recv_data_segment_length", "max_send_data_segment_length", "protocol_level", "task_reporting",
    )

    def __init__(self) -> None:
        self.header_digest = "None"
        self.data_digest = "None"
        self.max_connections = 1
        self.initial_r2t = True
        self.immediate_data = True
        self.max_recv_data_segment_length = 8192
        self.max_send_data_segment_length = 8192
        self.max_burst_length = 262144
        self.first_burst_length = 65536
        self.default_time2wait = 2
        self.default_time2retain = 20
        self.max_outstanding_r2t = 1
        self.data_pdu_in_order = True
        self.data_sequence_in_order = True
        self.error_recovery_level = 0
        self.task_reporting = "RFC3720"
        self.protocol_level = 1

    def as_dict(self) -> dict[str, int | bool | str]:
        """All of them by name, for people and statistics."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __repr__(self) -> str:
        return f"OperationalParameters({self.as_dict()})"


class Negotiation:
    """What one connection agrees on, at login and in full feature phase.

    Attributes:
        parameters: what holds now.
        declared: our MaxRecvDataSegmentLength was sent.
    """

    __slots__ = ("_done", "_offered", "_settings", "declared", "parameters")

    def __init__(self, settings: OperationalSettings) -> None:
        self._settings = settings
        self._done: set[str] = set()
        self._offered: dict[str, str] = {}
        self.parameters = OperationalParameters()
        self.declared = False

    def answer(
        self, offers: Iterable[tuple[str, str]], phase: Phase, *, discovery: bool
    ) -> list[tuple[str, str]]:
        """The target's answers to the initiator's offers, in their order. Declarations need none.

        Raises:
            TextError: a reserved word as an offer, a value that is too long, a key negotiated twice.
        """
        listed = list(offers)
        self._check_offers(listed, phase)
        allowed = _ALLOWED[phase]
        answers: dict[str, str | None] = {}
        # FirstBurstLength comes after what it depends on.
        for name, text in sorted(listed, key=lambda pair: pair[0] == "FirstBurstLength"):
            if name in allowed:
                answers[name] = self._answer_one(name, text, discovery)
            else:
                answers[name] = REJECT if name in KEYS else NOT_UNDERSTOOD
        self._hold_invariants()
        return [(name, answer) for name, _ in listed if (answer := answers[name]) is not None]

    def declare(self) -> list[tuple[str, str]]:
        """Our own MaxRecvDataSegmentLength, once; it holds as soon as this is sent."""
        if self.declared:
            return []
        self.declared = True
        length = self._settings.max_recv_data_segment_length
        self.parameters.max_recv_data_segment_length = length
        return [("MaxRecvDataSegmentLength", str(length))]

    def keep(self, agreed: OperationalParameters) -> None:
        """This login is not the session's first: what is negotiated only there holds on as `agreed`, unless it came up
        here too."""
        for key in _TABLE:
            if key.use is Use.LEADING and key.name not in self._done:
                setattr(self.parameters, key.attribute, getattr(agreed, key.attribute))
        self._hold_invariants()

    def propose(self, *, discovery: bool) -> list[tuple[str, str]]:
        """The initiator's offers for operational negotiation, with its declaration."""
        offers: list[tuple[str, str]] = []
        for key in _TABLE:
            if not key.attribute or (key.normal_only and discovery) or key.kind is Kind.DECLARED_NUMBER:
                continue
            own = getattr(self._settings, key.attribute)
            if key.kind is Kind.LIST:
                text = ",".join(own)
            elif key.kind in (Kind.AND, Kind.OR):
                text = _BOOLEANS[own]
            else:
                text = str(own)
            offers.append((key.name, text))
        self._offered = dict(offers)
        return offers + self.declare()

    def accept(self, answers: Iterable[tuple[str, str]]) -> None:
        """The initiator's part: take the target's answers and declarations.

        Raises:
            TextError: an answer that is not the result of any target's value.
        """
        for name, text in answers:
            key = KEYS.get(name)
            if key is None or not key.attribute:
                continue
            if name in self._offered and text in _RESERVED:
                continue                    # the key keeps its value
            result = _parse(key, text)
            if result is None:
                raise TextError(f"{name}={text} is not legal")
            if name in self._offered and not _is_result(key, getattr(self._settings, key.attribute), result):
                raise TextError(f"{name}={text} is no answer to {self._offered[name]}")
            setattr(self.parameters, key.attribute, result)
        self._hold_invariants()

    def _check_offers(self, offers: list[tuple[str, str]], phase: Phase) -> None:
        done = None if phase is Phase.FULL_FEATURE else self._done
        for name, text in offers:
            if text in _RESERVED:
                # 6.2: these as proposed values are a protocol error.
                raise TextError(f"{name}={text} as an offer")
            if len(text) > 255 and name in _SHORT:
                raise TextError(f"the value of {name} is too long")
            if done is not None:
                if name in done:
                    raise TextError(f"{name} negotiated twice in a login")     # 6.2: renegotiation is an error
                done.add(name)

    def _answer_one(self, name: str, text: str, discovery: bool) -> str | None:
        """The answer to a key that may be sent now; None where it needs none."""
        key = KEYS[name]
        attribute = key.attribute
        if not attribute:
            if key.kind is Kind.OBSOLETE_BOOLEAN:
                return "No"
            return None if key.kind is Kind.TEXT else REJECT        # 13.25: obsolete, but never NotUnderstood
        parameters = self.parameters
        if discovery and key.normal_only:
            return IRRELEVANT
        if name == "MaxRecvDataSegmentLength":          # declared: an answer would be ours, and is sent by `declare`
            number = _number(key, text)
            if number is None:
                return REJECT
            parameters.max_send_data_segment_length = number
            return None
        result = _RESULTS[name](key, getattr(self._settings, attribute), text)
        if name == "FirstBurstLength":
            if parameters.initial_r2t and not parameters.immediate_data:
                return IRRELEVANT           # 13.14: there is no unsolicited data
            if result is not None:
                result = min(result, parameters.max_burst_length)
        if result is None:
            return REJECT                   # not legal, or nothing fits
        setattr(parameters, attribute, result)
        return _BOOLEANS[result] if result.__class__ is bool else str(result)

    def _hold_invariants(self) -> None:
        """13.14: FirstBurstLength must not exceed MaxBurstLength, defaults included."""
        parameters = self.parameters
        parameters.first_burst_length = min(parameters.first_burst_length, parameters.max_burst_length)


_BOOLEANS = {True: "Yes", False: "No"}
_TRUTH = {"Yes": True, "No": False}
_LOGIN_PHASES = frozenset((Phase.SECURITY, Phase.OPERATIONAL))
_PHASES = {
    Use.SECURITY: frozenset((Phase.SECURITY,)),
    Use.LOGIN: frozenset((Phase.OPERATIONAL,)),
    Use.LEADING: frozenset((Phase.OPERATIONAL,)),
    Use.DECLARED_AT_LOGIN: _LOGIN_PHASES,
    Use.FULL_FEATURE_ONLY: frozenset((Phase.FULL_FEATURE,)),
    Use.ALL: _LOGIN_PHASES | {Phase.FULL_FEATURE},
}
# The keys that an initiator may send in each phase.
_ALLOWED = {
    phase: frozenset(
        key.name for key in _TABLE if key.sender is not Sender.TARGET and phase in _PHASES[key.use]
    )
    for phase in Phase
}
# 6.1: values are at most 255 bytes long unless the key says otherwise.
_SHORT = frozenset(key.name for key in _TABLE if key.kind is not Kind.LIST) - _UNLIMITED


# The result functions (6.2): None where the offer is not legal or nothing fits.


def _first(key: Key, own: tuple[str, ...], text: str) -> str | None:
    for choice in text.split(","):
        if choice in own:
            return choice
    return None


def _and(key: Key, own: bool, text: str) -> bool | None:
    offer = _TRUTH.get(text)
    return None if offer is None else offer and own


def _or(key: Key, own: bool, text: str) -> bool | None:
    offer = _TRUTH.get(text)
    return None if offer is None else offer or own


def _smaller(key: Key, own: int, text: str) -> int | None:
    offer = _number(key, text)
    return None if offer is None else min(offer, own)


def _larger(key: Key, own: int, text: str) -> int | None:
    offer = _number(key, text)
    return None if offer is None else max(offer, own)


_FUNCTIONS: dict[Kind, Callable[[Key, Any, str], Any]] = {
    Kind.LIST: _first, Kind.AND: _and, Kind.OR: _or, Kind.MINIMUM: _smaller, Kind.MAXIMUM: _larger,
}
_RESULTS = {key.name: _FUNCTIONS[key.kind] for key in _TABLE if key.attribute and key.kind in _FUNCTIONS}


def _number(key: Key, text: str) -> int | None:
    """A legal number of that key, None for any other text."""
    number = parse_number(text)
    return number if number is not None and key.low <= number <= key.high else None


def _parse(key: Key, text: str) -> int | bool | str | None:
    """One legal value of that key, None for any other text."""
    if key.kind is Kind.LIST:
        return text if text in key.values else None
    if key.kind in (Kind.AND, Kind.OR):
        return _TRUTH.get(text)
    return _number(key, text)


def _is_result(key: Key, own: int | bool | tuple[str, ...], result: int | bool | str) -> bool:
    """Whether `result` can come of `own` by the key's result function, whatever the other side has."""
    if isinstance(own, tuple):
        return result in own
    assert not isinstance(result, str)
    if key.kind is Kind.AND:
        return not result or bool(own)
    if key.kind is Kind.OR:
        return bool(result) or not own
    return result >= own if key.kind is Kind.MAXIMUM else result <= own
