"""Unit attention conditions: what is pending for one I_T nexus at one unit, and in which order (SAM-5 5.14).

A plain list of sense codes, most urgent first, so that the hot path tests its truth and nothing else.
"""

from __future__ import annotations

from typing import Final

from scsiemu import asc
from scsiemu.sam import Status
from scsiemu.sense import SenseCode, SenseKey

__all__ = ["ATTENTION_LIMIT", "PREVIOUS_STATUS", "establish_attention", "tells_reset"]

# More than this pending for one nexus tells the initiator nothing new: further ones are merged into the last.
ATTENTION_LIMIT: Final = 16

# Level of each condition that resets something (SAM-5 table 48): establishing one clears those below it, which it
# implies. All others stand behind them in order of arrival.
_LEVELS: Final[dict[SenseCode, int]] = {
    asc.POWER_ON_OCCURRED: 1,
    asc.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED: 1,
    asc.SCSI_BUS_RESET_OCCURRED: 2,
    asc.MICROCODE_HAS_BEEN_CHANGED: 3,
    asc.BUS_DEVICE_RESET_FUNCTION_OCCURRED: 4,
    asc.I_T_NEXUS_LOSS_OCCURRED: 5,
}
_LOWEST: Final = 6

# UA_INTLCK_CTRL 11b turns these statuses into a unit attention (SPC-5 7.5.10).
PREVIOUS_STATUS: Final[dict[int, SenseCode]] = {
    Status.BUSY: asc.with_key(asc.PREVIOUS_BUSY_STATUS, SenseKey.UNIT_ATTENTION),
    Status.TASK_SET_FULL: asc.with_key(asc.PREVIOUS_TASK_SET_FULL_STATUS, SenseKey.UNIT_ATTENTION),
    Status.RESERVATION_CONFLICT: asc.with_key(asc.PREVIOUS_RESERVATION_CONFLICT_STATUS, SenseKey.UNIT_ATTENTION),
}


def tells_reset(code: SenseCode) -> bool:
    """Whether a condition tells of a reset: it is reported before a reservation conflict, others are after it
    (SAM-5 5.3.3)."""
    return code in _LEVELS


def establish_attention(pending: list[SenseCode], code: SenseCode) -> bool:
    """Add a condition to those of a nexus. False where it is pending, or implied by a pending one, already."""
    level = _LEVELS.get(code, _LOWEST)
    if code in pending:
        return False
    if level < _LOWEST:
        if pending and _LEVELS.get(pending[0], _LOWEST) < level:
            return False
        pending[:] = [other for other in pending if _LEVELS.get(other, _LOWEST) == _LOWEST]
        pending.insert(0, code)
        return True
    if len(pending) >= ATTENTION_LIMIT:
        return False
    pending.append(code)
    return True
