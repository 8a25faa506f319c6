"""Data-Out of one session: unsolicited data gathered before a command starts, R2Ts, and the bursts that answer them.

A burst is a sequence of Data-Out PDUs that ends with the F bit (RFC 7143 11.7.1): the unsolicited one, found by its
ITT, or one for each R2T, found by its TTT. The checks of a Data-Out PDU are one list, in `receive`.

    what is wrong                                   answer at ErrorRecoveryLevel 0
    ----------------------------------------------  -----------------------------------------------------------------
    TTT or ITT of no burst                          Reject (protocol error), nothing else is touched
    TTT or ITT of a command that has ended          thrown away up to the F bit (its R2T may have crossed the end)
    LUN, DataSN or offset wrong, too much, F early  the rest is thrown away up to the F bits, then CHECK CONDITION,
    or missing, data digest wrong                   ABORTED COMMAND (RFC 7143 7.8, 7.9, 11.4.7.2)

It does NOT: allocate for more than FirstBurstLength before a command's checks, know what a session is (it calls
back through `DataOutOwner`), or send anything itself.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from scsiemu import asc
from scsiemu.command import Buffer, Command, DataOutRequest
from scsiemu.sense import SenseCode
from transports.iscsi.codes import NO_TAG, Flags, RejectReason

__all__ = ["Burst", "DataOutBudget", "DataOutOwner", "DataOutTable", "DataOutTransfer"]

# The sense data of RFC 7143 11.4.7.2.
_SEQUENCE_ERROR: Final = asc.PROTOCOL_SERVICE_CRC_ERROR
_UNEXPECTED: Final = asc.WRITE_ERROR_UNEXPECTED_UNSOLICITED_DATA
_WRONG_AMOUNT: Final = asc.WRITE_ERROR_NOT_ENOUGH_UNSOLICITED_DATA

# Unsolicited bursts have no TTT: they are found by their ITT plus this.
_UNSOLICITED: Final = 1 << 32

_STALE_LIMIT: Final = 1024              # bursts of ended commands that are remembered


class DataOutBudget:
    """Bytes of Data-Out buffers that all sessions share: what does not fit waits for its R2T.

    Args:
        limit: in bytes. One request is always granted, however large.
    """

    __slots__ = ("_waiting", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._waiting: deque[tuple[DataOutTable, DataOutTransfer, DataOutRequest]] = deque()

    @property
    def room(self) -> int:
        """How many bytes `take` would give now."""
        return max(self.limit - self.used, 0) if self.used else 1 << 32

    def take(self, size: int) -> bool:
        """Take `size` bytes, if they are there."""
        if self.used and self.used + size > self.limit:
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """`size` bytes are free again: whoever waited longest gets them."""
        self.used -= size
        waiting = self._waiting
        while waiting:
            table, transfer, request = waiting[0]
            if not table.waits(transfer):
                waiting.popleft()
            elif self.take(request.length):
                waiting.popleft()
                table.grant(transfer, request)
            else:
                return

    def wait(self, table: DataOutTable, transfer: DataOutTransfer, request: DataOutRequest) -> None:
        """`table.grant` when there is room."""
        self._waiting.append((table, transfer, request))


class DataOutOwner(Protocol):
    """What the table asks of its session."""

    initial_r2t: bool
    first_burst_length: int
    max_burst_length: int
    max_outstanding_r2t: int
    data_pdu_in_order: bool
    data_sequence_in_order: bool

    def send_r2t(self, command: Command, ttt: int, r2t_sn: int, offset: int, length: int) -> None: ...

    def gathered(self, command: Command, *, kept: bool) -> None: ...

    def data_out_complete(self, command: Command) -> None: ...

    def data_out_failed(self, command: Command, code: SenseCode) -> None: ...


class Burst:
    """One sequence of Data-Out PDUs: bytes `next` to `end` of the command's Data-Out are still to come."""

    __slots__ = ("data_sn", "end", "next", "pieces", "transfer", "ttt")

    def __init__(self, transfer: DataOutTransfer, ttt: int, offset: int, end: int) -> None:
        self.transfer = transfer
        self.ttt = ttt
        self.data_sn = 0
        self.next = offset
        self.end = end
        # DataPDUInOrder=No: what is still missing, as (offset, end); else None.
        self.pieces: list[tuple[int, int]] | None = None


class DataOutTransfer:
    """The Data-Out of one command that is still to come.

    Attributes:
        buffer: holds bytes `base` to `end` of the command's Data-Out.
        asked: where the next R2T begins.
        bursts: those under way, oldest first.
        failure: why the command ends with CHECK CONDITION once the bursts have ended.
    """

    __slots__ = ("asked", "base", "buffer", "bursts", "command", "end", "failure", "held", "r2t_sn")

    def __init__(self, command: Command, base: int, end: int) -> None:
        self.command = command
        self.base = base
        self.end = end
        self.asked = base
        self.buffer: memoryview | None = None
        self.bursts: list[Burst] = []
        self.failure: SenseCode | None = None
        self.r2t_sn = 0
        self.held = 0                   # bytes taken from the budget


class DataOutTable:
    """The Data-Out transfers of a session.

    Args:
        owner: the session.
        budget: bytes of Data-Out buffers that all sessions share.
    """

    __slots__ = ("_budget", "_bursts", "_next_ttt", "_owner", "_stale", "_transfers")

    def __init__(self, owner: DataOutOwner, budget: DataOutBudget) -> None:
        self._owner = owner
        self._budget = budget
        self._transfers: dict[int, DataOutTransfer] = {}        # by ITT
        self._bursts: dict[int, Burst] = {}                     # by TTT; unsolicited ones by ITT + 2**32
        self._stale: dict[int, None] = {}                       # keys of bursts whose command has ended
        self._next_ttt = 1

    def __len__(self) -> int:
        return len(self._transfers)

    @property
    def owed(self) -> bool:
        """Whether Data-Out is still to come."""
        return bool(self._bursts)

    def gathering(self, itt: int) -> bool:
        """Whether unsolicited data of that command is still to come."""
        return itt + _UNSOLICITED in self._bursts

    # --- the start of a transfer -------------------------------------------------------------------------------

    def gather(self, command: Command) -> None:
        """Unsolicited Data-Out PDUs follow the command; then `owner.gathered`.

        The command's `data_out` is its immediate data; afterwards all of the unsolicited data, unless there was no
        memory to keep them.
        """
        self._stale.pop(command.tag + _UNSOLICITED, None)
        immediate = len(command.data_out)
        size = min(self._owner.first_burst_length, command.data_out_length)
        transfer = DataOutTransfer(command, 0, size)
        if self._budget.take(size):
            transfer.held = size
            buffer = bytearray(size)
            buffer[:immediate] = command.data_out
            transfer.buffer = memoryview(buffer)
        key = command.tag + _UNSOLICITED
        self._transfers[command.tag] = transfer
        self._start_burst(transfer, key, immediate, size)

    def _start_burst(self, transfer: DataOutTransfer, key: int, offset: int, end: int) -> None:
        burst = Burst(transfer, key, offset, end)
        if not self._owner.data_pdu_in_order:
            burst.pieces = [(offset, end)] if offset < end else []
        transfer.bursts.append(burst)
        self._bursts[key] = burst

    def begin(self, request: DataOutRequest) -> None:
        """The device server wants Data-Out: grant it with R2Ts, at most MaxOutstandingR2T at a time."""
        command = request.command
        transfer = DataOutTransfer(command, request.offset, request.offset + request.length)
        before = self._transfers.get(command.tag)       # an earlier piece of its Data-Out: R2TSN goes on
        if before is not None:
            transfer.r2t_sn = before.r2t_sn
        self._transfers[command.tag] = transfer
        if self._budget.take(request.length):
            self.grant(transfer, request)
        else:
            self._budget.wait(self, transfer, request)

    def waits(self, transfer: DataOutTransfer) -> bool:
        """Whether the command of a transfer is still there."""
        return self._transfers.get(transfer.command.tag) is transfer

    def grant(self, transfer: DataOutTransfer, request: DataOutRequest) -> None:
        """There is memory for the data: ask for it."""
        transfer.held = request.length
        transfer.buffer = request.buffer
        self._solicit(transfer)

    def _solicit(self, transfer: DataOutTransfer) -> None:
        owner = self._owner
        while len(transfer.bursts) < owner.max_outstanding_r2t and transfer.asked < transfer.end:
            offset = transfer.asked
            end = min(offset + owner.max_burst_length, transfer.end)
            ttt = self._next_ttt
            self._next_ttt = ttt + 1 if ttt < NO_TAG - 1 else 1
            self._start_burst(transfer, ttt, offset, end)
            transfer.asked = end
            owner.send_r2t(transfer.command, ttt, transfer.r2t_sn, offset, end - offset)
            transfer.r2t_sn += 1

    # --- its PDUs ----------------------------------------------------------------------------------------------

    def place(self, itt: int, ttt: int, lun: int, data_sn: int, offset: int, length: int) -> memoryview | None:
        """Where the data of a good Data-Out PDU goes, so that it can be received there; None where `receive` must
        look at it first."""
        burst = self._bursts.get(ttt if ttt != NO_TAG else itt + _UNSOLICITED)
        if burst is None:
            return None
        transfer = burst.transfer
        if transfer.buffer is None or self._flaw(burst, itt, lun, data_sn, offset, length) is not None:
            return None
        at = offset - transfer.base
        return transfer.buffer[at : at + length]

    def receive(                                                                                # hot
        self, itt: int, ttt: int, lun: int, data_sn: int, offset: int, data: Buffer, final: int, in_place: bool
    ) -> int:
        """Take a Data-Out PDU. Returns 0, or the reason of the Reject that it deserves.

        Args:
            final: nonzero for the F bit.
            in_place: its data is where `place` said.
        """
        key = ttt if ttt != NO_TAG else itt + _UNSOLICITED
        burst = self._bursts.get(key)
        if burst is None:
            return self._no_burst(key, itt, ttt, final)
        transfer = burst.transfer
        if transfer.failure is None:
            length = len(data)
            code = self._flaw(burst, itt, lun, data_sn, offset, length)
            if code is None:
                burst.data_sn = data_sn + 1
                burst.next += length
                if not in_place and transfer.buffer is not None:
                    at = offset - transfer.base
                    transfer.buffer[at : at + length] = data
                if not final:
                    if burst.next < burst.end or not length or ttt == NO_TAG:
                        return 0
                    # The last byte that was asked for has come without the F bit.
                    code = _WRONG_AMOUNT
                    final = Flags.FINAL
                elif burst.next < burst.end and ttt != NO_TAG:
                    code = _WRONG_AMOUNT
            transfer.failure = code
        if final:
            self._burst_ended(burst)
        return 0

    def _flaw(                                                                                  # hot
        self, burst: Burst, itt: int, lun: int, data_sn: int, offset: int, length: int
    ) -> SenseCode | None:
        """What is wrong with a Data-Out PDU of this burst, None for nothing."""
        transfer = burst.transfer
        command = transfer.command
        if itt != command.tag or (lun != command.lun and burst.ttt < NO_TAG):
            return _SEQUENCE_ERROR
        if data_sn != burst.data_sn:
            return _SEQUENCE_ERROR
        if burst.pieces is not None:
            return None if self._take_piece(burst, offset, offset + length) else _WRONG_AMOUNT
        if offset != burst.next:
            return _SEQUENCE_ERROR
        if offset + length > burst.end:
            return _UNEXPECTED if burst.ttt > NO_TAG else _WRONG_AMOUNT
        if (
            self._owner.data_sequence_in_order
            and burst is not transfer.bursts[0]
            and burst.ttt < NO_TAG
        ):
            return _SEQUENCE_ERROR
        return None

    def _take_piece(self, burst: Burst, offset: int, end: int) -> bool:
        """DataPDUInOrder=No: whether these bytes of the burst are still missing; they are not any more."""
        assert burst.pieces is not None
        for index, (first, last) in enumerate(burst.pieces):
            if first <= offset and end <= last:
                rest = [(first, offset), (end, last)]
                burst.pieces[index : index + 1] = [piece for piece in rest if piece[0] < piece[1]]
                return True
        return offset == end

    def _no_burst(self, key: int, itt: int, ttt: int, final: int) -> int:
        if key in self._stale:
            if final:
                del self._stale[key]
            return 0
        transfer = self._transfers.get(itt)
        if ttt == NO_TAG and transfer is not None and transfer.bursts:
            # Unsolicited data for a command that asks for its data: more than FirstBurstLength, or after the F bit.
            transfer.failure = transfer.failure or _UNEXPECTED
            return 0
        return RejectReason.PROTOCOL_ERROR

    def spoil(self, itt: int, ttt: int, final: int) -> None:
        """A Data-Out PDU came with a wrong data digest: its command fails (RFC 7143 7.8)."""
        burst = self._bursts.get(ttt if ttt != NO_TAG else itt + _UNSOLICITED)
        if burst is None:
            return
        if burst.transfer.failure is None:
            burst.transfer.failure = _SEQUENCE_ERROR
        if final:
            self._burst_ended(burst)

    def _burst_ended(self, burst: Burst) -> None:
        transfer = burst.transfer
        command = transfer.command
        del self._bursts[burst.ttt]
        transfer.bursts.remove(burst)
        if transfer.failure is not None:
            if not transfer.bursts:
                code = transfer.failure
                self._release(transfer)
                self._owner.data_out_failed(command, code)
            return
        if burst.ttt > NO_TAG:
            self._gathered(transfer, burst.next)
            return
        self._solicit(transfer)
        if not transfer.bursts:
            self._release(transfer)
            self._owner.data_out_complete(command)

    def _gathered(self, transfer: DataOutTransfer, received: int) -> None:
        command = transfer.command
        del self._transfers[command.tag]
        kept = transfer.buffer is not None
        if transfer.buffer is not None:
            command.data_out = transfer.buffer[:received]
        self._budget.give_back(transfer.held)
        self._owner.gathered(command, kept=kept)

    # --- the end -----------------------------------------------------------------------------------------------

    def _release(self, transfer: DataOutTransfer) -> None:
        """Its memory goes back; the entry stays for ExpDataSN until the command ends."""
        self._budget.give_back(transfer.held)
        transfer.held = 0
        transfer.buffer = None

    def forget(self, itt: int) -> int:
        """The command has ended. What still comes for it is thrown away. Returns how many R2Ts it had."""
        transfer = self._transfers.pop(itt, None)
        if transfer is None:
            return 0
        if transfer.held:
            self._release(transfer)
        for burst in transfer.bursts:
            del self._bursts[burst.ttt]
            self._stale[burst.ttt] = None
        while len(self._stale) > _STALE_LIMIT:
            del self._stale[next(iter(self._stale))]
        return transfer.r2t_sn

    def close(self) -> None:
        """The session has ended: all memory goes back."""
        held = 0
        for transfer in self._transfers.values():
            held += transfer.held
        self._transfers.clear()
        self._bursts.clear()
        self._budget.give_back(held)
