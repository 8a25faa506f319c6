"""A byte stream cut into PDUs, and PDUs made into buffers for a gathered write (RFC 7143 4.2, 11.1, 13.1).

    reader = PduReader()                        # a connection before login: 8192 bytes of data, no digests
    reader.feed(view)                           # what recv_into brought
    while (pdu := reader.next_pdu()) is not None:
        ...                                     # may change reader.max_data_segment_length, .header_digest ...

`pdu.data` is a view: of the fed buffer where the PDU lies in it as a whole, else of a buffer of the reader's
own or of the one that `sink` gave. A view of the fed buffer is valid until that buffer is used again: who
keeps it longer, copies it. The reader itself does not need the fed buffer any more once `next_pdu` has
answered None, or after `hold()`.

A data segment that is longer than what came can be received in place: `wants()` is the memoryview to
recv_into, and `received(n)` says how much came. With a `sink` it is the memoryview that the sink chose, for
Data-Out the command's own buffer. After a data digest error that buffer has wrong bytes in it.

Lengths are judged from the header, before anything is buffered. A header digest error and a data segment that
is too long end the stream with `FramingError`. A data digest error marks the PDU.

It does NOT: know sessions, or whether a PDU may come now.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, TypeAlias

from scsiemu.command import Buffer
from scsiemu.errors import LocalProtocolError, RemoteProtocolError
from transports.iscsi import digest
from transports.iscsi.ahs import parse_ahs
from transports.iscsi.codes import BHS_LENGTH, RejectReason
from transports.iscsi.pdu import BadPdu, DataOut, Pdu, ScsiCommand, decode_bhs

__all__ = [
    "LOGIN_MAX_DATA_SEGMENT_LENGTH",
    "FramingError",
    "PduReader",
    "PlainCommand",
    "Sink",
    "encode",
    "gather",
    "seal",
]

LOGIN_MAX_DATA_SEGMENT_LENGTH = 8192        # RFC 7143 13.12: what holds until the key is negotiated

# Asked once for a PDU whose data segment is not all there: its header, the length. Answers where the data
# should go (exactly that length), or None for a buffer of the reader's own.
Sink: TypeAlias = Callable[[Pdu, int], memoryview | None]


# A plain SCSI Command PDU: where it begins; flags, LUN, ITT, expected data transfer length, CmdSN, CDB; immediate data.
PlainCommand: TypeAlias = tuple[int, int, int, int, int, int, bytes, Buffer]


class FramingError(RemoteProtocolError):
    """The stream cannot be read further: answer (in full feature phase) Reject with `reason`, then close.

    Attributes:
        reason: one of `RejectReason`; for a header digest error PROTOCOL_ERROR.
        header: the 48 bytes of BHS of the PDU.
        header_digest: it was the header digest, so the header cannot be trusted: close without an answer.
    """

    def __init__(self, message: str, reason: int, header: bytes, *, header_digest: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.header = header
        self.header_digest = header_digest


class PduReader:
    """Cuts a byte stream into PDUs.

    Attributes:
        max_data_segment_length: the MaxRecvDataSegmentLength that we declared, and that holds now.
        header_digest, data_digest: whether CRC32C is in use.
        empty: the last `plain_commands` left nothing.
        acknowledged: the ExpStatSN of the last command that `plain_commands` brought.
        sink: see `Sink`.
    """

    __slots__ = (
        "_ended", "_filled", "_head", "_held", "_length", "_pdu", "_position", "_target", "_trailer",
        "_trailer_length", "_view", "acknowledged", "data_digest", "empty", "header_digest",
        "max_data_segment_length", "sink",
    )

    def __init__(self, max_data_segment_length: int = LOGIN_MAX_DATA_SEGMENT_LENGTH) -> None:
        self.max_data_segment_length = max_data_segment_length
        self.header_digest = False
        self.data_digest = False
        self.sink: Sink | None = None
        self._ended = False
        self.empty = False
        self.acknowledged = 0
        self._view = memoryview(b"")
        self._position = 0
        self._held = False
        # The PDU being put together. Head: BHS, AHS and digest. Then data into _target. Then the trailer.
        self._head = bytearray()
        self._pdu: Pdu | None = None            # decoded as soon as the head is complete
        self._length = 0
        self._target = _NOWHERE
        self._filled = 0
        self._trailer = bytearray()
        self._trailer_length = 0

    @property
    def idle(self) -> bool:
        """Between two PDUs: not a byte of the next one has come."""
        return not self._head and self._position == len(self._view)

    def feed(self, data: Buffer) -> None:
        """Take what the peer sent. Not before `next_pdu` has answered None, or after `hold`."""
        if self._ended:
            return
        if self._position < len(self._view):
            if not self._held:
                raise LocalProtocolError("feed() before next_pdu() answered None")
            data = bytes(self._view[self._position:]) + bytes(data)
        else:
            self._held = False
        self._view = data if data.__class__ is memoryview else memoryview(data)
        self._position = 0

    def hold(self) -> None:
        """Keep a copy of what was fed and not yet asked for, so that the fed buffer may be used again."""
        self._view = memoryview(bytes(self._view[self._position:]))
        self._position = 0
        self._held = True

    def plain_commands(self, fed: memoryview | None = None) -> list[PlainCommand]:             # hot
        """Feed `fed`, then cut off the plain SCSI Command PDUs that come next and are there as a whole.

        What is not plain (AHS, priority, immediate, a digest error) is for `next_pdu`, and so is what the caller does
        not want after all: see `put_back`.
        """
        commands: list[PlainCommand] = []
        if fed is not None:
            if self.empty and not self._head:
                self._view = fed
                self._position = 0
                self._held = False
            else:
                self.feed(fed)
        if self._head:
            self.empty = False
            return commands
        view = self._view
        position = self._position
        size = len(view)
        longest = self.max_data_segment_length
        header_digest, data_digest = self.header_digest, self.data_digest
        header = BHS_LENGTH + 4 if header_digest else BHS_LENGTH
        checked = position if header_digest or data_digest else size    # up to here no digest is wrong
        run = header_digest             # one CRC of many is still to be tried
        while size - position >= header:
            opcode, flags, word, length, lun, itt, expected, cmd_sn, acknowledged, cdb = _unpack_bhs(view, position)
            if opcode != 0x01 or word or length > longest:
                break
            data_at = end = position + header
            if length:
                end += length + 3 & ~3
                if data_digest:
                    end += 4
                if end > size:
                    break
            if end > checked:
                if run and size - end >= end - position and (data_digest or not length):
                    run = False
                    checked = _end_of_run(view, position, end - position)
                if end > checked:
                    if header_digest and digest.crc32c(view[position:data_at]) != _WITH_DIGEST:
                        break
                    if length and data_digest and digest.crc32c(view[data_at:end]) != _WITH_DIGEST:
                        break
            data = view[data_at:data_at + length] if length else b""
            commands.append((position, flags, lun, itt, expected, cmd_sn, cdb, data))
            position = end
        if commands:
            self.acknowledged = acknowledged
        self._position = position
        self.empty = position == size
        return commands

    def put_back(self, command: PlainCommand) -> None:
        """`next_pdu` goes on with this command, of the last `plain_commands`."""
        self._position = command[0]
        self.empty = False

    def next_pdu(self) -> Pdu | None:                                                           # hot
        """The next whole PDU, None when more bytes are needed.

        Raises:
            FramingError: the stream ends here; from now on the answer is None.
        """
        view = self._view
        position = self._position
        if self._head or len(view) - position < BHS_LENGTH:
            if position == len(view) and not self._head:
                return None
            return self._assemble()
        opcode, flags, word, length, lun, itt, word20, word24, word28, last = _unpack_bhs(view, position)
        data_at = position + 48
        end = data_at + (length + 3 & ~3)
        wrong = False
        if self.header_digest or self.data_digest:
            data_at, end, wrong = self._check_digests(view, position, length)
        # A TotalAHSLength other than 0 makes `length` huge. All that is not plain goes the long way.
        if length > self.max_data_segment_length or end > len(view):
            return self._assemble()
        self._position = end
        pdu: Pdu
        operation = opcode & 0x3F
        if operation == 0x01:
            pdu = ScsiCommand(flags, word >> 8, lun, itt, word20, word24, word28, last)
        elif operation == 0x05:
            data_sn, buffer_offset = _unpack_data_out(last)
            pdu = DataOut(flags, lun, itt, word20, word28, data_sn, buffer_offset)
        else:
            pdu = decode_bhs(view, position)
        if opcode & 0x40:
            pdu.immediate = True
        if length:
            pdu.data = view[data_at:data_at + length]
            if wrong:
                pdu.data_digest_error = True
        return pdu

    def wants(self) -> memoryview | None:
        """Where the rest of the data segment under way may be received, None when there is none."""
        if self._pdu is None or self._filled == self._length:
            return None
        return self._target[self._filled:]

    def received(self, count: int) -> None:
        """`count` bytes were received into `wants()`. Then ask `next_pdu`."""
        if not 0 <= count <= self._length - self._filled:
            raise LocalProtocolError("received more than was wanted")
        self._filled += count

    def abandon_sink(self) -> None:
        """Do not touch the sink's buffer any more: the rest of that data segment goes into one of our own."""
        if self._pdu is not None and self._length:
            self._target = memoryview(bytearray(self._length))

    def _check_digests(self, view: memoryview, position: int, length: int) -> tuple[int, int, bool]:   # hot
        """Where data and PDU end, and whether the data digest is wrong. A wrong header digest ends nowhere."""
        data_at = position + BHS_LENGTH
        if self.header_digest:
            data_at += 4
        end = data_at + (length + 3 & ~3)
        checked = length and self.data_digest
        if checked:
            end += 4
        if end > len(view):
            return data_at, end, False
        if self.header_digest and digest.crc32c(view[position:data_at]) != _WITH_DIGEST:
            return data_at, _NEVER, False
        return data_at, end, bool(checked) and digest.crc32c(view[data_at:end]) != _WITH_DIGEST

    def _assemble(self) -> Pdu | None:
        """The general way: AHS, digests, PDUs that come in pieces."""
        if self._ended:
            return None
        if self._pdu is None and not self._read_head():
            return None
        pdu = self._pdu
        if pdu is None or not self._read_data() or not self._collect(self._trailer, self._trailer_length):
            return None
        if self._length:
            pdu.data = self._target
            if self.data_digest:
                crc = digest.crc32c(self._trailer, digest.crc32c(self._target))
                pdu.data_digest_error = crc != _WITH_DIGEST
        self._pdu = None
        self._target = _NOWHERE
        self._head = bytearray()
        self._trailer = bytearray()
        return pdu

    def _read_head(self) -> bool:
        """Collect BHS, AHS and header digest, and decode them. False when bytes are missing."""
        head = self._head
        if not self._collect(head, BHS_LENGTH):
            return False
        length = int.from_bytes(head[5:8], "big")
        if length > self.max_data_segment_length:
            self._end(f"data segment of {length} bytes", RejectReason.PROTOCOL_ERROR)
        ahs_end = BHS_LENGTH + head[4] * 4
        if not self._collect(head, ahs_end + 4 * self.header_digest):
            return False
        if self.header_digest and digest.crc32c(head) != _WITH_DIGEST:
            self._end("header digest error", RejectReason.PROTOCOL_ERROR, header_digest=True)
        self._pdu = pdu = _decode_head(head, ahs_end)
        self._length = length
        self._filled = 0
        self._trailer_length = (-length % 4 + 4 * self.data_digest) if length else 0
        if length:
            self._target = self._place(pdu, length)
        return True

    def _place(self, pdu: Pdu, length: int) -> memoryview:
        """Where the data segment is to be: in the fed buffer if all of it is there."""
        start = self._position
        if len(self._view) - start >= length + self._trailer_length:
            self._position = start + length
            self._filled = length
            return self._view[start:start + length]
        target = self.sink(pdu, length) if self.sink is not None else None
        if target is None:
            return memoryview(bytearray(length))
        if len(target) != length:
            raise LocalProtocolError("the sink's buffer does not have the length of the data segment")
        return target

    def _read_data(self) -> bool:
        """Move what was fed into the target. False when bytes are missing."""
        missing = self._length - self._filled
        if missing:
            piece = self._view[self._position:self._position + missing]
            self._target[self._filled:self._filled + len(piece)] = piece
            self._position += len(piece)
            self._filled += len(piece)
        return self._filled == self._length

    def _collect(self, part: bytearray, length: int) -> bool:
        """Make `part` `length` bytes long from what was fed. False when bytes are missing."""
        missing = length - len(part)
        if missing > 0:
            piece = self._view[self._position:self._position + missing]
            part += piece
            self._position += len(piece)
        return len(part) >= length

    def _end(self, message: str, reason: int, *, header_digest: bool = False) -> None:
        self._ended = True
        header = bytes(self._head[:BHS_LENGTH])
        self._view = memoryview(b"")
        self._position = 0
        raise FramingError(message, reason, header, header_digest=header_digest)


def _end_of_run(view: memoryview, position: int, size: int) -> int:                              # hot
    """Where PDUs of one size end that one CRC of them all finds right; `position`: each is to be looked at.

    Behind a digest the register of a CRC is the same whatever comes before it, so that after so many PDUs of one size
    with all their digests it is a number that can be known before. One of another size would spoil it: the last is
    looked at for that.
    """
    count = (len(view) - position) // size
    last = position + (count - 1) * size
    if view[last] != view[position] or view[last + 4 : last + 8] != view[position + 4 : position + 8]:
        return position
    after = _AFTER_PDUS.get(size)
    if after is None:
        if len(_AFTER_PDUS) == _SIZES:
            _AFTER_PDUS.clear()
        after = _AFTER_PDUS[size] = [0]
    while len(after) <= count:
        after.append(digest.crc32c(_whole(size), after[-1]))
    end = last + size
    return end if digest.crc32c(view[position:end]) == after[count] else position


def _whole(size: int) -> bytes:
    """A PDU of that size, of zeros but for its digests."""
    header = bytes(BHS_LENGTH)
    header += _pack_digest(digest.crc32c(header))
    if size == len(header):
        return header
    data = bytes(size - len(header) - 4)
    return header + data + _pack_digest(digest.crc32c(data))


def encode(pdu: Pdu, *, header_digest: bool = False, data_digest: bool = False) -> list[Buffer]:
    """The buffers that put `pdu` on the wire, for a gathered write."""
    out: list[Buffer] = []
    header = pdu.bhs()
    if isinstance(pdu, ScsiCommand):
        ahs = pdu.ahs()
        if ahs:
            header = pdu.bhs(ahs_words=len(ahs) // 4) + ahs
    gather(out, header, pdu.data, header_digest, data_digest)
    return out


def gather(out: list[Buffer], header: bytes, data: Buffer, header_digest: bool, data_digest: bool) -> int:  # hot
    """Append the buffers of one PDU to `out`: header (BHS and AHS), digest, data, padding, digest.

    Returns how many bytes it is all together.
    """
    if header_digest:
        header += _pack_digest(digest.crc32c(header))
    out.append(header)
    length = len(data)
    if not length:
        return len(header)
    out.append(data)
    if data_digest:
        crc = digest.crc32c(data)
        if length & 3:
            padding = _PADDING[length & 3]
            trailer = padding + _pack_digest(digest.crc32c(padding, crc))
        else:
            trailer = _pack_digest(crc)
    elif length & 3:
        trailer = _PADDING[length & 3]
    else:
        return len(header) + length
    out.append(trailer)
    return len(header) + length + len(trailer)


def seal(out: list[Any], first: int, header_digest: bool, data_digest: bool) -> int:         # hot
    """Put digests into `out[first:]`: Data-In (header, data, padding) and SCSI Responses without data.

    Cheaper for many PDUs than `gather` for each. Returns how many bytes the digests are.
    """
    pieces = iter(out[first:])
    del out[first:]
    append = out.append
    crc32c = digest.crc32c
    owed = -1                           # the data digest that comes before the next header
    digests = 0
    for header in pieces:
        if header_digest:
            digests += 1
            if owed < 0:
                append(header + _pack_digest(crc32c(header)))
            else:
                append(_pack_between(owed, header, crc32c(header)))
        else:
            append(header if owed < 0 else _pack_digest(owed) + header)
        owed = -1
        if header[0] == 0x25:           # Data-In; other answers have none
            data = next(pieces)
            append(data)
            if data_digest:
                digests += 1
                owed = crc32c(data)
            if len(data) & 3:
                padding = next(pieces)
                append(padding)
                if data_digest:
                    owed = crc32c(padding, owed)
    if owed >= 0:
        append(_pack_digest(owed))
    return 4 * digests


def _decode_head(head: bytearray, ahs_end: int) -> Pdu:
    pdu = decode_bhs(head)
    if ahs_end > BHS_LENGTH:
        if isinstance(pdu, ScsiCommand):
            ahs = parse_ahs(head[BHS_LENGTH:ahs_end])
            pdu.cdb += ahs.cdb
            pdu.read_length = ahs.read_length
            pdu.ahs_flaw = ahs.flaw
        elif not isinstance(pdu, BadPdu):
            # 11.2.1.5: TotalAHSLength is 0 in every PDU that has no AHS.
            return BadPdu(
                head[0] & 0x3F, bytes(head[:BHS_LENGTH]), RejectReason.INVALID_PDU_FIELD
            )
    return pdu


_unpack_bhs = Struct(">BBHIQIIII16s").unpack_from
_unpack_data_out = Struct(">4xII4x").unpack
_pack_digest = Struct("<I").pack            # 13.1: bit 7 of byte 0 is x^31 reflected, so low byte first
_pack_between = Struct("<I48sI").pack       # a data digest, then a header and its digest
_WITH_DIGEST = 0x48674BC7                   # the CRC32C of whatever has its own behind it
_AFTER_PDUS: dict[int, list[int]] = {}      # see _end_of_run: by size and number of PDUs
_SIZES = 64                                 # of which that is remembered
_NEVER = 1 << 62
_PADDING = (b"", bytes(3), bytes(2), bytes(1))
_NOWHERE = memoryview(b"")
