"""Text in full feature phase: SendTargets, renegotiation, long text both ways (RFC 7143 11.10, 11.11, appendix C).

One exchange at a time; a request with TTT 0xffffffff begins a new one (11.10.4).

    request                                 answer
    --------------------------------------  ----------------------------------------------------------------
    C bit                                   empty, F=0, with a TTT: go on
    complete, the answer fits               the answer; F=1 if the request has it
    complete, the answer does not fit       its first piece, C=1, with a TTT
    TTT of the exchange, pieces are left    the next piece
    TTT of no exchange, C and F together    Reject

It does NOT: know who may see which target (node.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transports.iscsi.codes import NO_TAG, Flags, RejectReason
from transports.iscsi.keys import REJECT, Negotiation, OperationalSettings, Phase
from transports.iscsi.names import normalise_name
from transports.iscsi.pdu import TextRequest, TextResponse
from transports.iscsi.text import TextBuffer, TextError, encode_text

if TYPE_CHECKING:
    from transports.iscsi.connection import TargetConnection
    from transports.iscsi.session import Session

__all__ = ["TextExchange", "receive_text"]

_SEND_TARGETS: Final = "SendTargets"
_DEFAULT_SETTINGS: Final = OperationalSettings()


class TextExchange:
    """The text exchange of a session, made when the first Text Request comes."""

    __slots__ = ("_itt", "_rest", "_session", "_text", "_ttt", "_ttts")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._text: TextBuffer | None = None
        self._rest = b""
        self._itt = NO_TAG
        self._ttt = NO_TAG                  # of the exchange, NO_TAG when there is none
        self._ttts = 0

    def receive(self, request: TextRequest) -> TextResponse | int:
        """The answer, without sequence numbers; or the reason of a Reject, which ends the exchange."""
        try:
            return self._receive(request)
        except TextError:
            self._end()
            return RejectReason.PROTOCOL_ERROR

    def _receive(self, request: TextRequest) -> TextResponse | int:
        final = request.flags & Flags.FINAL
        more = request.flags & Flags.CONTINUE
        if request.itt == NO_TAG or (final and more):
            self._end()
            return RejectReason.PROTOCOL_ERROR
        if request.ttt == NO_TAG:
            self._end()
            self._itt = request.itt
        elif request.ttt != self._ttt or request.itt != self._itt:
            return RejectReason.PROTOCOL_ERROR
        elif self._rest:
            return self._next_piece(request)
        if self._text is None:
            self._text = TextBuffer()
        pairs = self._text.add(request.data, more=bool(more))
        if pairs is None:
            return self._go_on(request, b"", 0)
        self._rest = encode_text(self._answer(pairs))
        return self._next_piece(request)

    def _next_piece(self, request: TextRequest) -> TextResponse:
        limit = self._session.connection.max_send_data
        piece, self._rest = self._rest[:limit], self._rest[limit:]
        if self._rest:
            return self._go_on(request, piece, Flags.CONTINUE)
        if not request.flags & Flags.FINAL:
            return self._go_on(request, piece, 0)
        self._end()
        return TextResponse(flags=Flags.FINAL, lun=request.lun, itt=request.itt, ttt=NO_TAG, data=piece)

    def _go_on(self, request: TextRequest, data: bytes, flags: int) -> TextResponse:
        """An answer after which the initiator has to say something."""
        self._ttts = self._ttts % 0xFFFF + 1
        self._ttt = self._ttts
        return TextResponse(flags=flags, lun=request.lun, itt=request.itt, ttt=self._ttt, data=data)

    def _end(self) -> None:
        self._text = None
        self._rest = b""
        self._ttt = self._itt = NO_TAG

    def _answer(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The answers to complete text, in its order."""
        session = self._session
        settings = session.entry.settings if session.entry is not None else _DEFAULT_SETTINGS
        negotiation = Negotiation(settings)
        negotiation.parameters = session.parameters
        answers: list[tuple[str, str]] = []
        for key, text in pairs:
            if key == _SEND_TARGETS:
                answers += self._send_targets(text)
            else:
                answers += negotiation.answer([(key, text)], Phase.FULL_FEATURE, discovery=session.discovery)
        session.connection.parameters_changed()
        return answers

    def _send_targets(self, wanted: str) -> list[tuple[str, str]]:
        """Appendix C: All in discovery sessions only, one name, or nothing for the session's own target."""
        session = self._session
        connection = session.connection
        node = session.node
        visible = list(node.visible_targets(session.initiator_name, connection.address))
        if wanted == "All":
            if not session.discovery:
                return [(_SEND_TARGETS, REJECT)]
        elif wanted == "":
            if session.entry is None:
                return [(_SEND_TARGETS, REJECT)]
            visible = [session.entry]
        else:
            name = normalise_name(wanted)
            own = session.entry is None or session.entry.name == name
            visible = [entry for entry in visible if entry.name == name and own]
        answers: list[tuple[str, str]] = []
        for entry in visible:
            answers.append(("TargetName", entry.name))
            answers += [("TargetAddress", address) for address in node.addresses(entry, connection.local)]
        return answers


def receive_text(connection: TargetConnection, session: Session, pdu: TextRequest) -> None:
    """Answer a Text Request."""
    if not session.in_order(pdu, pdu.cmd_sn) or session.over_cap(pdu):
        return
    if connection.text is None:
        connection.text = TextExchange(session)
    response = connection.text.receive(pdu)
    if isinstance(response, int):
        session.reject(response, pdu)
        return
    response.stat_sn = connection.next_stat_sn()
    response.exp_cmd_sn = session.exp_cmd_sn
    response.max_cmd_sn = session.max_cmd_sn
    connection.send(response)
