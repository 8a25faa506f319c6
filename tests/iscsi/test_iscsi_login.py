"""The login phase: initiator and target halves against each other, and the target against requests made by hand."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.iscsi.chap import ChapCredentials, ChapFailed, ChapRequirement, OutstandingChallenges
from transports.iscsi.codes import Flags, LoginStage
from transports.iscsi.framing import PduReader, encode
from transports.iscsi.initiator_login import InitiatorLogin, LoginFailed, LoginOffer
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
from transports.iscsi.names import normalise_name
from transports.iscsi.pdu import LoginRequest, LoginResponse
from transports.iscsi.text import decode_text, encode_text

INITIATOR = "iqn.2026-01.org.example:initiator"
TARGET = "iqn.2026-01.org.example:target"
ISID = bytes.fromhex("80123456789a")
USER = ChapCredentials("user", b"a secret of some length")
OWN = ChapCredentials("target", b"another secret, for us")
SECURITY, OPERATIONAL, FULL = LoginStage.SECURITY, LoginStage.OPERATIONAL, LoginStage.FULL_FEATURE


class Policy:
    """One target, discovery for everyone, TSIH 77."""

    def __init__(self, chap: ChapRequirement | None = None, settings: OperationalSettings | None = None) -> None:
        self.challenges = OutstandingChallenges()
        self.access = TargetAccess(settings or OperationalSettings(), chap, portal_group_tag=3, alias="a disk")
        self.established: list[LoginResult] = []
        self.refusal: LoginRefusal | None = None
        self.draws = 0

    def random_bytes(self, count: int) -> bytes:
        self.draws += 1
        return hashlib.shake_128(self.draws.to_bytes(8, "big")).digest(count)

    def find_target(self, initiator: InitiatorIdentity, target_name: str) -> TargetAccess | LoginRefusal:
        return self.access if target_name == TARGET else LoginRefusal(LoginStatus.NOT_FOUND)

    def find_discovery(self, initiator: InitiatorIdentity) -> TargetAccess | LoginRefusal:
        return self.access

    def establish(self, result: LoginResult) -> int | LoginRefusal:
        self.established.append(result)
        return self.refusal if self.refusal is not None else 77


def log_in(policy: Policy, offer: LoginOffer) -> tuple[InitiatorLogin, LoginStep, int]:
    """Both halves over the wire format, until the target has a result; and how many requests it took."""
    initiator = InitiatorLogin(offer, isid=ISID, cmd_sn=9, itt=5, random_bytes=policy.random_bytes)
    target = TargetLogin(policy)
    request: LoginRequest | None = initiator.start()
    count = 0
    while request is not None:
        count += 1
        assert count < 10
        received = over_the_wire(request)
        assert isinstance(received, LoginRequest)
        step = target.receive(received)
        response = over_the_wire(step.response)
        assert isinstance(response, LoginResponse)
        request = initiator.receive(response)
    return initiator, step, count


def over_the_wire(pdu: LoginRequest | LoginResponse) -> object:
    reader = PduReader()
    reader.feed(b"".join(encode(pdu)))
    return reader.next_pdu()


def request(
    text: dict[str, str] | bytes, csg: int, nsg: int | None = None, *, more: bool = False, **fields: object
) -> LoginRequest:
    """A Login Request made by hand. nsg sets the T bit."""
    flags = csg << 2 | (Flags.CONTINUE if more else 0)
    if nsg is not None:
        flags |= Flags.TRANSIT | nsg
    data = text if isinstance(text, bytes) else encode_text(text.items())
    return LoginRequest(**{  # type: ignore[arg-type]  # fields of any type by name
        "flags": flags, "isid": ISID, "cmd_sn": 9, "exp_stat_sn": 100, "itt": 5, "data": data, **fields,
    })


WHO = {"InitiatorName": INITIATOR, "SessionType": "Normal", "TargetName": TARGET}


@pytest.mark.parametrize("skip_security", [False, True])
@pytest.mark.parametrize("target_name", [TARGET, ""])
def test_login_without_authentication(*, skip_security: bool, target_name: str) -> None:
    """Normal and discovery sessions, beginning with security or with operational negotiation."""
    policy = Policy()
    initiator, step, count = log_in(policy, LoginOffer(INITIATOR, target_name, skip_security=skip_security))
    result = step.result
    assert result is not None

    assert count == (1 if skip_security else 2)
    assert (initiator.finished, initiator.tsih) == (True, 77)
    assert (result.initiator_name, result.target_name, result.discovery) == (INITIATOR, target_name, not target_name)
    assert (result.isid, result.tsih, result.cmd_sn, result.user) == (ISID, 0, 9, "")
    assert result.stat_sn == initiator.exp_stat_sn
    assert initiator.target_portal_group_tag == (3 if target_name else None)
    assert result.parameters.max_send_data_segment_length == 262144
    assert policy.established == [result]


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("algorithm", [5, 6, 7, 8])
def test_login_with_chap(algorithm: int, *, mutual: bool) -> None:
    """One-way and mutual CHAP with each algorithm; the user is known in the end, no challenge is left."""
    policy = Policy(ChapRequirement({USER.name: USER.secret}, OWN, mutual_required=mutual))
    offer = LoginOffer(INITIATOR, TARGET, chap=USER, target_chap=OWN if mutual else None, algorithms=(algorithm,))
    initiator, step, count = log_in(policy, offer)

    assert step.result is not None
    assert (step.result.user, count, initiator.finished, len(policy.challenges)) == ("user", 4, True, 0)


def test_login_with_a_wrong_secret() -> None:
    """A wrong secret: status 0x0201, the connection is to be closed, nothing was established."""
    policy = Policy(ChapRequirement({USER.name: USER.secret}))
    with pytest.raises(LoginFailed) as error:
        log_in(policy, LoginOffer(INITIATOR, TARGET, chap=ChapCredentials("user", b"not that secret")))

    assert error.value.status == LoginStatus.AUTHENTICATION_FAILURE
    assert policy.established == []
    assert len(policy.challenges) == 0


def test_login_to_a_false_target() -> None:
    """An initiator that wants to know the target refuses one with another secret."""
    policy = Policy(ChapRequirement({USER.name: USER.secret}, ChapCredentials("target", b"some other secret")))

    with pytest.raises(ChapFailed):
        log_in(policy, LoginOffer(INITIATOR, TARGET, chap=USER, target_chap=OWN))


@pytest.mark.parametrize("status", [LoginStatus.MOVED_TEMPORARILY, LoginStatus.MOVED_PERMANENTLY])
def test_login_redirected(status: int) -> None:
    """A redirection tells the address and ends the login."""
    policy = Policy()
    policy.find_target = lambda *_: LoginRefusal(status, "[::1]:3261,2")  # type: ignore[method-assign]  # a policy for once
    with pytest.raises(LoginFailed) as error:
        log_in(policy, LoginOffer(INITIATOR, TARGET))

    assert (error.value.status, error.value.address, error.value.redirected) == (status, "[::1]:3261,2", True)


@pytest.mark.parametrize("status", [
    LoginStatus.SESSION_DOES_NOT_EXIST, LoginStatus.TOO_MANY_CONNECTIONS, LoginStatus.OUT_OF_RESOURCES,
    LoginStatus.SERVICE_UNAVAILABLE, LoginStatus.TARGET_ERROR, LoginStatus.AUTHORIZATION_FAILURE,
    LoginStatus.CANNOT_INCLUDE_IN_SESSION,
])
def test_login_refused_by_the_policy_at_the_end(status: int) -> None:
    """What `establish` refuses is the status of the last response; flags are zero, StatSN goes on by one."""
    policy = Policy()
    policy.refusal = LoginRefusal(status)
    login = TargetLogin(policy)
    first = login.receive(request(WHO, OPERATIONAL))
    last = login.receive(request({}, OPERATIONAL, FULL))

    assert (last.failed, last.result, last.response.status, last.response.flags) == (True, None, status, 0)
    assert last.response.stat_sn == first.response.stat_sn + 1


def test_login_response_fields() -> None:
    """Version 0, the request's ISID, ITT and CmdSN, StatSN from its ExpStatSN, TSIH in the last response only."""
    login = TargetLogin(Policy())
    first = login.receive(request({**WHO, "AuthMethod": "CHAP,None"}, SECURITY, OPERATIONAL)).response
    last = login.receive(request({"HeaderDigest": "None"}, OPERATIONAL, FULL)).response

    assert (first.flags, first.tsih, first.stat_sn) == (Flags.TRANSIT | OPERATIONAL, 0, 100)
    assert (last.flags, last.tsih, last.stat_sn) == (Flags.TRANSIT | OPERATIONAL << 2 | FULL, 77, 101)
    for response in (first, last):
        assert (response.version_max, response.version_active, response.isid, response.itt) == (0, 0, ISID, 5)
        assert (response.exp_cmd_sn, response.max_cmd_sn, response.status) == (9, 9 + 127, 0)


def test_login_first_response_has_the_portal_group_tag() -> None:
    """13.9: TargetPortalGroupTag in the first response with text, and only there; no own declaration before the
    operational stage."""
    login = TargetLogin(Policy())
    first = decode_text(login.receive(request({**WHO, "AuthMethod": "None"}, SECURITY, OPERATIONAL)).response.data)
    second = decode_text(login.receive(request({}, OPERATIONAL, FULL)).response.data)

    assert first == [("TargetPortalGroupTag", "3"), ("TargetAlias", "a disk"), ("AuthMethod", "None")]
    assert second == [("MaxRecvDataSegmentLength", "262144")]


def test_login_straight_from_security_to_full_feature() -> None:
    """Without operational negotiation every default holds."""
    login = TargetLogin(Policy())
    step = login.receive(request({**WHO, "AuthMethod": "None"}, SECURITY, FULL))

    assert step.result is not None
    parameters = step.result.parameters
    assert (parameters.max_recv_data_segment_length, parameters.initial_r2t) == (8192, True)


def test_login_identity_repeated_unchanged() -> None:
    """libiscsi says who it is again in the operational stage: that is no second negotiation."""
    login = TargetLogin(Policy())
    login.receive(request({**WHO, "AuthMethod": "None"}, SECURITY, OPERATIONAL))
    step = login.receive(request({**WHO, "MaxConnections": "1"}, OPERATIONAL, FULL))

    assert step.result is not None


def test_login_requests_that_count() -> None:
    """11.12.8: all requests of a login have the session's first CmdSN. Of an initiator that counts them (nmap does)
    the last request says which that is."""
    login = TargetLogin(Policy())
    first = login.receive(request({**WHO, "AuthMethod": "None"}, SECURITY, OPERATIONAL, cmd_sn=9))
    last = login.receive(request({}, OPERATIONAL, FULL, cmd_sn=10))

    assert (first.response.exp_cmd_sn, last.response.exp_cmd_sn) == (9, 10)
    assert last.result is not None
    assert last.result.cmd_sn == 10


def test_login_name_is_normalised() -> None:
    """Names are compared in their normal form (RFC 3722)."""
    login = TargetLogin(Policy())
    who = {"InitiatorName": INITIATOR.upper(), "TargetName": TARGET.upper()}
    step = login.receive(request(who, OPERATIONAL, FULL))

    assert step.result is not None
    assert (step.result.initiator_name, step.result.target_name) == (INITIATOR, TARGET)


@given(st.lists(st.integers(0, 80), max_size=12))
@settings(max_examples=50, deadline=None)
def test_login_text_cut_by_the_c_bit(cuts: list[int]) -> None:
    """Text cut anywhere by the C bit gives the same result; the parts are answered by empty responses."""
    offers = {**WHO, "MaxBurstLength": "65536", "InitialR2T": "No"}
    text = encode_text(offers.items())
    login = TargetLogin(Policy())
    for cut in cuts:
        part = login.receive(request(text[:cut], OPERATIONAL, more=True))
        assert (part.failed, part.response.flags, bytes(part.response.data)) == (False, OPERATIONAL << 2, b"")
        text = text[cut:]
    step = login.receive(request(text, OPERATIONAL, FULL))

    assert step.result is not None
    assert (step.result.parameters.max_burst_length, step.result.parameters.initial_r2t) == (65536, False)


def test_login_transit_waits_for_authentication() -> None:
    """The T bit beside the first steps of CHAP is not granted yet."""
    login = TargetLogin(Policy(ChapRequirement({USER.name: USER.secret})))
    first = login.receive(request({**WHO, "AuthMethod": "CHAP"}, SECURITY, OPERATIONAL))
    second = login.receive(request({"CHAP_A": "7"}, SECURITY, OPERATIONAL))

    assert (first.response.flags, second.response.flags) == (0, 0)
    assert not second.failed


def test_login_is_over_after_its_end() -> None:
    """A request after success or failure is refused."""
    login = TargetLogin(Policy())
    assert login.receive(request(WHO, OPERATIONAL, FULL)).result is not None

    step = login.receive(request({}, OPERATIONAL, FULL))
    assert (step.failed, step.response.status) == (True, LoginStatus.INITIATOR_ERROR)


def test_login_refused_by_the_server() -> None:
    """The server may end a login for its own reasons before it has looked at it."""
    step = TargetLogin(Policy()).refuse(request(WHO, SECURITY), LoginRefusal(LoginStatus.SERVICE_UNAVAILABLE))

    assert (step.failed, step.response.status, step.response.stat_sn) == (True, 0x0301, 100)


KEY_VALUES = st.tuples(
    st.sampled_from((
        "InitiatorName", "TargetName", "SessionType", "AuthMethod", "CHAP_A", "CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C",
        "MaxBurstLength", "HeaderDigest", "InitialR2T", "MaxRecvDataSegmentLength", "X-other", "SendTargets",
    )),
    st.sampled_from((
        INITIATOR, TARGET, "Normal", "Discovery", "CHAP", "None", "CHAP,None", "5,6,7,8", "user", "0x00", "1", "Yes",
        "65536", "Reject",
    )),
)
REQUESTS = st.builds(
    lambda pairs, flags, isid, noise: LoginRequest(
        flags=flags, isid=isid, data=encode_text(pairs) if noise is None else noise
    ),
    st.lists(KEY_VALUES, max_size=8),
    st.sampled_from((0x00, 0x81, 0x83, 0x04, 0x87, 0x40, 0x44, 0x82)) | st.integers(0, 255),
    st.sampled_from((ISID, ISID, ISID, bytes(6))),
    st.none() | st.none() | st.none() | st.binary(max_size=40),
)


@given(st.lists(REQUESTS, min_size=1, max_size=40), st.booleans())
@settings(max_examples=300, deadline=None)
def test_login_any_requests(requests: list[LoginRequest], chap: bool) -> None:
    """Any requests: each is answered, the login ends, and never succeeds without the secret that is required."""
    policy = Policy(ChapRequirement({USER.name: USER.secret}, OWN) if chap else None)
    login = TargetLogin(policy)
    steps = [login.receive(each) for each in requests]
    if policy.established:
        assert not chap
    ended = [step.failed or step.result is not None for step in steps]

    assert all(len(step.response.data) <= 8192 for step in steps)
    assert all(ended[ended.index(True):] if True in ended else [True])
    assert sum(step.result is not None for step in steps) == len(policy.established) <= 1
    assert len(steps) <= 32 or True in ended
    if login.finished:
        assert len(policy.challenges) == 0


@given(st.sampled_from([INITIATOR, TARGET, ""]), st.booleans(), st.booleans(), st.builds(
    OperationalSettings, max_burst_length=st.integers(512, 1 << 20), initial_r2t=st.booleans(),
    header_digest=st.sampled_from((("CRC32C",), ("None",), ("CRC32C", "None"))),
))
@settings(max_examples=60, deadline=None)
def test_login_halves_agree(target_name: str, skip: bool, chap: bool, wanted: OperationalSettings) -> None:
    """Initiator and target hold the same parameters after any login that succeeds."""
    if chap and skip:
        chap = False
    policy = Policy(ChapRequirement({USER.name: USER.secret}) if chap else None)
    offer = LoginOffer(
        INITIATOR, target_name, settings=wanted, chap=USER if chap else None, skip_security=skip
    )
    if target_name == INITIATOR:
        with pytest.raises(LoginFailed):
            log_in(policy, offer)
        return
    initiator, step, _ = log_in(policy, offer)
    assert step.result is not None
    ours, theirs = step.result.parameters.as_dict(), initiator.parameters.as_dict()

    del ours["max_recv_data_segment_length"], theirs["max_recv_data_segment_length"]
    assert ours == theirs


@pytest.mark.parametrize(("name", "normal"), [
    ("iqn.2001-04.com.example:Disk.Arrays", "iqn.2001-04.com.example:disk.arrays"),
    ("IQN.2001-04.com.example", "iqn.2001-04.com.example"),
    ("iqn.2001-04.com.example:under_score-0", "iqn.2001-04.com.example:under_score-0"),
    ("eui.02004567A425678D", "eui.02004567a425678d"),
    ("naa.52004567BA64678D", "naa.52004567ba64678d"),
    ("naa.62004567BA64678D0123456789ABCDEF", "naa.62004567ba64678d0123456789abcdef"),
    ("iqn.2001-04.com.example:ＡＢ", "iqn.2001-04.com.example:ab"),  # noqa: RUF001 (full width on purpose)
    ("iqn." + "a" * 219, "iqn." + "a" * 219),
    ("iqn." + "a" * 220, None), ("iqn." + "ä" * 110, None), ("iqn.", None), ("", None), ("disk", None),
    ("iqn.2001-04.com.example:a b", None), ("iqn.2001-04.com.example:../../etc", None),
    ("iqn.2001-04.com.example:%00", None), ("iqn.2001-04.com.example:a\nb", None),
    ("eui.123", None), ("eui.02004567A425678G", None), ("naa.52004567BA64678D0", None),
    ("iqn.2001-04.com.example:a\u200b", None), ("iqn.2001-04.com.example:\u202eabc", None),
])
def test_name_normal_form(name: str, normal: str | None) -> None:
    """iqn., eui. and naa. names in lower case, nothing else, 223 bytes at most (F14)."""
    assert normalise_name(name) == normal


def test_login_closed_in_the_middle() -> None:
    """A closed login (its connection is gone) takes nothing more and has no challenge outstanding."""
    policy = Policy(ChapRequirement({USER.name: USER.secret}))
    login = TargetLogin(policy)
    login.receive(request({**WHO, "AuthMethod": "CHAP"}, SECURITY))
    login.receive(request({"CHAP_A": "7"}, SECURITY))
    assert len(policy.challenges) == 1
    login.close()

    assert len(policy.challenges) == 0
    assert login.receive(request({}, SECURITY)).failed


def test_login_settings_of_the_target_hold() -> None:
    """What the policy's settings say is what is declared and answered."""
    own = dataclasses.replace(
        OperationalSettings(), max_recv_data_segment_length=4096, header_digest=("None",), max_burst_length=8192
    )
    login = TargetLogin(Policy(settings=own))
    offers = {**WHO, "HeaderDigest": "CRC32C,None", "MaxBurstLength": "65536"}
    answers = dict(decode_text(login.receive(request(offers, OPERATIONAL)).response.data))

    assert answers["HeaderDigest"] == "None"
    assert answers["MaxBurstLength"] == "8192"
    assert answers["MaxRecvDataSegmentLength"] == "4096"
