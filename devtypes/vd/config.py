"""What a virtual disk is made of: its geometry, limits and options, checked once (SBC-4 4.5, 6.6.4).

The layout in the store: logical block `lba` is `block_size` bytes at `lba * block_size`; behind the last one that there
is room for, at `max_capacity * block_size`, comes the protection information, 8 bytes for each block in order, wherever
the capacity ends. It is kept inverted, so that ranges that were never written or are deallocated (zeros) read as FFh
bytes, which SBC-4 4.21 asks for.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from scsiemu._value import value
from scsiemu.io_requests import StoreCapabilities

__all__ = ["BLOCK_SIZES", "PI_SIZE", "DiskConfig"]

BLOCK_SIZES: Final = (512, 520, 528, 4096, 4160)
PI_SIZE: Final = 8                      # protection information of a block (SBC-4 4.21.3)

_MAX_LBA_COUNT: Final = 1 << 64
_DEFAULT_TRANSFER: Final = 8 << 20      # bytes


@value
class DiskConfig:
    """A virtual disk. Lengths and counts are in logical blocks unless said otherwise; 0 limits take the default.

    Args:
        capacity: number of logical blocks.
        block_size: bytes, one of `BLOCK_SIZES`.
        physical_exponent: LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT.
        lowest_aligned: LOWEST ALIGNED LOGICAL BLOCK ADDRESS.
        thin: thin provisioned: LBPME, UNMAP; else fully provisioned without logical block provisioning management.
        promises_zeros: LBPRZ 001b: initiators may rely on unmapped blocks reading as zeros (which they always do).
        pi_type: protection type 0 (none) to 3.
        write_protect: by the operator or because the store is read-only.
        removable: the medium can be changed.
        rotation_rate: MEDIUM ROTATION RATE: 1 for non-rotating, else rpm from 401 on.
        write_cache: WCE by default.
        stoppable: START STOP UNIT with START zero makes the unit not ready. None: unless it is removable, which
            then behaves like a memory card, without a spindle.
        max_transfer: MAXIMUM TRANSFER LENGTH; default 8 MiB.
        max_compare: MAXIMUM COMPARE AND WRITE LENGTH, up to 255, and no more than `max_transfer`.
        max_unmap_blocks, max_unmap_descriptors: for each UNMAP.
        unmap_granularity: OPTIMAL UNMAP GRANULARITY.
        max_write_same: MAXIMUM WRITE SAME LENGTH; default 65535.
        max_atomic: MAXIMUM ATOMIC TRANSFER LENGTH.
        atomic_alignment, atomic_granularity: 0 for none.
        max_streams: MAXIMUM NUMBER OF STREAMS.
        sanitize_seconds: an overwriting SANITIZE takes at least so long, as on a real medium, where initiators see
            its progress; erasing is quick there too.
        format_seconds: FORMAT UNIT takes at least so long.
        resource_blocks: what a thin disk may allocate, for the provisioning log page and thresholds; 0 is the capacity.
        store_size: bytes of the store; 0 is exactly what the blocks need. FORMAT UNIT with another block size
            uses as much as fits.
        medium_serial: MEDIA SERIAL NUMBER of removable media.
        shelf: media come and go by name (`scsiemu.media`); each is as large as what it is kept in.
    """

    capacity: int
    block_size: int = 512
    physical_exponent: int = 0
    lowest_aligned: int = 0
    thin: bool = True
    promises_zeros: bool = True
    pi_type: int = 0
    write_protect: bool = False
    removable: bool = False
    rotation_rate: int = 1
    write_cache: bool = True
    stoppable: bool | None = None
    max_transfer: int = 0
    max_compare: int = 255
    max_unmap_blocks: int = 0xFFFFFFFF
    max_unmap_descriptors: int = 4095
    unmap_granularity: int = 0
    max_write_same: int = 0
    max_atomic: int = 0
    atomic_alignment: int = 0
    atomic_granularity: int = 0
    max_streams: int = 16
    sanitize_seconds: float = 0.0
    format_seconds: float = 0.0
    resource_blocks: int = 0
    store_size: int = 0
    medium_serial: str = ""
    shelf: bool = False

    def __post_init__(self) -> None:
        def require(condition: bool, text: str) -> None:
            if not condition:
                raise ValueError(text)

        require(self.block_size in BLOCK_SIZES, f"block size {self.block_size}: one of {BLOCK_SIZES}")
        require(0 < self.capacity <= _MAX_LBA_COUNT, f"capacity {self.capacity}: 1 to 2^64 blocks")
        require(self.removable or not self.shelf, "media of a shelf are removable")
        require(0 <= self.pi_type <= 3, f"protection type {self.pi_type}: 0 to 3")
        require(0 <= self.physical_exponent <= 15, "physical block exponent: 0 to 15")
        require(0 <= self.lowest_aligned < 1 << 14, "lowest aligned LBA: 14 bits")
        rate = self.rotation_rate
        require(rate in (0, 1) or 0x401 <= rate <= 0xFFFE, "rotation rate: 0, 1 or 1025 to 65534")
        require(1 <= self.max_compare <= 255, "maximum COMPARE AND WRITE length: 1 to 255 blocks")
        require(0 < self.max_unmap_blocks <= 0xFFFFFFFF, "maximum unmap LBA count: 32 bits")
        # An UNMAP parameter list has at most 65535 bytes: 8 and 16 for each descriptor (SBC-4 5.37.2).
        require(0 < self.max_unmap_descriptors <= 4095, "maximum unmap descriptor count: 1 to 4095")
        require(0 <= self.max_transfer <= 0xFFFFFFFF, "maximum transfer length: 32 bits")
        fill = {
            "max_transfer": self.max_transfer or _DEFAULT_TRANSFER // self.block_size,
            "unmap_granularity": self.unmap_granularity or 1 << self.physical_exponent,
            "max_write_same": self.max_write_same or 0xFFFF,
            "resource_blocks": self.resource_blocks or self.capacity,
            "stoppable": not self.removable if self.stoppable is None else self.stoppable,
        }
        # SBC-4 6.6.4: neither is more than MAXIMUM TRANSFER LENGTH.
        fill["max_atomic"] = min(self.max_atomic or 0xFFFF, 0xFFFF, int(fill["max_transfer"]))
        fill["max_compare"] = min(self.max_compare, int(fill["max_transfer"]))
        needed = self.capacity * (self.block_size + (PI_SIZE if self.pi_type else 0))
        require(self.store_size == 0 or needed <= self.store_size, "the store is smaller than the blocks need")
        fill["store_size"] = self.store_size or needed
        for name, filled in fill.items():
            object.__setattr__(self, name, filled)  # a frozen value, not yet seen by anyone

    @classmethod
    def for_store(cls, store: StoreCapabilities, **options: Any) -> DiskConfig:
        """A disk as large as its store allows.

        Args:
            store: whose size decides the capacity, unless `capacity` is among the options.
            options: the arguments of the class.
        """
        room = _room(store.size, options.get("block_size", 512), options.get("pi_type", 0))
        options.setdefault("capacity", room)
        options["write_protect"] = options.get("write_protect", False) or store.read_only
        return cls(store_size=store.size, **options)

    def on_medium(self, store: StoreCapabilities, *, write_protect: bool) -> DiskConfig:
        """The disk with another medium in it. Raises ValueError for one without a block."""
        return dataclasses.replace(
            self, capacity=_room(store.size, self.block_size, self.pi_type), store_size=store.size, resource_blocks=0,
            write_protect=write_protect or store.read_only,
        )

    @property
    def blocks_per_physical(self) -> int:
        """Logical blocks in a physical block."""
        return 1 << self.physical_exponent

    @property
    def max_capacity(self) -> int:
        """Logical blocks that the store has room for, with their protection information."""
        return _room(self.store_size, self.block_size, self.pi_type)

    @property
    def pi_offset(self) -> int:
        """Where in the store the protection information begins: a change of the capacity does not move it."""
        return self.max_capacity * self.block_size

    def reformatted(self, *, block_size: int, pi_type: int, capacity: int = 0) -> DiskConfig:
        """The disk after FORMAT UNIT; limits that were given in blocks keep their size in bytes where it matters.
        Without `capacity` one that was set lower than the maximum stays as it is while the block size does.

        Raises ValueError for a block size that there is not, or more blocks than the store has room for.
        """
        if block_size not in BLOCK_SIZES:
            raise ValueError(f"block size {block_size}: one of {BLOCK_SIZES}")
        room = _room(self.store_size, block_size, pi_type)
        lowered = block_size == self.block_size and self.capacity < self.max_capacity
        blocks = capacity or (min(self.capacity, room) if lowered else room)
        return dataclasses.replace(
            self, block_size=block_size, pi_type=pi_type, capacity=blocks,
            max_transfer=self.max_transfer * self.block_size // block_size, max_atomic=0, resource_blocks=0,
        )


def _room(size: int, block_size: int, pi_type: int) -> int:
    """How many blocks fit in so many bytes."""
    return min(size // (block_size + (PI_SIZE if pi_type else 0)), _MAX_LBA_COUNT)
