"""CHAP for iSCSI, one way and mutual (RFC 7143 12.1.3, RFC 1994; algorithms by IANA's PPP list).

    exchange = ChapTarget(requirement, challenges, random_bytes)
    answers = exchange.choose(pairs)            # CHAP_A             -> CHAP_A CHAP_I CHAP_C
    answers = exchange.verify(pairs)            # CHAP_N CHAP_R ...  -> nothing, or CHAP_N CHAP_R for mutual
    exchange.user                               # who it is
    exchange.close()                            # always, at the end of the login

    exchange = ChapInitiator(own, target_secret, challenges, random_bytes)    # the other side

Whatever fails is `ChapFailed`, which says no more to the peer than status 0x0201.

It does NOT: know Login PDUs and AuthMethod (login.py).
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from scsiemu._value import value
from scsiemu.errors import RemoteProtocolError
from transports.iscsi.text import decode_binary, encode_binary, parse_number

__all__ = [
    "ALGORITHMS",
    "MIN_SECRET_LENGTH",
    "ChapCredentials",
    "ChapFailed",
    "ChapInitiator",
    "ChapRequirement",
    "ChapTarget",
    "OutstandingChallenges",
    "RandomBytes",
    "chap_response",
]

RandomBytes: TypeAlias = Callable[[int], bytes]
_Pairs: TypeAlias = list[tuple[str, str]]

MIN_SECRET_LENGTH: Final = 12               # 96 bits, RFC 7143 9.2.1
_CHALLENGE_LENGTH: Final = 32
_MAX_CHALLENGE: Final = 1024                # 12.1.3: a CHAP_C is at most 1024 bytes long

# CHAP_A numbers in order of preference, and their hash. 6, 7 and 8 are IANA's (tgt says 7 for SHA-1, wrongly).
ALGORITHMS: Final[Mapping[int, str]] = {8: "sha3_256", 7: "sha256", 6: "sha1", 5: "md5"}


class ChapFailed(RemoteProtocolError):
    """The peer did not prove who it is.

    Attributes:
        missing: a key that must be there was not.
    """

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


@value
class ChapCredentials:
    """A CHAP name and its secret."""

    name: str
    secret: bytes = dataclasses.field(repr=False)


@value
class ChapRequirement:
    """What a target asks of initiators.

    Args:
        users: names and secrets of initiators.
        mutual: our own name and secret, for initiators that want to know who we are.
        mutual_required: refuse initiators that do not ask.
        algorithms: those allowed, in order of preference.
        allow_weak: secrets of less than 96 bits are allowed.

    Raises:
        ValueError: no user, a weak secret, our own secret is also that of a user.
    """

    users: Mapping[str, bytes] = dataclasses.field(repr=False)
    mutual: ChapCredentials | None = None
    mutual_required: bool = False
    algorithms: tuple[int, ...] = tuple(ALGORITHMS)
    allow_weak: bool = False

    def __post_init__(self) -> None:
        if not self.users:
            raise ValueError("CHAP is required, but no user is known")
        if self.mutual_required and self.mutual is None:
            raise ValueError("mutual CHAP is required, but no own secret is known")
        secrets = list(self.users.values())
        if self.mutual is not None:
            # 9.2.1: the same secret must not be used in both directions.
            if self.mutual.secret in secrets:
                raise ValueError("the secret for mutual CHAP is also the secret of a user")
            secrets.append(self.mutual.secret)
        if not self.allow_weak and any(len(secret) < MIN_SECRET_LENGTH for secret in secrets):
            raise ValueError(f"a CHAP secret has less than {MIN_SECRET_LENGTH} bytes")


class OutstandingChallenges:
    """Challenges that this side has sent and whose exchange goes on: one coming back is a reflection attack.

    One for all connections of a process. The oldest are forgotten beyond `capacity`.
    """

    __slots__ = ("_capacity", "_challenges")

    def __init__(self, capacity: int = 4096) -> None:
        self._challenges: OrderedDict[bytes, None] = OrderedDict()
        self._capacity = capacity

    def add(self, challenge: bytes) -> None:
        """Remember a challenge that is sent now."""
        self._challenges[challenge] = None
        if len(self._challenges) > self._capacity:
            self._challenges.popitem(last=False)

    def discard(self, challenge: bytes) -> None:
        """Its exchange is over."""
        self._challenges.pop(challenge, None)

    def __contains__(self, challenge: bytes) -> bool:
        return challenge in self._challenges

    def __len__(self) -> int:
        return len(self._challenges)


def chap_response(algorithm: int, identifier: int, secret: bytes, challenge: bytes) -> bytes:
    """The response of RFC 1994 4.1: hash of identifier, secret and challenge."""
    import hashlib  # OpenSSL is 4 MiB: only for who uses CHAP

    make = getattr(hashlib, ALGORITHMS[algorithm])
    digest: bytes = make(bytes((identifier,)) + secret + challenge, usedforsecurity=False).digest()
    return digest


def _same(expected: bytes, response: bytes | None) -> bool:
    """Compare, in a time that does not tell how far they are the same."""
    from hmac import compare_digest  # see chap_response

    return compare_digest(expected, response if response is not None else b"")


class ChapTarget:
    """The target's side of one exchange.

    Attributes:
        user: the CHAP name that was proved, empty before.
    """

    __slots__ = ("_algorithm", "_challenge", "_challenges", "_identifier", "_random_bytes", "_requirement", "user")

    def __init__(
        self, requirement: ChapRequirement, challenges: OutstandingChallenges, random_bytes: RandomBytes
    ) -> None:
        self._requirement = requirement
        self._challenges = challenges
        self._random_bytes = random_bytes
        self._algorithm = 0
        self._identifier = 0
        self._challenge = b""
        self.user = ""

    def choose(self, pairs: _Pairs) -> _Pairs:
        """Take the initiator's list of algorithms, answer the strongest with a challenge. Raises ChapFailed."""
        offered = dict(pairs).get("CHAP_A")
        if offered is None:
            raise ChapFailed("no CHAP_A", missing=True)
        wanted = {parse_number(text) for text in offered.split(",")}
        algorithm = next((number for number in self._requirement.algorithms if number in wanted), None)
        if algorithm is None:
            raise ChapFailed("no CHAP algorithm in common")
        self._algorithm = algorithm
        self._identifier = self._random_bytes(1)[0]
        self._challenge = self._random_bytes(_CHALLENGE_LENGTH)
        self._challenges.add(self._challenge)
        return [
            ("CHAP_A", str(algorithm)),
            ("CHAP_I", str(self._identifier)),
            ("CHAP_C", encode_binary(self._challenge)),
        ]

    def verify(self, pairs: _Pairs) -> _Pairs:
        """Judge the initiator's response; answer its challenge where there is one. Raises ChapFailed."""
        given = dict(pairs)
        name, response_text = given.get("CHAP_N"), given.get("CHAP_R")
        if name is None or response_text is None:
            raise ChapFailed("no CHAP_N or CHAP_R", missing=True)
        secret = self._requirement.users.get(name)
        # An unknown user costs the same work.
        tried = secret if secret is not None else bytes(_CHALLENGE_LENGTH)
        expected = chap_response(self._algorithm, self._identifier, tried, self._challenge)
        response = decode_binary(response_text, max_length=len(expected))
        right = _same(expected, response)
        if secret is None or not right:
            raise ChapFailed("wrong CHAP name or response")
        answers = self._answer(given)
        self.user = name
        self.close()
        return answers

    def close(self) -> None:
        """The exchange is over, however it ended."""
        self._challenges.discard(self._challenge)

    def _answer(self, given: Mapping[str, str]) -> _Pairs:
        """The answer to the initiator's own challenge (mutual authentication)."""
        identifier_text, challenge_text = given.get("CHAP_I"), given.get("CHAP_C")
        if identifier_text is None and challenge_text is None:
            if self._requirement.mutual_required:
                raise ChapFailed("mutual CHAP is required")
            return []
        own = self._requirement.mutual
        if own is None:
            raise ChapFailed("mutual CHAP was asked for, there is no secret for it")
        return _respond(self._algorithm, own, identifier_text, challenge_text, self._challenges)


class ChapInitiator:
    """The initiator's side of one exchange.

    Args:
        own: our name and secret.
        target: name and secret of the target, for mutual authentication; an empty name is not compared.
        algorithms: to offer, in order of preference.
    """

    __slots__ = (
        "_algorithm", "_algorithms", "_challenge", "_challenges", "_identifier", "_own", "_random_bytes",
        "_target",
    )

    def __init__(
        self,
        own: ChapCredentials,
        target: ChapCredentials | None,
        challenges: OutstandingChallenges,
        random_bytes: RandomBytes,
        algorithms: Iterable[int] = tuple(ALGORITHMS),
    ) -> None:
        if target is not None and target.secret == own.secret:
            raise ValueError("the same CHAP secret in both directions")
        self._own = own
        self._target = target
        self._challenges = challenges
        self._random_bytes = random_bytes
        self._algorithms = tuple(algorithms)
        self._algorithm = 0
        self._identifier = 0
        self._challenge = b""

    def offer(self) -> _Pairs:
        """The first text: the algorithms."""
        return [("CHAP_A", ",".join(map(str, self._algorithms)))]

    def respond(self, pairs: _Pairs) -> _Pairs:
        """Answer the target's challenge, with a challenge of our own where mutual. Raises ChapFailed."""
        given = dict(pairs)
        algorithm = parse_number(given.get("CHAP_A", ""))
        if algorithm is None or algorithm not in self._algorithms:
            raise ChapFailed("the target chose an algorithm that was not offered")
        self._algorithm = algorithm
        answers = _respond(
            algorithm, self._own, given.get("CHAP_I"), given.get("CHAP_C"), self._challenges
        )
        if self._target is not None:
            self._identifier = self._random_bytes(1)[0]
            self._challenge = self._random_bytes(_CHALLENGE_LENGTH)
            self._challenges.add(self._challenge)
            answers += [("CHAP_I", str(self._identifier)), ("CHAP_C", encode_binary(self._challenge))]
        return answers

    def verify(self, pairs: _Pairs) -> None:
        """Judge the target's response to our challenge, if we sent one. Raises ChapFailed."""
        if self._target is None:
            return
        given = dict(pairs)
        expected = chap_response(self._algorithm, self._identifier, self._target.secret, self._challenge)
        response = decode_binary(given.get("CHAP_R", ""), max_length=len(expected))
        named = self._target.name in ("", given.get("CHAP_N"))
        if not _same(expected, response) or not named:
            raise ChapFailed("the target did not prove who it is")
        self.close()

    def close(self) -> None:
        """The exchange is over, however it ended."""
        self._challenges.discard(self._challenge)


def _respond(
    algorithm: int,
    own: ChapCredentials,
    identifier_text: str | None,
    challenge_text: str | None,
    challenges: OutstandingChallenges,
) -> _Pairs:
    """CHAP_N and CHAP_R for the peer's challenge, unless it is one of our own (reflection, 12.1.3)."""
    if identifier_text is None or challenge_text is None:
        raise ChapFailed("CHAP_I and CHAP_C come together", missing=True)
    identifier = parse_number(identifier_text)
    challenge = decode_binary(challenge_text, max_length=_MAX_CHALLENGE)
    if identifier is None or identifier > 255 or not challenge:
        raise ChapFailed("CHAP_I or CHAP_C is malformed")
    if challenge in challenges:
        raise ChapFailed("our own challenge came back")
    response = chap_response(algorithm, identifier, own.secret, challenge)
    return [("CHAP_N", own.name), ("CHAP_R", encode_binary(response))]
