"""CHAP: vectors computed here with hashlib, both directions, and everything that must be refused."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest

from transports.iscsi.chap import (
    ALGORITHMS,
    ChapCredentials,
    ChapFailed,
    ChapInitiator,
    ChapRequirement,
    ChapTarget,
    OutstandingChallenges,
    chap_response,
)

USER = ChapCredentials("user", b"a secret of some length")
OWN = ChapCredentials("target", b"another secret, for us")
HASHES: dict[int, Callable[[bytes], bytes]] = {
    5: lambda data: hashlib.md5(data).digest(),
    6: lambda data: hashlib.sha1(data).digest(),
    7: lambda data: hashlib.sha256(data).digest(),
    8: lambda data: hashlib.sha3_256(data).digest(),
}


class Source:
    """Bytes that differ from call to call, and that a test knows."""

    def __init__(self, seed: bytes = b"") -> None:
        self.calls = 0
        self.seed = seed

    def __call__(self, count: int) -> bytes:
        self.calls += 1
        return hashlib.shake_128(self.seed + self.calls.to_bytes(8, "big")).digest(count)


def make_target(**options: object) -> ChapTarget:
    requirement = ChapRequirement({USER.name: USER.secret}, OWN, **options)
    return ChapTarget(requirement, OutstandingChallenges(), Source())


def respond(
    challenge: list[tuple[str, str]], *, name: str = USER.name, secret: bytes = USER.secret
) -> list[tuple[str, str]]:
    """The right answer, computed without the code under test."""
    given = dict(challenge)
    data = bytes((int(given["CHAP_I"]),)) + secret + bytes.fromhex(given["CHAP_C"][2:])
    return [("CHAP_N", name), ("CHAP_R", "0x" + HASHES[int(given["CHAP_A"])](data).hex())]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_chap_response_vectors(algorithm: int) -> None:
    """RFC 1994: the hash of identifier, secret, challenge; 5, 6, 7, 8 are MD5, SHA-1, SHA-256, SHA3-256."""
    assert chap_response(algorithm, 0x5A, b"secret", b"challenge") == HASHES[algorithm](b"\x5asecretchallenge")


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_chap_target_accepts_the_right_response(algorithm: int) -> None:
    """One-way CHAP with each algorithm, the response in hex or base64."""
    for form in ("hex", "base64"):
        target = make_target()
        pairs = respond(target.choose([("CHAP_A", str(algorithm))]))
        if form == "base64":
            raw = bytes.fromhex(pairs[1][1][2:])
            pairs[1] = ("CHAP_R", "0b" + base64.b64encode(raw).decode())

        assert target.verify(pairs) == []
        assert target.user == "user"


@pytest.mark.parametrize(("offered", "chosen"), [
    ("5", "5"), ("5,6", "6"), ("5,7,6", "7"), ("5,6,7,8", "8"), ("99,5", "5"), ("x,,5", "5"), ("0x5", "5"),
])
def test_chap_target_prefers_the_strongest(offered: str, chosen: str) -> None:
    """Whatever the initiator's order, the strongest in common is taken."""
    assert dict(make_target().choose([("CHAP_A", offered)]))["CHAP_A"] == chosen


@pytest.mark.parametrize("offered", ["", "99", "None", "4", "05", "5 ", "-5"])
def test_chap_target_without_a_common_algorithm(offered: str) -> None:
    """A list with none of ours fails (F12)."""
    with pytest.raises(ChapFailed):
        make_target().choose([("CHAP_A", offered)])


def test_chap_algorithms_may_be_limited() -> None:
    """A requirement may leave out what it holds for too weak."""
    with pytest.raises(ChapFailed):
        make_target(algorithms=(8, 7)).choose([("CHAP_A", "5,6")])


def test_chap_challenges_never_repeat() -> None:
    """Each exchange has its own challenge of at least 16 bytes from the random source (F12)."""
    source, seen = Source(), set()
    for _ in range(500):
        target = ChapTarget(ChapRequirement({"u": bytes(12)}), OutstandingChallenges(), source)
        seen.add(dict(target.choose([("CHAP_A", "7")]))["CHAP_C"])

    assert len(seen) == 500
    assert all(len(text) >= 2 + 32 for text in seen)


def failure(change: Callable[[list[tuple[str, str]]], list[tuple[str, str]]], **options: object) -> ChapFailed:
    target = make_target(**options)
    pairs = respond(target.choose([("CHAP_A", "5,7")]))
    with pytest.raises(ChapFailed) as error:
        target.verify(change(pairs))
    assert target.user == ""
    return error.value


@pytest.mark.parametrize("response", [
    "", "0x", "0x00", "0x" + "00" * 32, "0x" + "00" * 33, "0x" + "00" * 5000, "0b", "0b" + "A" * 9000, "0xzz", "plain",
])
def test_chap_target_refuses_wrong_responses(response: str) -> None:
    """Wrong, short, over-long and malformed responses fail alike (F12, CVE-2018-14633)."""
    assert str(failure(lambda pairs: [pairs[0], ("CHAP_R", response)])) == "wrong CHAP name or response"


def test_chap_target_refuses_a_prefix() -> None:
    """The beginning of the right response is not the right response (F12)."""
    failure(lambda pairs: [pairs[0], ("CHAP_R", pairs[1][1][:-2])])
    failure(lambda pairs: [pairs[0], ("CHAP_R", pairs[1][1] + "00")])


def test_chap_unknown_user_fails_as_a_wrong_secret() -> None:
    """Same failure, same number of draws and hashes, for an unknown user and for a wrong secret (F12)."""
    draws = []
    messages = []
    for name, secret in (("nobody", USER.secret), (USER.name, b"not the secret")):
        source = Source()
        target = ChapTarget(ChapRequirement({USER.name: USER.secret}), OutstandingChallenges(), source)
        pairs = respond(target.choose([("CHAP_A", "7")]), name=name, secret=secret)
        with pytest.raises(ChapFailed) as error:
            target.verify(pairs)
        draws.append(source.calls)
        messages.append((str(error.value), error.value.missing))

    assert draws[0] == draws[1]
    assert messages[0] == messages[1]


@pytest.mark.parametrize("key", ["CHAP_N", "CHAP_R"])
def test_chap_missing_keys(key: str) -> None:
    """A key that must be there and is not is told apart (status 0x0207)."""
    assert failure(lambda pairs: [pair for pair in pairs if pair[0] != key]).missing


def test_chap_replay_of_a_response() -> None:
    """The response to one challenge is wrong for the next (F12)."""
    source, challenges = Source(), OutstandingChallenges()
    requirement = ChapRequirement({USER.name: USER.secret})
    first, second = (ChapTarget(requirement, challenges, source) for _ in range(2))
    heard = respond(first.choose([("CHAP_A", "7")]))
    first.verify(heard)
    second.choose([("CHAP_A", "7")])

    with pytest.raises(ChapFailed):
        second.verify(heard)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_chap_mutual(algorithm: int) -> None:
    """Both sides prove themselves with each algorithm."""
    target = make_target()
    initiator = ChapInitiator(USER, OWN, OutstandingChallenges(), Source(b"initiator"), (algorithm,))
    answers = initiator.respond(target.choose(initiator.offer()))
    proof = target.verify(answers)
    given = dict(answers)
    data = bytes((int(given["CHAP_I"]),)) + OWN.secret + bytes.fromhex(given["CHAP_C"][2:])

    assert dict(proof) == {"CHAP_N": "target", "CHAP_R": "0x" + HASHES[algorithm](data).hex()}
    initiator.verify(proof)


def test_chap_initiator_refuses_a_false_target() -> None:
    """An initiator that asked does not go on without the right response and name (SPDK 2024)."""
    for proof in ([], [("CHAP_N", "target"), ("CHAP_R", "0x" + "00" * 32)], [("CHAP_N", "target")]):
        initiator = ChapInitiator(USER, OWN, OutstandingChallenges(), Source())
        initiator.respond(make_target().choose(initiator.offer()))
        with pytest.raises(ChapFailed):
            initiator.verify(proof)


@pytest.mark.parametrize(("identifier", "challenge"), [
    ("256", "0x00"), ("-1", "0x00"), ("x", "0x00"), ("1", "0x"), ("1", ""), ("1", "0x" + "00" * 1025), ("1", "0bA"),
    (None, "0x00"), ("1", None),
])
def test_chap_mutual_malformed(identifier: str | None, challenge: str | None) -> None:
    """CHAP_I outside 0 to 255, CHAP_C of no or more than 1024 bytes, one without the other (F12)."""
    extra = [pair for pair in (("CHAP_I", identifier), ("CHAP_C", challenge)) if pair[1] is not None]

    failure(lambda pairs: pairs + extra)  # type: ignore[operator]  # None was filtered out


@pytest.mark.parametrize("length", [1, 1024])
def test_chap_mutual_challenge_lengths(length: int) -> None:
    """Challenges of 1 and of 1024 bytes are answered (F12)."""
    target = make_target()
    pairs = respond(target.choose([("CHAP_A", "7")]))
    proof = dict(target.verify([*pairs, ("CHAP_I", "0"), ("CHAP_C", "0x" + "11" * length)]))

    assert proof["CHAP_R"] == "0x" + hashlib.sha256(b"\0" + OWN.secret + b"\x11" * length).hexdigest()


def test_chap_own_challenge_sent_back() -> None:
    """Our challenge, sent back for us to answer, is refused: in this exchange and in a parallel one (F12)."""
    challenges, source = OutstandingChallenges(), Source()
    requirement = ChapRequirement({USER.name: USER.secret}, OWN)
    victim, helper = (ChapTarget(requirement, challenges, source) for _ in range(2))
    wanted = dict(victim.choose([("CHAP_A", "7")]))
    for exchange, pairs in ((helper, respond(helper.choose([("CHAP_A", "7")]))),
                            (victim, respond(list(wanted.items())))):
        with pytest.raises(ChapFailed, match="came back"):
            exchange.verify([*pairs, ("CHAP_I", wanted["CHAP_I"]), ("CHAP_C", wanted["CHAP_C"])])


def test_chap_mutual_not_configured_or_not_asked() -> None:
    """Asked without a secret of our own: refused. Required and not asked: refused (SPDK 2024)."""
    target = ChapTarget(ChapRequirement({USER.name: USER.secret}), OutstandingChallenges(), Source())
    pairs = respond(target.choose([("CHAP_A", "7")]))
    with pytest.raises(ChapFailed):
        target.verify([*pairs, ("CHAP_I", "1"), ("CHAP_C", "0x1122")])

    failure(lambda pairs: pairs, mutual_required=True)


@pytest.mark.parametrize(("users", "mutual", "options"), [
    ({}, None, {}),
    ({"u": b"short"}, None, {}),
    ({"u": b"x" * 12}, ChapCredentials("t", b"short"), {}),
    ({"u": b"x" * 12, "v": b"y" * 12}, ChapCredentials("t", b"y" * 12), {}),
    ({"u": b"x" * 12}, ChapCredentials("t", b"x" * 12), {"allow_weak": True}),
    ({"u": b"x" * 12}, None, {"mutual_required": True}),
])
def test_chap_requirements_that_are_refused(
    users: dict[str, bytes], mutual: ChapCredentials | None, options: dict[str, bool]
) -> None:
    """No users, weak secrets, one secret for both directions: refused when they are configured (F12)."""
    with pytest.raises(ValueError, match="CHAP"):
        ChapRequirement(users, mutual, **options)


def test_chap_weak_secret_when_allowed() -> None:
    """allow_weak takes what is shorter than 96 bits."""
    assert ChapRequirement({"u": b"short"}, allow_weak=True).users == {"u": b"short"}


def test_chap_secrets_are_not_in_the_repr() -> None:
    """Neither side's configuration shows its secrets (M6)."""
    text = repr(USER) + repr(ChapRequirement({USER.name: USER.secret}, OWN))

    assert "secret of some" not in text
    assert "another secret" not in text


def test_chap_challenges_are_forgotten() -> None:
    """The table has a challenge only while its exchange lasts, and never more than its capacity."""
    challenges, source = OutstandingChallenges(capacity=8), Source()
    requirement = ChapRequirement({USER.name: USER.secret})
    target = ChapTarget(requirement, challenges, source)
    pairs = respond(target.choose([("CHAP_A", "7")]))
    assert len(challenges) == 1
    target.verify(pairs)
    assert len(challenges) == 0
    for _ in range(100):
        ChapTarget(requirement, challenges, source).choose([("CHAP_A", "7")])

    assert len(challenges) == 8
