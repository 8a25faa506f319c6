"""Layouts of parameter data, in the text form of `cdb` with two more marks: what may be changed, and
defaults.

    CONTROL = PageLayout("tst*:3 tmf_only dpicz* d_sense* gltsd=1 rlec ...")

`name*` is a field that MODE SELECT may change, `name:width=value` has a default other than zero. The rest is
as in `CdbLayout`: `_` for reserved bits, most significant bit first.
"""

from __future__ import annotations

from scsiemu.cdb import CdbLayout

__all__ = ["PageLayout"]


class PageLayout(CdbLayout):
    """The layout of a page without its header.

    Args:
        text: see the module's docstring. Its bits must fill whole bytes.

    Attributes:
        defaults: the bytes of the page by default.
        changeable: a one in each bit that may be changed.
    """

    def __init__(self, text: str) -> None:
        words = []
        defaults: dict[str, int] = {}
        changeable: list[str] = []
        for word in text.split():
            head, _, default = word.partition("=")
            name, colon, width = head.partition(":")
            if name.endswith("*"):
                name = name[:-1]
                changeable.append(name)
            if default:
                defaults[name] = int(default, 0)
            words.append(f"{name}{colon}{width}")
        super().__init__(" ".join(words))
        self.defaults = self.build(**defaults)
        self.changeable = self.mask(*changeable)

    def mask(self, *names: str) -> bytes:
        """Ones in the bits of these fields. Raises KeyError."""
        number = 0
        for name in names:
            field = self.field(name)
            number |= ((1 << field.width) - 1) << (self.length * 8 - field.start - field.width)
        return number.to_bytes(self.length, "big")

    def replace(self, data: bytes, **values: int) -> bytes:
        """`data` with these fields set to these values. Raises ValueError for a value that does not fit."""
        keep = ~int.from_bytes(self.mask(*values), "big") & (1 << self.length * 8) - 1
        number = int.from_bytes(data, "big") & keep | int.from_bytes(self.build(**values), "big")
        return number.to_bytes(self.length, "big")
