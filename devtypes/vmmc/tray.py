"""The tray and the disc in it as a table (MMC-6 4.1.6, 6.42).

What the table cannot say: whether removal is prevented is asked before OPEN and TAKE are put in; a load that was
abandoned because the tray opened again is known by its number.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Action", "Input", "Tray", "TrayState"]


class TrayState:
    """Where tray and disc are."""

    OPEN_EMPTY: Final = "open, empty"
    OPEN_FULL: Final = "open, with a disc"
    EMPTY: Final = "closed, empty"
    LOADING: Final = "becoming ready"
    READY: Final = "ready"
    UNREADABLE: Final = "closed, the disc is unreadable"


class Input:
    """What happens to it."""

    OPEN: Final = "open"        # the tray goes out
    CLOSE: Final = "close"      # the tray goes in
    PUT: Final = "put"          # a disc comes onto the tray, or, closed, from a changer
    TAKE: Final = "take"        # the disc is taken
    LOADED: Final = "loaded"    # the disc was read in
    FAILED: Final = "failed"    # it could not be


class Action:
    """What the drive has to do."""

    NONE: Final = "none"
    LOAD: Final = "load"            # read the disc in
    ARRIVE: Final = "arrive"        # tell of a medium
    LEAVE: Final = "leave"          # let go of the medium, tell of it
    ABANDON: Final = "abandon"      # stop reading in


_TABLE: Final[dict[tuple[str, str], tuple[str, str]]] = {
    (TrayState.OPEN_EMPTY, Input.PUT): (TrayState.OPEN_FULL, Action.NONE),
    (TrayState.OPEN_EMPTY, Input.CLOSE): (TrayState.EMPTY, Action.NONE),
    (TrayState.OPEN_FULL, Input.TAKE): (TrayState.OPEN_EMPTY, Action.NONE),
    (TrayState.OPEN_FULL, Input.CLOSE): (TrayState.LOADING, Action.LOAD),
    (TrayState.EMPTY, Input.OPEN): (TrayState.OPEN_EMPTY, Action.NONE),
    (TrayState.EMPTY, Input.PUT): (TrayState.LOADING, Action.LOAD),
    (TrayState.LOADING, Input.LOADED): (TrayState.READY, Action.ARRIVE),
    (TrayState.LOADING, Input.FAILED): (TrayState.UNREADABLE, Action.ARRIVE),
    (TrayState.LOADING, Input.OPEN): (TrayState.OPEN_FULL, Action.ABANDON),
    (TrayState.LOADING, Input.TAKE): (TrayState.EMPTY, Action.ABANDON),
    (TrayState.READY, Input.OPEN): (TrayState.OPEN_FULL, Action.LEAVE),
    (TrayState.READY, Input.TAKE): (TrayState.EMPTY, Action.LEAVE),
    (TrayState.UNREADABLE, Input.OPEN): (TrayState.OPEN_FULL, Action.LEAVE),
    (TrayState.UNREADABLE, Input.TAKE): (TrayState.EMPTY, Action.LEAVE),
}


class Tray:
    """The machine. What is not in the table changes nothing."""

    def __init__(self, state: str) -> None:
        self.state = state

    def put_in(self, what: str) -> str:
        """Put in an `Input`; the `Action`."""
        self.state, action = _TABLE.get((self.state, what), (self.state, Action.NONE))
        return action

    @property
    def is_open(self) -> bool:
        """Whether the tray is out."""
        return self.state in (TrayState.OPEN_EMPTY, TrayState.OPEN_FULL)

    @property
    def has_disc(self) -> bool:
        """Whether a disc is in it, wherever it is."""
        return self.state not in (TrayState.OPEN_EMPTY, TrayState.EMPTY)
