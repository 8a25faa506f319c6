"""Personalities: kinds of a device as data, which ones are there, and one made from the answers of a unit.

A device type declares its own as an entry point of group `scsiemu.personalities`; `scsiemu personality` finds them so.
Pure: whoever captures sends the commands of a `Capture` by whatever way it has.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeAlias

from scsiemu._value import value
from scsiemu.services import Outcome

__all__ = ["Capture", "PersonalityDeclaration", "Question"]


@value
class Question:
    """A command that a unit is asked with.

    Args:
        cdb: none of them changes anything.
        data_in: bytes of Data-In to be ready for.
    """

    cdb: bytes
    data_in: int


# Yields questions, takes how they ended, returns the text of a personality's file. Raises ValueError, one sentence,
# where the unit is not of the device type or cannot be understood.
Capture: TypeAlias = Generator[Question, Outcome, str]


@value
class PersonalityDeclaration:
    """The personalities of a device type.

    Args:
        names: of those that are shipped.
        text: the file of one of them. Raises ValueError where there is none of that name.
        describe: one line for people, from the text of a file. Raises ValueError, one sentence, where that is wrong.
        capture: begin to make one; the argument is its name for people, empty for one from the answers.
    """

    names: Callable[[], tuple[str, ...]]
    text: Callable[[str], str]
    describe: Callable[[str], str]
    capture: Callable[[str], Capture]
