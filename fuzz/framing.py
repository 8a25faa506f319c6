"""PDU framing, split at random (RFC 7143 clause 11)."""

from __future__ import annotations

from transports.iscsi.framing import FramingError, PduReader

__all__ = ["fuzz_framing"]

_MAX_DATA = 8192


def fuzz_framing(data: bytes) -> None:
    """Whatever the bytes and however they are cut, the same PDUs come out, and the same end.

    The first byte chooses digests and the size of the pieces. Allowed: FramingError, which ends the stream.
    """
    if len(data) < 2:
        return
    choice, size, stream = data[0], data[1] % 97 + 1, data[2:]
    whole = _read(choice, [stream])
    pieces = _read(choice, [stream[at : at + size] for at in range(0, len(stream), size)])
    assert whole == pieces, (whole, pieces)


def _read(choice: int, pieces: list[bytes]) -> list[str]:
    """What a reader makes of these pieces: each PDU as text, and how it ended."""
    reader = PduReader(_MAX_DATA)
    reader.header_digest = bool(choice & 1)
    reader.data_digest = bool(choice & 2)
    seen: list[str] = []
    for piece in pieces:
        buffer = bytearray(piece)
        reader.feed(memoryview(buffer))
        try:
            while (pdu := reader.next_pdu()) is not None:
                assert len(pdu.data) <= _MAX_DATA, "a longer data segment than was allowed"
                seen.append(f"{pdu.__class__.__name__} {pdu.bhs().hex()} {bytes(pdu.data).hex()}")
        except FramingError as error:
            seen.append(f"end: {type(error).__name__}")
            return seen
        # The buffer may be used again once next_pdu has answered None.
        buffer[:] = b"\xa5" * len(buffer)
    return seen
