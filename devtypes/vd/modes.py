"""The mode pages of the virtual disk, their effects, and its block descriptors (SBC-4 6.5).

A number of blocks that MODE SELECT sets is the capacity from then on. With another block length both are for the next
FORMAT UNIT; until then the medium stays as it was.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from typing import Any, ClassVar, Final

from devtypes.vd.config import BLOCK_SIZES, PI_SIZE
from devtypes.vd.maintenance import Maintenance
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.io_requests import IoRequest
from scsiemu.layout import PageLayout
from scsiemu.mode_pages import ModeHeader, ModePage, PageControl
from scsiemu.sense import CheckCondition, FieldPointer
from scsiemu.spc_mode_pages import CONTROL

__all__ = [
    "APPLICATION_TAG", "CACHING", "IO_ADVICE_HINTS_GROUPING", "LOGICAL_BLOCK_PROVISIONING", "READ_WRITE_ERROR_RECOVERY",
    "DiskModes",
]

READ_WRITE_ERROR_RECOVERY: Final = ModePage(
    0x01, 0x00, "Read-Write Error Recovery",
    PageLayout(
        "awre arre tb rc eer per dte dcr read_retry_count:8 _:24 lbpere*=1 _:7 write_retry_count:8 _:8 "
        "recovery_time_limit:16"
    ),
    standard="SBC-4 6.5.10",
)

CACHING: Final = ModePage(
    0x08, 0x00, "Caching",
    PageLayout(
        "ic abpf cap disc size wce* mf rcd demand_read_retention_priority:4 write_retention_priority:4 "
        "disable_prefetch_transfer_length:16 minimum_prefetch:16 maximum_prefetch:16 maximum_prefetch_ceiling:16 "
        "fsw lbcss dra vendor:2 sync_prog:2 nv_dis number_of_cache_segments:8 cache_segment_size:16 _:8 obsolete:24"
    ),
    standard="SBC-4 6.5.6",
)

_TAG_DESCRIPTORS: Final = 4
APPLICATION_TAG: Final = ModePage(
    0x0A, 0x02, "Application Tag",
    PageLayout(
        "_:96 " + " ".join(
            f"last_{n} _:7 _:40 application_tag_{n}:16 lba_{n}:64 count_{n}:64" for n in range(_TAG_DESCRIPTORS)
        )
    ),
    standard="SBC-4 6.5.3",
)
_TAG_FIELDS: Final = tuple(
    f"{name}_{n}" for n in range(_TAG_DESCRIPTORS) for name in ("last", "application_tag", "lba", "count")
)

# No group has hints: IO ADVICE HINTS MODE 01b in each of the 64 descriptors.
IO_ADVICE_HINTS_GROUPING: Final = ModePage(
    0x0A, 0x05, "IO Advice Hints Grouping",
    PageLayout("_:96 " + " ".join(f"io_advice_hints_mode_{n}:2=1 _:126" for n in range(64))),
    standard="SBC-4 6.5.7",
)

# Two thresholds, of available (arming on decrease) and of used resources (on increase); type 000b, soft.
LOGICAL_BLOCK_PROVISIONING: Final = ModePage(
    0x1C, 0x02, "Logical Block Provisioning",
    PageLayout(
        "_:7 situa* _:88 "
        "enabled_0* _ type_0:3 arming_0:3=1 resource_0:8=1 _:16 count_0*:32 "
        "enabled_1* _ type_1:3 arming_1:3=2 resource_1:8=2 _:16 count_1*:32"
    ),
    standard="SBC-4 6.5.9",
)

_SHORT: Final = struct.Struct(">II")
_LONG: Final = struct.Struct(">Q4xI")
_WRITE_PROTECTED: Final = 0x80
_DPOFUA: Final = 0x10
_AVAILABLE: Final = 0
_USED: Final = 1


class DiskModes(Maintenance):
    """Mode pages and block descriptors.

    Attributes:
        used: blocks that were mapped when it was last counted.
    """

    read_only_parameter: ClassVar[int] = _WRITE_PROTECTED

    def __init__(self, *args: Any, **options: Any) -> None:
        self.used = 0
        self._reached = [False, False]
        self._counting = False
        self._count_again = False
        super().__init__(*args, **options)

    def mode_page_declarations(self) -> list[ModePage]:
        protected = self.config.pi_type != 0
        pages = super().mode_page_declarations()
        if protected:
            layout = CONTROL.layout
            names = [
                field.name for field in layout.fields
                if field.name != "_" and _overlaps(layout.mask(field.name), layout.changeable)
            ]
            changeable = CONTROL.with_changeable(*names, "ato", "atmpe")
            pages = [changeable if page.key == CONTROL.key else page for page in pages]
        pages += [
            READ_WRITE_ERROR_RECOVERY,
            CACHING.with_defaults(wce=int(self.config.write_cache)),
            APPLICATION_TAG.with_changeable(*_TAG_FIELDS) if protected else APPLICATION_TAG,
            IO_ADVICE_HINTS_GROUPING,
        ]
        if self.config.thin:
            pages.append(LOGICAL_BLOCK_PROVISIONING)
        return pages

    def mode_page_changed(self, page: ModePage, fields: CdbFields) -> None:
        super().mode_page_changed(page, fields)
        if page.key == CACHING.key:
            self._set_write_cache(bool(fields.wce))
        elif page.key == LOGICAL_BLOCK_PROVISIONING.key:
            self._reached = [False, False]
            self.threshold_armed = bool(fields.enabled_0 or fields.enabled_1)
            if self.threshold_armed:
                self.allocation_changed()
        self.refresh()

    def _set_write_cache(self, enabled: bool) -> None:
        """SBC-4 6.5.6: switching the cache off brings what it holds to the medium."""
        flush = self.write_cache and not enabled and hasattr(self, "unit")
        self.write_cache = enabled
        if flush:
            self.unit.start_background(self.flush_steps(), "write cache disabled")

    # --- header and block descriptors --------------------------------------------------------------------------

    @property
    def device_specific_parameter(self) -> int:
        protected = self.config.write_protect or self.control.swp
        return (_WRITE_PROTECTED if protected else 0) | _DPOFUA

    def block_descriptors(self, *, control: int, long: bool) -> bytes:
        """One block descriptor (SBC-4 6.5.2). The default is as many blocks as there is room for."""
        if control == PageControl.CHANGEABLE:
            return _LONG.pack((1 << 64) - 1, 0xFFFFFFFF) if long else _SHORT.pack(0xFFFFFFFF, 0xFFFFFF)
        size, blocks = self.block_size, self.blocks
        if control == PageControl.CURRENT:
            size, blocks = self._told()
        elif control == PageControl.DEFAULT:
            blocks = self.config.max_capacity
        if long:
            return _LONG.pack(min(blocks, (1 << 64) - 1), size)
        return _SHORT.pack(min(blocks, 0xFFFFFFFF), size)

    def check_mode_header(self, header: ModeHeader) -> bool:
        if not header.block_descriptors:
            return False
        changes = self._descriptor(header) != self._told()
        if changes and not self.present:
            raise CheckCondition(asc.MEDIUM_NOT_PRESENT)
        return changes

    def keep_mode_header(self, header: ModeHeader) -> Generator[IoRequest[Any], Any, None]:
        """SBC-4 6.5.2: a capacity is retained, whatever SP says."""
        size, blocks = self._descriptor(header)
        if size == self.block_size and blocks != self.blocks:
            yield from self.keep_geometry(self.with_capacity(blocks, self.config.store_size))

    def apply_mode_header(self, header: ModeHeader, command: Command) -> None:
        size, blocks = self._descriptor(header)
        self.next_block_size, self.next_capacity = size, 0
        if size != self.block_size:
            self.next_capacity = blocks if blocks < self._room(size) else 0
        elif blocks != self.blocks:
            self.take_config(self.with_capacity(blocks, self.config.store_size), but=command.nexus)

    def _told(self) -> tuple[int, int]:
        """Block length and number of blocks that MODE SENSE tells: those of the next FORMAT UNIT."""
        size = self.next_block_size
        return size, self.blocks if size == self.block_size else self.next_capacity or self._room(size)

    def _room(self, size: int) -> int:
        return self.config.store_size // (size + (PI_SIZE if self.config.pi_type else 0))

    def _descriptor(self, header: ModeHeader) -> tuple[int, int]:
        """Block length and number of blocks that a MODE SELECT wants, zero and all ones resolved (SBC-4 6.5.2)."""
        data = header.block_descriptors
        if len(data) != (16 if header.long else 8):
            raise _invalid(header.offset)
        if header.long:
            blocks, size = _LONG.unpack(data)
            at = header.offset + 12
            everything = (1 << 64) - 1
        else:
            blocks, size = _SHORT.unpack(data)
            at = header.offset + 5
            everything = 0xFFFFFFFF
        if size not in BLOCK_SIZES:
            raise _invalid(at)
        room = self._room(size)
        if blocks == everything or (not blocks and size != self.block_size):
            return size, room
        if blocks > room:
            raise _invalid(header.offset)
        return size, blocks or self.blocks

    # --- protection --------------------------------------------------------------------------------------------

    @property
    def application_tag_owner(self) -> bool:
        return bool(self.mode_pages.fields(0x0A).ato)

    def known_application_tag(self, lba: int, blocks: int) -> int | None:
        """With ATO and ATMPE: the tag of the descriptor whose range has all these blocks (SBC-4 6.5.3)."""
        control = self.mode_pages.fields(0x0A)
        if not (control.ato and control.atmpe):
            return None
        fields = dict(self.mode_pages.fields(0x0A, 0x02).items())
        for n in range(_TAG_DESCRIPTORS):
            first, count = fields[f"lba_{n}"], fields[f"count_{n}"]
            if first <= lba and lba + blocks <= first + count:
                return fields[f"application_tag_{n}"]
            if fields[f"last_{n}"]:
                break
        return None

    # --- thresholds --------------------------------------------------------------------------------------------

    @property
    def threshold_exponent(self) -> int:
        """A threshold set is 2 to this many blocks: counts of it fit 32 bits (SBC-4 6.6.7)."""
        return max(11, self.config.resource_blocks.bit_length() - 32)

    def allocation_changed(self) -> None:
        """Count again what is used, in the background, where a threshold is armed."""
        if not self.threshold_armed or not hasattr(self, "unit"):
            return
        if self._counting:
            self._count_again = True
            return
        self._counting = True
        self.unit.start_background(self._count_steps(), "provisioning threshold")

    def _count_steps(self) -> Steps:
        try:
            while True:
                self._count_again = False
                self.used = yield from self.used_blocks()
                self._compare_thresholds()
                if not self._count_again:
                    return Completion()
        finally:
            self._counting = False

    def _compare_thresholds(self) -> None:
        """A unit attention for each threshold when it is reached, and not again before it was left (SBC-4 4.7.3.7)."""
        page = self.mode_pages.fields(0x1C, 0x02)
        sets = self.resource_sets()
        now = [
            bool(page.enabled_0) and sets[_AVAILABLE] <= page.count_0,
            bool(page.enabled_1) and sets[_USED] >= page.count_1,
        ]
        fresh = any(reached and not before for reached, before in zip(now, self._reached, strict=True))
        self._reached = now
        if not fresh or not self.mode_pages.fields(0x01).lbpere:
            return
        states = list(self.unit.nexus_states)
        only = states[0] if page.situa and states else None
        self.unit.attention(asc.THIN_PROVISIONING_SOFT_THRESHOLD_REACHED, only=only)

    def resource_sets(self) -> tuple[int, int]:
        """Available and used LBA mapping resources, in threshold sets, as last counted."""
        exponent = self.threshold_exponent
        free = max(self.config.resource_blocks - self.used, 0)
        return free >> exponent, -(-self.used >> exponent)


def _overlaps(one: bytes, other: bytes) -> bool:
    return bool(int.from_bytes(one, "big") & int.from_bytes(other, "big"))


def _invalid(byte: int) -> CheckCondition:
    pointer = FieldPointer(byte, in_cdb=False)
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)
