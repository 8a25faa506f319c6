"""A tape as a list, and what SSC-5 says that a drive answers: from the standard, to be compared with the drive.

Nothing of the drive is used here. What it knows of the medium is in docs/tape-format.md: a record takes 88 bytes and
its data, and blocks leave room for 16 filemarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Answer", "Contents", "TapeModel"]

_RECORD: Final = 88
_MARKS_ROOM: Final = 16 * _RECORD

# Bytes are a block, None is a filemark.
Contents = tuple[bytes | None, ...]

_GOOD: Final = (0, 0, 0)
_MARK: Final = (0x0, 0x00, 0x01)
_END_OF_PARTITION: Final = (0x0, 0x00, 0x02)
_BEGINNING: Final = (0x0, 0x00, 0x04)
_END_OF_DATA: Final = (0x8, 0x00, 0x05)
_LENGTH: Final = (0x0, 0x00, 0x00)
_OVERFLOW: Final = (0xD, 0x00, 0x02)
_INVALID: Final = (0x5, 0x24, 0x00)
_PAST_BEGINNING: Final = (0x5, 0x3B, 0x0C)


@dataclass(frozen=True)
class Answer:
    """How a command ends: GOOD, or with sense key, ASC and ASCQ, INFORMATION (None where it is not VALID or not
    defined), the bits, and Data-In."""

    good: bool = True
    code: tuple[int, int, int] = _GOOD
    information: int | None = None
    bits: str = ""
    data: bytes = b""


def _refusal(code: tuple[int, int, int], information: int | None = None, bits: str = "", data: bytes = b"") -> Answer:
    return Answer(good=False, code=code, information=information, bits=bits, data=data)


class TapeModel:
    """A tape and where it stands.

    Attributes:
        tape: contents of each partition.
        sizes: bytes of each partition.
        partition, at: the position; `at` counts blocks and filemarks.
        block_length, buffered: mode parameters.
        possible: for each partition, what may be found there after a cut of power now.
    """

    def __init__(self, capacity: int, early_warning: int) -> None:
        self.capacity = capacity
        self.early_warning = early_warning
        self.block_length = 0
        self.buffered = True
        self.formatted((capacity,))

    def formatted(self, sizes: tuple[int, ...]) -> None:
        """The partitions are new and empty."""
        self.sizes = sizes
        self.tape: list[Contents] = [()] * len(sizes)
        self.partition = self.at = 0
        self.synced()

    # --- what is there -----------------------------------------------------------------------------------------

    @property
    def here(self) -> Contents:
        """The partition that the tape stands in."""
        return self.tape[self.partition]

    @property
    def marks(self) -> int:
        """The logical file identifier of the position."""
        return self.here[: self.at].count(None)

    @property
    def room(self) -> int:
        """Bytes to the end of the partition."""
        used = sum(_RECORD + len(each or b"") for each in self.here[: self.at])
        return self.sizes[self.partition] - used

    @property
    def warned(self) -> bool:
        """Beyond early warning."""
        return self.room < self.early_warning

    def synced(self) -> None:
        """Everything is on the medium."""
        self.possible: list[set[Contents]] = [{contents} for contents in self.tape]

    def _replace(self, contents: Contents) -> None:
        """The partition has become this; every step on the way may be found after a cut."""
        possible = self.possible[self.partition]
        possible.update(contents[:length] for length in range(self.at, len(contents) + 1))
        self.tape[self.partition] = contents

    def lost_power(self, found: list[Contents]) -> None:
        """What was read after a cut is there now; the mode parameters are the default ones."""
        self.tape = found
        self.partition = self.at = 0
        self.block_length, self.buffered = 0, True
        self.synced()

    def _end_of_data(self, information: int | None, data: bytes = b"") -> Answer:
        return _refusal(_END_OF_DATA, information, "E" if self.warned else "", data)

    # --- writing -----------------------------------------------------------------------------------------------

    def write(self, blocks: list[bytes], *, fixed: bool) -> Answer:
        """WRITE of blocks, or of none."""
        if fixed and not self.block_length:
            return _refusal(_INVALID)
        if not blocks:
            return Answer()
        room, fitting = self.room, 0
        for block in blocks:
            if _RECORD + len(block) + _MARKS_ROOM > room:
                break
            room -= _RECORD + len(block)
            fitting += 1
        if fitting:
            self._replace((*self.here[: self.at], *blocks[:fitting]))
            self.at += fitting
            if not self.buffered:
                self.synced()
        if fitting < len(blocks):
            self.synced()
            left = len(blocks) - fitting
            return _refusal(_OVERFLOW, left if fixed else left * len(blocks[0]), "E")
        return self._written()

    def write_marks(self, count: int, *, immediate: bool) -> Answer:
        """WRITE FILEMARKS."""
        if immediate and not self.buffered:
            return _refusal(_INVALID)
        fitting = min(count, self.room // _RECORD)
        if fitting:
            self._replace((*self.here[: self.at], *(None,) * fitting))
            self.at += fitting
        if not immediate:
            self.synced()
        if fitting < count:
            return _refusal(_OVERFLOW, count - fitting, "E")
        return self._written() if count else Answer()

    def _written(self) -> Answer:
        if self.warned:
            self.synced()
            return _refusal(_END_OF_PARTITION, 0, "E")
        return Answer()

    def erase(self) -> Answer:
        """ERASE: end of data is here."""
        self._replace(self.here[: self.at])
        self.synced()
        return Answer()

    def format(self, sizes: tuple[int, ...]) -> Answer:
        """FORMAT MEDIUM to partitions of these sizes."""
        if (self.partition, self.at) != (0, 0):
            return _refusal(_PAST_BEGINNING)
        self.formatted(sizes)
        return Answer()

    # --- reading -----------------------------------------------------------------------------------------------

    def read(self, count: int, *, fixed: bool, quiet: bool = False, reverse: bool = False, data: bool = True) -> Answer:
        """READ, READ REVERSE with BYTORD, and VERIFY, of blocks or of one block of `count` bytes."""
        if fixed and (quiet or not self.block_length):
            return _refusal(_INVALID)
        got = b""
        wanted = count if fixed else min(count, 1)
        for done in range(wanted):
            left = count - done if fixed else count
            here = self.here
            if reverse and self.at == 0:
                return _refusal(_BEGINNING, left, "E", got)
            if not reverse and self.at == len(here):
                return self._end_of_data(left, got)
            block = here[self.at - 1 if reverse else self.at]
            self.at += -1 if reverse else 1
            if block is None:
                return _refusal(_MARK, left, "F", got)
            length = self.block_length if fixed else count
            if not fixed:
                got = block[:count] if data else b""
            if len(block) != length:
                told = not quiet or (len(block) > length and self.block_length > 0)
                if told:
                    return _refusal(_LENGTH, left if fixed else count - len(block), "I", got)
            elif fixed and data:
                got += block
        return Answer(data=got)

    def verify_marks(self, count: int) -> Answer:
        """VERIFY with VBF."""
        while count:
            if self.at == len(self.here):
                return self._end_of_data(count)
            count -= self.here[self.at] is None
            self.at += 1
        return Answer()

    # --- moving ------------------------------------------------------------------------------------------------

    def space_blocks(self, count: int) -> Answer:
        """SPACE over blocks."""
        self.synced()
        step = 1 if count > 0 else -1
        for left in range(abs(count), 0, -1):
            if step > 0 and self.at == len(self.here):
                return self._end_of_data(left)
            if step < 0 and self.at == 0:
                return _refusal(_BEGINNING, left, "E")
            block = self.here[self.at if step > 0 else self.at - 1]
            self.at += step
            if block is None:
                return _refusal(_MARK, left, "F")
        return Answer()

    def space_marks(self, count: int) -> Answer:
        """SPACE over filemarks."""
        self.synced()
        step = 1 if count > 0 else -1
        left = abs(count)
        while left:
            if step > 0 and self.at == len(self.here):
                return self._end_of_data(left)
            if step < 0 and self.at == 0:
                return _refusal(_BEGINNING, left, "E")
            left -= self.here[self.at if step > 0 else self.at - 1] is None
            self.at += step
        return Answer()

    def space_sequential(self, count: int) -> Answer:
        """SPACE over so many filemarks in a row. What INFORMATION says where there are none is not defined."""
        self.synced()
        step = 1 if count > 0 else -1
        run = 0
        while run < abs(count):
            if step > 0 and self.at == len(self.here):
                return self._end_of_data(None)
            if step < 0 and self.at == 0:
                return _refusal(_BEGINNING, None, "E")
            run = run + 1 if self.here[self.at if step > 0 else self.at - 1] is None else 0
            self.at += step
        return Answer()

    def space_end(self) -> Answer:
        """SPACE to the end of data."""
        self.synced()
        self.at = len(self.here)
        return Answer()

    def locate(self, partition: int, number: int) -> Answer:
        """LOCATE a logical object."""
        if partition >= len(self.tape):
            return _refusal(_INVALID)
        self.synced()
        self.partition, self.at = partition, min(number, len(self.tape[partition]))
        return Answer() if self.at == number else self._end_of_data(None)

    def locate_file(self, partition: int, number: int) -> Answer:
        """LOCATE the beginning of a logical file."""
        if partition >= len(self.tape):
            return _refusal(_INVALID)
        self.synced()
        self.partition, self.at = partition, 0
        while self.marks < number:
            if self.at == len(self.here):
                return self._end_of_data(None)
            self.at += 1
        return Answer()

    def address(self, partition: int, number: int) -> Answer:
        """Explicit addressing: as LOCATE, where the tape is not there already."""
        if (partition, number) == (self.partition, self.at):
            return Answer()
        return self.locate(partition, number)

    def rewind(self) -> Answer:
        """REWIND."""
        self.synced()
        self.at = 0
        return Answer()

    def reload(self) -> None:
        """Unloaded and loaded."""
        self.synced()
        self.partition = self.at = 0
