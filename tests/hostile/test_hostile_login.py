"""What an attacker without credentials can send in the login phase: a named test for each case of the catalogue.

At sans-IO level: bytes into the reader, its PDUs into the login, the answer judged. The rule over all of them: a
status or a Reject, never another exception, never more than the bounds.
"""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest

from transports.iscsi.chap import ChapCredentials, ChapRequirement, OutstandingChallenges
from transports.iscsi.codes import Flags, LoginStage
from transports.iscsi.framing import FramingError, PduReader, encode
from transports.iscsi.keys import OperationalSettings
from transports.iscsi.login import (
    InitiatorIdentity,
    LoginRefusal,
    LoginResult,
    LoginStatus,
    LoginStep,
    TargetAccess,
    TargetLogin,
)
from transports.iscsi.pdu import BadPdu, LoginRequest, decode_bhs
from transports.iscsi.text import decode_text, encode_text

INITIATOR = "iqn.2026-01.org.example:initiator"
TARGET = "iqn.2026-01.org.example:target"
WHO = {"InitiatorName": INITIATOR, "SessionType": "Normal", "TargetName": TARGET}
SECRET = b"a secret of some length"
OWN = ChapCredentials("target", b"another secret, for us")
SECURITY, OPERATIONAL, FULL = LoginStage.SECURITY, LoginStage.OPERATIONAL, LoginStage.FULL_FEATURE
ISID = bytes.fromhex("80123456789a")


class Policy:
    """One target for one initiator; discovery on the same terms."""

    def __init__(self, chap: ChapRequirement | None = None) -> None:
        self.challenges = OutstandingChallenges()
        self.access = TargetAccess(OperationalSettings(), chap)
        self.results: list[LoginResult] = []
        self.names: list[str] = []
        self.draws = 0

    def random_bytes(self, count: int) -> bytes:
        self.draws += 1
        return hashlib.shake_128(self.draws.to_bytes(8, "big")).digest(count)

    def find_target(self, initiator: InitiatorIdentity, target_name: str) -> TargetAccess | LoginRefusal:
        self.names += [initiator.name, target_name]
        if target_name != TARGET:
            return LoginRefusal(LoginStatus.NOT_FOUND)
        return self.access if initiator.name == INITIATOR else LoginRefusal(LoginStatus.AUTHORIZATION_FAILURE)

    def find_discovery(self, initiator: InitiatorIdentity) -> TargetAccess | LoginRefusal:
        return self.access

    def establish(self, result: LoginResult) -> int | LoginRefusal:
        self.results.append(result)
        return 1


class Attacker:
    """A connection to a target that is in its login phase."""

    def __init__(self, chap: ChapRequirement | None = None, policy: Policy | None = None) -> None:
        self.policy = policy or Policy(chap)
        self.reader = PduReader()
        self.login = TargetLogin(self.policy)

    def send(
        self, text: dict[str, str] | bytes, csg: int = OPERATIONAL, nsg: int | None = None, *,
        more: bool = False, **fields: object,
    ) -> LoginStep:
        flags = csg << 2 | (Flags.CONTINUE if more else 0) | (0 if nsg is None else Flags.TRANSIT | nsg)
        data = text if isinstance(text, bytes) else encode_text(text.items())
        request = LoginRequest(**{  # type: ignore[arg-type]  # fields of any type by name
            "flags": flags, "isid": ISID, "cmd_sn": 1, "immediate": True, "data": data, **fields,
        })
        return self.send_bytes(b"".join(encode(request)))

    def send_bytes(self, wire: bytes) -> LoginStep:
        self.reader.feed(wire)
        try:
            pdu = self.reader.next_pdu()
        except FramingError as error:
            pdu = decode_bhs(error.header)
            assert isinstance(pdu, LoginRequest)
            return self.login.refuse(pdu, LoginRefusal(LoginStatus.INITIATOR_ERROR))
        assert isinstance(pdu, LoginRequest)
        return self.login.receive(pdu)

    def challenge(self) -> dict[str, str]:
        """Go on to the point where the challenge is out."""
        self.send({**WHO, "AuthMethod": "CHAP"}, SECURITY)
        return dict(decode_text(self.send({"CHAP_A": "7"}, SECURITY).response.data))


def response_to(challenge: dict[str, str], secret: bytes = SECRET, name: str = "user") -> dict[str, str]:
    data = bytes((int(challenge["CHAP_I"]),)) + secret + bytes.fromhex(challenge["CHAP_C"][2:])
    return {"CHAP_N": name, "CHAP_R": "0x" + hashlib.sha256(data).hexdigest()}


def requirement(**options: object) -> ChapRequirement:
    return ChapRequirement({"user": SECRET}, OWN, **options)  # type: ignore[arg-type]  # options by name


def answers(step: LoginStep) -> dict[str, str]:
    return dict(decode_text(step.response.data))


# F2, F3: framing in the login phase


@pytest.mark.parametrize("length", [8193, 65536, 0xFFFFFF])
def test_login_f3_data_segment_too_long(length: int) -> None:
    """More than 8192 bytes are refused from the header, with status 0x0200, and nothing is buffered."""
    attacker = Attacker()
    step = attacker.send_bytes(LoginRequest(flags=0x87).bhs(data_length=length))

    assert (step.failed, step.response.status) == (True, LoginStatus.INITIATOR_ERROR)
    assert attacker.reader.wants() is None


def test_login_f2_ahs_on_a_login_request() -> None:
    """AHS on a Login Request make it a BadPdu, which is no request (the connection closes)."""
    reader = PduReader()
    reader.feed(LoginRequest().bhs(ahs_words=255) + bytes(1020))

    assert isinstance(reader.next_pdu(), BadPdu)


def test_login_f1_byte_by_byte() -> None:
    """A login request that comes byte by byte is a login request."""
    wire = b"".join(encode(LoginRequest(flags=0x87, isid=ISID, data=encode_text(WHO.items()))))
    reader = PduReader()
    for position in range(len(wire) - 1):
        reader.feed(wire[position:position + 1])
        assert reader.next_pdu() is None
    reader.feed(wire[-1:])
    pdu = reader.next_pdu()

    assert isinstance(pdu, LoginRequest)
    assert TargetLogin(Policy()).receive(pdu).result is not None


def test_login_m1_memory_before_login() -> None:
    """A connection that sends the longest request it may, in pieces, costs less than 32 KiB."""
    header = LoginRequest(flags=0x44).bhs(data_length=8192)
    tracemalloc.start()
    before = tracemalloc.take_snapshot()
    attackers = [Attacker() for _ in range(20)]
    for attacker in attackers:
        attacker.reader.feed(header + bytes(8191))
        assert attacker.reader.next_pdu() is None
    grown = sum(entry.size_diff for entry in tracemalloc.take_snapshot().compare_to(before, "filename"))
    tracemalloc.stop()

    assert grown < 20 * 32 * 1024


# F7: text


@pytest.mark.parametrize("text", [
    b"InitiatorName", b"InitiatorName\0", b"=\0", b"=x\0", b"InitiatorName=" + INITIATOR.encode(),
    b"InitiatorName=\xff\xfe\0", b"InitiatorName=a\0b\0", b"A=1\0A=2\0", b"A" * 64 + b"=1\0", b"\0\0x\0",
    b"X-a=" + b"x" * 256 + b"\0InitiatorName=a\0", b"A=1\n\0", b"InitiatorName=" + b"a" * 8000 + b"\0",
    b"".join(b"X-%d=1\0" % number for number in range(65)),
], ids=lambda text: repr(text[:24]))
def test_login_f7_malformed_text(text: bytes) -> None:
    """Malformed text ends the login with 0x0200 (0x0207 where only the name is missing), and no text answer."""
    step = Attacker().send(text, OPERATIONAL, FULL)

    assert step.failed
    assert step.response.status in (LoginStatus.INITIATOR_ERROR, LoginStatus.MISSING_PARAMETER)
    assert bytes(step.response.data) == b""


def test_login_f7_sixty_four_keys_are_enough() -> None:
    """64 keys in a whole login are taken, the 65th ends it, in whatever request it comes."""
    attacker = Attacker()
    first = attacker.send({**WHO, **{f"X-{number}": "1" for number in range(61)}})
    second = attacker.send({"X-last": "1"})

    assert list(answers(first).values()).count("NotUnderstood") == 61
    assert (second.failed, second.response.status) == (True, LoginStatus.INITIATOR_ERROR)


def test_login_f7_eight_kib_of_text_are_enough() -> None:
    """The text of all requests together is bounded by 8 KiB."""
    attacker = Attacker()
    steps = [attacker.send({**WHO, "X-a": "x" * 200})]
    steps += [attacker.send({f"HeaderDigest{number}": ","}) for number in range(2)]
    steps.append(attacker.send({"DataDigest": "x," * 4000}))

    assert [step.failed for step in steps] == [False, False, False, True]
    assert steps[-1].response.status == LoginStatus.INITIATOR_ERROR


def test_login_f7_text_continued_for_ever() -> None:
    """One text may come in at most 16 requests with the C bit."""
    attacker = Attacker()
    steps = [attacker.send(b"X", more=True) for _ in range(17)]

    assert [step.failed for step in steps] == [False] * 16 + [True]


def test_login_f7_not_understood_answers_are_bounded() -> None:
    """Keys of the greatest length, answered NotUnderstood, fit into one response (CVE-2013-2850)."""
    keys = {"X-" + f"{number:061}": "1" for number in range(61)}
    step = Attacker().send({**WHO, **keys}, OPERATIONAL, FULL)

    assert step.result is not None
    assert len(step.response.data) <= 8192
    assert all(answers(step)[key] == "NotUnderstood" for key in keys)


@pytest.mark.parametrize("word", ["Reject", "Irrelevant", "NotUnderstood"])
@pytest.mark.parametrize("key", ["MaxBurstLength", "HeaderDigest", "X-other", "InitialR2T"])
def test_login_f7_reserved_answers_as_offers(key: str, word: str) -> None:
    """6.2: a protocol error: status 0x0200."""
    step = Attacker().send({**WHO, key: word})

    assert (step.failed, step.response.status) == (True, LoginStatus.INITIATOR_ERROR)


# F8: negotiation


@pytest.mark.parametrize(("key", "offer", "expected"), [
    ("ErrorRecoveryLevel", "9", "Reject"), ("ErrorRecoveryLevel", "2", "0"), ("MaxConnections", "65536", "Reject"),
    ("MaxConnections", "65535", "1"), ("MaxBurstLength", "8192~512", "Reject"), ("MaxBurstLength", "0b10", "Reject"),
    ("MaxBurstLength", "+512", "Reject"), ("MaxBurstLength", "-1", "Reject"), ("MaxBurstLength", "9" * 40, "Reject"),
    ("MaxBurstLength", "0x2000", "8192"), ("HeaderDigest", "X-a,None,X-b", "None"),
    ("MaxRecvDataSegmentLength", "0", "Reject"), ("MaxRecvDataSegmentLength", "511", "Reject"),
    ("DefaultTime2Wait", "99999", "Reject"), ("MaxOutstandingR2T", "65535", "8"), ("OFMarkInt", "1~2", "Reject"),
    ("IFMarker", "Yes", "No"),
])
def test_login_f8_negotiation_abuse(key: str, offer: str, expected: str) -> None:
    """The exact answer of the RFC; the login goes on, the key keeps a legal value."""
    step = Attacker().send({**WHO, key: offer}, OPERATIONAL, FULL)

    assert step.result is not None
    assert answers(step)[key] == expected


def test_login_f8_rejected_declaration_and_our_own() -> None:
    """Both a Reject of theirs and our own MaxRecvDataSegmentLength cannot be in one text: theirs is told first."""
    attacker = Attacker()
    first = attacker.send({**WHO, "MaxRecvDataSegmentLength": "1"})
    second = attacker.send({}, OPERATIONAL, FULL)

    assert answers(first)["MaxRecvDataSegmentLength"] == "Reject"
    assert answers(second)["MaxRecvDataSegmentLength"] == "262144"


def test_login_f8_first_burst_beyond_max_burst() -> None:
    """FirstBurstLength comes out within MaxBurstLength, whatever was offered."""
    step = Attacker().send({**WHO, "FirstBurstLength": "262144", "MaxBurstLength": "512"}, OPERATIONAL, FULL)

    assert step.result is not None
    assert step.result.parameters.first_burst_length <= step.result.parameters.max_burst_length == 512


def test_login_f8_irrelevant_in_discovery() -> None:
    """Keys of normal sessions are Irrelevant in discovery; the session has the defaults."""
    who = {"InitiatorName": INITIATOR, "SessionType": "Discovery"}
    step = Attacker().send({**who, "InitialR2T": "No", "MaxBurstLength": "4096"}, OPERATIONAL, FULL)

    assert step.result is not None
    assert (answers(step)["InitialR2T"], answers(step)["MaxBurstLength"]) == ("Irrelevant", "Irrelevant")
    assert step.result.parameters.max_burst_length == 262144


def test_login_f8_negotiated_twice() -> None:
    """The same key in two requests of a login: status 0x0200."""
    attacker = Attacker()
    attacker.send({**WHO, "MaxBurstLength": "65536"})
    step = attacker.send({"MaxBurstLength": "512"})

    assert (step.failed, step.response.status) == (True, LoginStatus.INITIATOR_ERROR)


# F9: stages


@pytest.mark.parametrize("flags", range(256))
def test_login_f9_every_flags_byte_first(flags: int) -> None:
    """Each flags byte in the first request: legal stage pairs go on, all others are 0x0200."""
    request = LoginRequest(flags=flags, isid=ISID, data=encode_text(WHO.items()))
    step = TargetLogin(Policy()).receive(request)
    csg, nsg, transit, more = flags >> 2 & 3, flags & 3, bool(flags & 0x80), bool(flags & 0x40)
    legal = not (transit and more) and csg in (0, 1) and (not transit or (nsg in (1, 3) and nsg > csg))

    assert step.failed != legal
    if step.failed:
        assert (step.response.status, step.response.flags) == (LoginStatus.INITIATOR_ERROR, 0)


@pytest.mark.parametrize("flags", range(0, 256, 4))
def test_login_f9_no_way_back(flags: int) -> None:
    """From the operational stage there is no way back to security, and none to stage 2 or beyond."""
    attacker = Attacker()
    attacker.send(WHO, SECURITY, OPERATIONAL)
    step = attacker.login.receive(LoginRequest(flags=flags, isid=ISID, cmd_sn=1))

    assert step.failed == (flags >> 2 & 3 != OPERATIONAL or bool(flags & 0x80))


def test_login_f9_empty_requests_for_ever() -> None:
    """At most 32 requests are taken, with or without the T bit that cannot be granted."""
    attacker = Attacker(requirement())
    steps = [attacker.send({**WHO, "AuthMethod": "CHAP"}, SECURITY)]
    steps += [attacker.send({}, SECURITY, OPERATIONAL) for _ in range(40)]

    assert [step.failed for step in steps].index(True) == 32
    assert steps[32].response.status == LoginStatus.INITIATOR_ERROR
    assert attacker.login.finished


@pytest.mark.parametrize("change", [{"isid": bytes(6)}, {"tsih": 7}, {"cid": 9}], ids=str)
def test_login_f9_changes_within_the_login(change: dict[str, object]) -> None:
    """ISID, TSIH and CID are the same in all requests of a login."""
    attacker = Attacker()
    attacker.send(WHO)
    step = attacker.send({}, **change)

    assert (step.failed, step.response.status) == (True, LoginStatus.INITIATOR_ERROR)


@pytest.mark.parametrize("key", ["InitiatorName", "TargetName", "SessionType"])
def test_login_f9_identity_changes_within_the_login(key: str) -> None:
    """Who one is, and what for, cannot change after it was judged."""
    attacker = Attacker()
    attacker.send(WHO, SECURITY, OPERATIONAL)
    step = attacker.send({key: "Discovery" if key == "SessionType" else INITIATOR + "2"}, OPERATIONAL, FULL)

    assert (step.failed, step.response.status) == (True, LoginStatus.INITIATOR_ERROR)
    assert attacker.policy.results == []


@pytest.mark.parametrize(("text", "status"), [
    ({}, 0x0207), ({"TargetName": TARGET}, 0x0207), ({"InitiatorName": INITIATOR}, 0x0207),
    ({**WHO, "SessionType": "Other"}, 0x0209), ({**WHO, "TargetName": TARGET + "x"}, 0x0203),
    ({**WHO, "InitiatorName": INITIATOR + "x"}, 0x0202),
])
def test_login_f9_first_request(text: dict[str, str], status: int) -> None:
    """The exact status for what is missing or not allowed in the first request."""
    assert Attacker().send(text, OPERATIONAL, FULL).response.status == status


@pytest.mark.parametrize(("lowest", "status"), [(0, 0), (1, 0x0205), (255, 0x0205)])
def test_login_f9_version(lowest: int, status: int) -> None:
    """A version range without 0 is 0x0205, with the version that we have."""
    step = Attacker().send(WHO, version_min=lowest, version_max=255)

    assert (step.response.status, step.response.version_max, step.response.version_active) == (status, 0, 0)


# F12: CHAP


@pytest.mark.parametrize("text", [
    {**WHO}, {**WHO, "AuthMethod": "None"}, {**WHO, "AuthMethod": "KRB5,SRP"}, {**WHO, "AuthMethod": ""},
])
@pytest.mark.parametrize("nsg", [OPERATIONAL, FULL])
def test_login_f12_downgrade(text: dict[str, str], nsg: int) -> None:
    """Where CHAP is required, no CHAP among the methods offered, or no method at all, is 0x0201."""
    step = Attacker(requirement()).send(text, SECURITY, nsg)

    assert (step.failed, step.response.status) == (True, LoginStatus.AUTHENTICATION_FAILURE)


def test_login_f12_security_skipped() -> None:
    """Where CHAP is required, a login that begins with operational negotiation is 0x0201."""
    for nsg in (None, FULL):
        step = Attacker(requirement()).send(WHO, OPERATIONAL, nsg)

        assert (step.failed, step.response.status) == (True, LoginStatus.AUTHENTICATION_FAILURE)


def test_login_f12_operational_stage_in_the_middle_of_chap() -> None:
    """After AuthMethod=CHAP there is no operational request until CHAP is through."""
    attacker = Attacker(requirement())
    attacker.challenge()
    step = attacker.send({}, OPERATIONAL, FULL)

    assert step.failed
    assert attacker.policy.results == []


@pytest.mark.parametrize("text", [
    {"CHAP_R": "0x00"}, {"CHAP_N": "user"}, {"CHAP_A": "7"}, {"AuthMethod": "None"}, {"CHAP_I": "1", "CHAP_C": "0x1"},
    {"CHAP_N": "user", "CHAP_R": "0x" + "00" * 32}, {"CHAP_N": "user", "CHAP_R": "0x" + "00" * 2000},
    {"CHAP_N": "user", "CHAP_R": "0b" + "A" * 43}, {"CHAP_N": "", "CHAP_R": ""},
])
def test_login_f12_wrong_responses(text: dict[str, str]) -> None:
    """No, wrong, over-long, malformed responses, and steps out of order: the login ends, nobody is in."""
    attacker = Attacker(requirement())
    attacker.challenge()
    step = attacker.send(text, SECURITY, FULL)

    assert step.failed
    assert step.response.status in (0x0200, 0x0201, 0x0207)
    assert bytes(step.response.data) == b""
    assert attacker.policy.results == []
    assert len(attacker.policy.challenges) == 0


def test_login_f12_unknown_user_and_wrong_secret_look_the_same() -> None:
    """Same response to an unknown user and to a wrong secret."""
    seen = []
    for name, secret in (("nobody", SECRET), ("user", b"some other secret")):
        attacker = Attacker(requirement())
        step = attacker.send(response_to(attacker.challenge(), secret, name), SECURITY, OPERATIONAL)
        seen.append((step.response, step.reason, attacker.policy.draws))

    assert seen[0] == seen[1]
    assert seen[0][0].status == LoginStatus.AUTHENTICATION_FAILURE


def test_login_f12_replayed_response() -> None:
    """A response that was heard on another connection is worth nothing."""
    policy = Policy(requirement())
    first, second = Attacker(policy=policy), Attacker(policy=policy)
    heard = response_to(first.challenge())
    assert not first.send(heard, SECURITY, OPERATIONAL).failed
    second.challenge()

    assert second.send(heard, SECURITY, OPERATIONAL).response.status == LoginStatus.AUTHENTICATION_FAILURE


def test_login_f12_reflection_on_a_second_connection() -> None:
    """The challenge of one connection, given to the target as our own on a second one, is refused."""
    policy = Policy(requirement())
    victim, helper = Attacker(policy=policy), Attacker(policy=policy)
    wanted = victim.challenge()
    mine = response_to(helper.challenge())
    step = helper.send({**mine, "CHAP_I": wanted["CHAP_I"], "CHAP_C": wanted["CHAP_C"]}, SECURITY, OPERATIONAL)

    assert (step.failed, step.response.status) == (True, LoginStatus.AUTHENTICATION_FAILURE)
    assert bytes(step.response.data) == b""


def test_login_f12_own_challenge_sent_back() -> None:
    """Our challenge as the initiator's own in the same exchange is refused, in hex and in base64."""
    attacker = Attacker(requirement())
    wanted = attacker.challenge()
    step = attacker.send(
        {**response_to(wanted), "CHAP_I": wanted["CHAP_I"], "CHAP_C": wanted["CHAP_C"].upper().replace("X", "x")},
        SECURITY, OPERATIONAL,
    )

    assert step.response.status == LoginStatus.AUTHENTICATION_FAILURE


@pytest.mark.parametrize(("challenge", "good"), [
    ("0x11", True), ("0x" + "11" * 1024, True), ("0x" + "11" * 1025, False),
])
def test_login_f12_length_of_the_initiators_challenge(challenge: str, good: bool) -> None:
    """CHAP_C of 1 to 1024 bytes is answered, more is refused before it is decoded."""
    attacker = Attacker(requirement())
    text = {**response_to(attacker.challenge()), "CHAP_I": "1", "CHAP_C": challenge}
    step = attacker.send(text, SECURITY, OPERATIONAL)

    assert step.failed != good
    assert ("CHAP_R" in answers(step)) == good


def test_login_f12_challenges_of_dropped_connections_are_forgotten() -> None:
    """A connection that goes away in the middle leaves nothing in the table."""
    policy = Policy(requirement())
    for _ in range(50):
        attacker = Attacker(policy=policy)
        attacker.challenge()
        attacker.login.close()

    assert len(policy.challenges) == 0


# F13: discovery


def test_login_f13_discovery_needs_what_the_policy_says() -> None:
    """Discovery sessions authenticate as the policy asks."""
    who = {"InitiatorName": INITIATOR, "SessionType": "Discovery"}
    step = Attacker(requirement()).send({**who, "AuthMethod": "None"}, SECURITY, OPERATIONAL)

    assert step.response.status == LoginStatus.AUTHENTICATION_FAILURE


def test_login_f13_mutual_chap_set_but_not_asked_for() -> None:
    """Where mutual CHAP is required, an initiator that does not ask is refused (SPDK 2024)."""
    attacker = Attacker(requirement(mutual_required=True))
    step = attacker.send(response_to(attacker.challenge()), SECURITY, OPERATIONAL)

    assert step.response.status == LoginStatus.AUTHENTICATION_FAILURE


def test_login_f13_send_targets_before_full_feature_phase() -> None:
    """SendTargets in the login is answered Reject, and lists nothing."""
    step = Attacker().send({**WHO, "SendTargets": "All"})

    assert answers(step)["SendTargets"] == "Reject"
    assert "TargetAddress" not in answers(step)


# F14: names


@pytest.mark.parametrize("name", [
    "", "x", "iqn.", "iqn.2026-01.org.example:" + "a" * 200, "iqn.2026-01.org.example:../../etc/passwd",
    "iqn.2026-01.org.example:%00", "iqn.2026-01.org.example:a b", "iqn.2026-01.org.example:${HOME}", "eui.1234",
    "naa.0123456789abcdeg", "iqn.2026-01.org.example:\u202edrow", "iqn.2026-01.org.example:\u200b",
])
def test_login_f14_names(name: str) -> None:
    """What is no iSCSI name never comes to the policy; the reason for the log does not repeat it."""
    for key, status in (("InitiatorName", LoginStatus.INITIATOR_ERROR), ("TargetName", LoginStatus.NOT_FOUND)):
        attacker = Attacker()
        step = attacker.send({**WHO, key: name}, OPERATIONAL, FULL)

        assert step.failed
        assert step.response.status == (status if name.isprintable() else LoginStatus.INITIATOR_ERROR)
        assert attacker.policy.names == []
        assert not name or name not in step.reason


def test_login_f14_newline_in_a_name() -> None:
    """A newline in a name is malformed text."""
    step = Attacker().send(b"InitiatorName=iqn.2026-01.org:a\nlogged in\0", OPERATIONAL, FULL)

    assert step.response.status == LoginStatus.INITIATOR_ERROR


@pytest.mark.parametrize(("length", "status"), [
    (223, LoginStatus.AUTHORIZATION_FAILURE), (224, LoginStatus.INITIATOR_ERROR),
])
def test_login_f14_longest_name(length: int, status: int) -> None:
    """A name of 223 bytes is a name, one of 224 is none."""
    name = "iqn." + "a" * (length - 4)

    assert Attacker().send({**WHO, "InitiatorName": name}, OPERATIONAL, FULL).response.status == status


def test_login_f15_nothing_is_established_without_authentication() -> None:
    """An older session of the same ISID is not ended (`establish`) before CHAP is through."""
    attacker = Attacker(requirement())
    challenge = attacker.challenge()
    assert attacker.policy.results == []
    attacker.send(response_to(challenge), SECURITY, OPERATIONAL)
    assert attacker.policy.results == []
    step = attacker.send({}, OPERATIONAL, FULL)

    assert attacker.policy.results == [step.result]
