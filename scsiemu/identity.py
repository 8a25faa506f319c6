"""Who a logical unit says it is: the names of INQUIRY and of the device identification VPD page (SPC-5 6.6,
7.7.6).

Deterministic: the same target name and LUN give the same names, so that they are the same after a restart and
differ between units. Each may be given instead.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from scsiemu._value import value

__all__ = ["LOCALLY_ASSIGNED", "Identity", "derive"]

# NAA 3h: locally assigned (SPC-5 7.7.6.6.4). Nobody gave this project an IEEE company id, so NAA 6h is not
# made up.
LOCALLY_ASSIGNED: Final = 0x3


@value
class Identity:
    """The names of a unit. Empty means: derived from the target name and the LUN when the unit is attached.

    Args:
        vendor: T10 VENDOR IDENTIFICATION, up to 8 printable ASCII characters.
        product: PRODUCT IDENTIFICATION, up to 16.
        revision: PRODUCT REVISION LEVEL, up to 4.
        serial: PRODUCT SERIAL NUMBER, up to 252.
        naa: NAA designator, 8 bytes, or 16 for NAA 6h.
        eui64: EUI-64 based designator of 8, 12 or 16 bytes; empty leaves it out.
    """

    vendor: str = "SCSIEMU"
    product: str = ""
    revision: str = "0001"
    serial: str = ""
    naa: bytes = b""
    eui64: bytes = b""

    def __post_init__(self) -> None:
        for name, limit in (("vendor", 8), ("product", 16), ("revision", 4), ("serial", 252)):
            text = getattr(self, name)
            # SPC-5 4.3.1: left-aligned ASCII data of the codes 20h to 7Eh.
            if len(text) > limit or not all(" " <= letter <= "~" for letter in text):
                raise ValueError(f"{name} {text!r}: at most {limit} printable ASCII characters")
        if len(self.naa) not in (0, 8, 16) or len(self.eui64) not in (0, 8, 12, 16):
            raise ValueError("naa has 8 or 16 bytes, eui64 8, 12 or 16")
        if self.naa and (self.naa[0] >> 4 == 6) != (len(self.naa) == 16):
            raise ValueError("an NAA designator of 16 bytes is NAA 6h, one of 8 bytes is not")


def derive(identity: Identity, target_name: str, lun: int, *, product: str) -> Identity:
    """The identity with what is empty filled in.

    Args:
        identity: as the user gave it.
        target_name: name of the target device, for example an iqn.
        lun: of the unit, 64-bit form.
        product: PRODUCT IDENTIFICATION of the device type.
    """
    digest = _digest(b"scsiemu\0" + target_name.encode() + b"\0" + lun.to_bytes(8, "big"))
    serial = identity.serial or digest[:8].hex().upper()
    if identity.serial:
        # A serial number given by the user moves with the unit, to another LUN or target.
        seed = f"{identity.vendor}\0{identity.product or product}\0{identity.serial}"
        digest = _digest(b"scsiemu serial\0" + seed.encode())
    naa = identity.naa or bytes((LOCALLY_ASSIGNED << 4 | digest[8] & 0xF,)) + digest[9:16]
    return dataclasses.replace(identity, product=identity.product or product, serial=serial, naa=naa)


def _digest(name: bytes) -> bytes:
    """16 bytes that differ where names do: FNV-1a, 128 bits. (hashlib brings OpenSSL, 4 MiB: for this alone.)"""
    value = 0x6C62272E07BB014262B821756295C58D
    for byte in name:
        value = (value ^ byte) * 0x1000000000000000000013B & (1 << 128) - 1
    return value.to_bytes(16, "big")
