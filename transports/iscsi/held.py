"""Requests that came before their turn: kept until the gap before them is filled (RFC 7143 4.2.2.1); and the data of
commands that came with them, and wait.

Their data counts as Data-Out buffers: who makes a gap and never fills it takes no more memory than who does not send
what an R2T asked for.
"""

from __future__ import annotations

from transports.iscsi.data_out import DataOutBudget
from transports.iscsi.pdu import Pdu, ScsiCommand

__all__ = ["HeldRequests", "KeptData"]

_MASK = 0xFFFFFFFF
_HALF = 1 << 31


class HeldRequests:
    """The requests of a session that a gap in CmdSN holds back.

    Args:
        budget: bytes of Data-Out buffers that all sessions share.

    Attributes:
        requests: by CmdSN; None for what was aborted, perhaps before it came.
    """

    __slots__ = ("_budget", "requests")

    def __init__(self, budget: DataOutBudget) -> None:
        self._budget = budget
        self.requests: dict[int, Pdu | None] = {}

    def keep(self, cmd_sn: int, pdu: Pdu) -> bool:
        """Keep a request with a copy of its data; one that is there already stays. False: there is no memory."""
        if cmd_sn not in self.requests:
            size = len(pdu.data)
            if size and not self._budget.take(size):
                return False
            pdu.data = bytes(pdu.data)
            self.requests[cmd_sn] = pdu
        return True

    def release(self, cmd_sn: int) -> Pdu | None:
        """Its turn has come: the request, None where it was aborted."""
        pdu = self.requests.pop(cmd_sn)
        self._give_back(pdu)
        return pdu

    def abort(self, cmd_sn: int) -> None:
        """The request counts as received, whether it has come or not, and nothing is done for it."""
        self._give_back(self.requests.get(cmd_sn))
        self.requests[cmd_sn] = None

    def abort_task(self, itt: int) -> bool:
        """Abort the command of that ITT; whether it is here."""
        for cmd_sn, pdu in self.requests.items():
            if isinstance(pdu, ScsiCommand) and pdu.itt == itt:
                self.abort(cmd_sn)
                return True
        return False

    def abort_commands(self, lun: int | None, before: int) -> None:
        """Abort the commands of a LUN (None: of all) that come before a CmdSN."""
        for cmd_sn, pdu in self.requests.items():
            mine = isinstance(pdu, ScsiCommand) and (lun is None or pdu.lun == lun)
            if mine and 0 < (before - cmd_sn) & _MASK < _HALF:
                self.abort(cmd_sn)

    def close(self) -> None:
        """The session has ended: all memory goes back."""
        for pdu in self.requests.values():
            self._give_back(pdu)
        self.requests.clear()

    def _give_back(self, pdu: Pdu | None) -> None:
        if pdu is not None and pdu.data:
            self._budget.give_back(len(pdu.data))


class KeptData:
    """Counts the data that came with commands of a session which have not ended.

    Args:
        budget: bytes of such data that all sessions share.

    Attributes:
        sizes: bytes by ITT.
    """

    __slots__ = ("_budget", "sizes")

    def __init__(self, budget: DataOutBudget) -> None:
        self._budget = budget
        self.sizes: dict[int, int] = {}

    def keep(self, itt: int, size: int) -> bool:
        """Count the data of a command. False: there is no memory."""
        if not self._budget.take(size):
            return False
        self.sizes[itt] = size
        return True

    def release(self, itt: int) -> None:
        """The command has ended."""
        self._budget.give_back(self.sizes.pop(itt, 0))

    def close(self) -> None:
        """The session has ended: all memory goes back."""
        self._budget.give_back(sum(self.sizes.values()))
        self.sizes.clear()
