"""The login phase, initiator side: names, CHAP, offers, answers (RFC 7143 6.3).

    login = InitiatorLogin(LoginOffer("iqn.2026-01.org.example:me", target_name="iqn..."), isid=isid)
    pdu = login.start()                         # the first LoginRequest
    while pdu is not None: send(encode(pdu)); pdu = login.receive(the LoginResponse that came)
    login.parameters, login.tsih, login.cmd_sn, login.exp_stat_sn, login.target_portal_group_tag

`LoginFailed` carries the status, and for a redirection the address to go to.

It does NOT: connect again after a redirection, or open more than one connection of a session.
"""

from __future__ import annotations

from collections.abc import Callable

from scsiemu._value import value
from scsiemu.errors import LocalProtocolError, RemoteProtocolError
from transports.iscsi.chap import ALGORITHMS, ChapCredentials, ChapInitiator, OutstandingChallenges, RandomBytes
from transports.iscsi.codes import Flags, LoginStage
from transports.iscsi.keys import Negotiation, OperationalParameters, OperationalSettings
from transports.iscsi.pdu import LoginRequest, LoginResponse
from transports.iscsi.text import TextBuffer, encode_text, parse_number

__all__ = ["InitiatorLogin", "LoginFailed", "LoginOffer"]


class LoginFailed(RemoteProtocolError):
    """The target refused, or broke the protocol.

    Attributes:
        status: class and detail, 0 when the target broke the protocol.
        address: where to go instead, for status class 1.
    """

    def __init__(self, message: str, status: int = 0, address: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.address = address

    @property
    def redirected(self) -> bool:
        """The target has moved to `address`."""
        return self.status >> 8 == 1


@value
class LoginOffer:
    """What the initiator says and wants.

    Args:
        target_name: empty for a discovery session.
        chap: our name and secret; None offers no authentication.
        target_chap: what the target must prove (mutual CHAP).
        skip_security: begin with operational negotiation, as some initiators do.
    """

    initiator_name: str
    target_name: str = ""
    initiator_alias: str = ""
    settings: OperationalSettings = OperationalSettings()
    chap: ChapCredentials | None = None
    target_chap: ChapCredentials | None = None
    algorithms: tuple[int, ...] = tuple(ALGORITHMS)
    skip_security: bool = False


class InitiatorLogin:
    """One connection's login.

    Args:
        isid: 6 bytes.
        tsih: 0 for a new session.
        random_bytes: needed for mutual CHAP only.

    Attributes:
        parameters: what was negotiated.
        tsih, exp_stat_sn, cmd_sn: for the session, once `finished`.
        target_portal_group_tag, target_alias: what the target said, None and empty if it did not.
    """

    def __init__(
        self,
        offer: LoginOffer,
        *,
        isid: bytes,
        tsih: int = 0,
        cid: int = 0,
        cmd_sn: int = 1,
        itt: int = 0,
        random_bytes: RandomBytes | None = None,
    ) -> None:
        self._offer = offer
        self._isid = isid
        self._cid = cid
        self._itt = itt
        self._negotiation = Negotiation(offer.settings)
        self._discovery = not offer.target_name
        self._chap: ChapInitiator | None = None
        if offer.chap is not None:
            if random_bytes is None:
                if offer.target_chap is not None:
                    raise LocalProtocolError("mutual CHAP needs random bytes")
                random_bytes = bytes            # not called without mutual CHAP
            self._chap = ChapInitiator(
                offer.chap, offer.target_chap, OutstandingChallenges(), random_bytes, offer.algorithms
            )
        self._text = TextBuffer()
        self._next: Callable[[list[tuple[str, str]]], LoginRequest] = self._after_start
        self._stage = LoginStage.OPERATIONAL if offer.skip_security else LoginStage.SECURITY
        self.cmd_sn = cmd_sn
        self.tsih = tsih
        self.exp_stat_sn = 0
        self.finished = False
        self.target_portal_group_tag: int | None = None
        self.target_alias = ""

    @property
    def parameters(self) -> OperationalParameters:
        """What holds now."""
        return self._negotiation.parameters

    def start(self) -> LoginRequest:
        """The first request."""
        offer = self._offer
        pairs = [("InitiatorName", offer.initiator_name)]
        if offer.initiator_alias:
            pairs.append(("InitiatorAlias", offer.initiator_alias))
        pairs.append(("SessionType", "Discovery" if self._discovery else "Normal"))
        if offer.target_name:
            pairs.append(("TargetName", offer.target_name))
        if offer.skip_security:
            return self._operational(pairs)
        pairs.append(("AuthMethod", "None" if self._chap is None else "CHAP"))
        if self._chap is None:
            return self._request(pairs, transit_to=LoginStage.OPERATIONAL)
        return self._request(pairs)

    def receive(self, response: LoginResponse) -> LoginRequest | None:
        """The answer to a response; None when the login has succeeded.

        Raises:
            LoginFailed: the target refuses or redirects, or its responses make no sense.
            TextError, ChapFailed: what they say.
        """
        if self.finished:
            raise LocalProtocolError("the login is over")
        if response.status:
            pairs = dict(TextBuffer().add(response.data, more=False) or ())
            raise LoginFailed(
                f"login status {response.status:#06x}", response.status, pairs.get("TargetAddress", "")
            )
        if response.isid != self._isid or response.current_stage != self._stage:
            raise LoginFailed("the response is for another login")
        self.exp_stat_sn = response.stat_sn + 1 & 0xFFFFFFFF
        answers = self._text.add(response.data, more=bool(response.flags & Flags.CONTINUE))
        if answers is None:
            return self._request([])
        self._take_declarations(answers)
        if not response.flags & Flags.TRANSIT:
            return self._next(answers)
        if self._stage == LoginStage.SECURITY and self._chap is not None:
            if self._next != self._after_response:
                raise LoginFailed("the target went on without authentication")
            self._chap.verify(answers)
        if response.next_stage == LoginStage.FULL_FEATURE:
            self._negotiation.accept(answers)
            self.tsih = response.tsih
            self.finished = True
            return None
        self._stage = response.next_stage
        return self._operational([])

    def _take_declarations(self, answers: list[tuple[str, str]]) -> None:
        for key, text in answers:
            if key == "TargetPortalGroupTag":
                self.target_portal_group_tag = parse_number(text)
            elif key == "TargetAlias":
                self.target_alias = text

    def _after_start(self, answers: list[tuple[str, str]]) -> LoginRequest:
        if self._stage == LoginStage.OPERATIONAL:
            return self._after_offers(answers)
        if self._chap is None:
            return self._request([], transit_to=LoginStage.OPERATIONAL)
        if dict(answers).get("AuthMethod") != "CHAP":
            raise LoginFailed("the target does not do CHAP")
        self._next = self._after_algorithms
        return self._request(self._chap.offer())

    def _after_algorithms(self, answers: list[tuple[str, str]]) -> LoginRequest:
        assert self._chap is not None
        self._next = self._after_response
        return self._request(self._chap.respond(answers), transit_to=LoginStage.OPERATIONAL)

    def _after_response(self, answers: list[tuple[str, str]]) -> LoginRequest:
        raise LoginFailed("the target does not let us go on after CHAP")

    def _after_offers(self, answers: list[tuple[str, str]]) -> LoginRequest:
        self._negotiation.accept(answers)
        return self._request([], transit_to=LoginStage.FULL_FEATURE)

    def _operational(self, pairs: list[tuple[str, str]]) -> LoginRequest:
        self._stage = LoginStage.OPERATIONAL
        self._next = self._after_offers
        offers = self._negotiation.propose(discovery=self._discovery)
        return self._request(pairs + offers, transit_to=LoginStage.FULL_FEATURE)

    def _request(self, pairs: list[tuple[str, str]], transit_to: int | None = None) -> LoginRequest:
        flags = self._stage << 2
        if transit_to is not None:
            flags |= Flags.TRANSIT | transit_to
        return LoginRequest(
            flags=flags, isid=self._isid, tsih=self.tsih, itt=self._itt, cid=self._cid, cmd_sn=self.cmd_sn,
            exp_stat_sn=self.exp_stat_sn, data=encode_text(pairs), immediate=True,
        )
