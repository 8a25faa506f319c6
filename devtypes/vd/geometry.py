"""The geometry of the medium, which outlives a power cycle (SBC-4 5.5, 6.5.2): block length, capacity, protection type.

MODE SELECT and FORMAT UNIT change it. With a state store it is saved before they end, together with what the disk was
made of: who starts it with another block length, protection type or store gets what they ask for. Media that come
from a shelf have the geometry of what they are kept in, and nothing is saved of them.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Generator
from typing import Any, Final

from devtypes.vd.config import DiskConfig
from devtypes.vd.provisioning import Provisioning
from scsiemu import asc
from scsiemu.command import Completion, Steps
from scsiemu.io_requests import IoRequest, LoadState, SaveState
from scsiemu.nexus import Nexus

__all__ = ["Geometry"]

# Made of: bytes of the store, block length, protection type. Now: last LBA, block length, protection type.
_RECORD: Final = struct.Struct(">QIBQIB")

_Work = Generator[IoRequest[Any], Any, None]


class Geometry(Provisioning):
    """Changes of the geometry, and its record in the state store.

    Attributes:
        next_block_size: what MODE SELECT asked the next FORMAT UNIT to use.
        next_capacity: the same with another block length, 0 for as many blocks as there is room for.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.next_block_size = self.config.block_size
        self.next_capacity = 0
        self._made = (self.config.block_size, self.config.pi_type)

    def take_config(self, wanted: DiskConfig, *, but: Nexus | None = None) -> None:
        """The medium has this geometry from now on. All nexuses `but` this one hear of what READ CAPACITY tells
        anew."""
        old = self.config
        self.config = wanted
        self.next_block_size, self.next_capacity = wanted.block_size, 0
        self.take_geometry()
        if wanted.pi_type != old.pi_type:
            self.rebuild_table()        # the 32-byte forms come and go with type 2 protection
        told = (wanted.block_size, wanted.capacity, wanted.pi_type)     # by READ CAPACITY(16)
        if told != (old.block_size, old.capacity, old.pi_type):
            self.unit.attention(asc.CAPACITY_DATA_HAS_CHANGED, but=but)
            self.allocation_changed()

    def keep_geometry(self, wanted: DiskConfig) -> _Work:
        """Save what is to be there after a power cycle."""
        if self.unit.has_state_store and not wanted.shelf:
            record = _RECORD.pack(
                wanted.store_size, *self._made, wanted.capacity - 1, wanted.block_size, wanted.pi_type
            )
            yield from SaveState(self._geometry_key, record)

    def forget_geometry(self) -> _Work:
        """The disk is again as large as its store."""
        if self.unit.has_state_store:
            yield from SaveState(self._geometry_key, None)

    def restore(self) -> Steps:
        """Power on: the geometry that was saved, where the disk is made of the same."""
        earlier = super().restore()
        if earlier is not None:
            yield from earlier
        if self.unit.has_state_store and not self.config.shelf:
            record = yield from LoadState(self._geometry_key)
            if record is not None and len(record) == _RECORD.size:
                self._restore_geometry(*_RECORD.unpack(record))
        return Completion()

    def _restore_geometry(
        self, store_size: int, made_size: int, made_pi: int, last: int, block_size: int, pi_type: int
    ) -> None:
        if (store_size, made_size, made_pi) != (self.config.store_size, *self._made):
            return
        try:
            wanted = self.config.reformatted(block_size=block_size, pi_type=pi_type, capacity=last + 1)
        except ValueError:
            return                      # of a version that knew other block lengths, or damaged
        if self._made[1] or not pi_type:
            self.take_config(wanted)

    @property
    def _geometry_key(self) -> str:
        return f"{self.unit.state_prefix}geometry"

    def with_capacity(self, capacity: int, store_size: int) -> DiskConfig:
        """The disk with another number of blocks of the same length."""
        follow = self.config.resource_blocks == self.config.capacity
        return dataclasses.replace(
            self.config, capacity=capacity, store_size=store_size,
            resource_blocks=0 if follow else self.config.resource_blocks,
        )
