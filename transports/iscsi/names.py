"""iSCSI names: their forms and their normal form (RFC 7143 4.2.7, RFC 3722).

It does NOT: the whole of the nameprep tables of RFC 3722; names of more than ASCII go through NFKC and case folding,
and what is left must be letters, digits and the marks of the form.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["MAX_NAME_LENGTH", "normalise_name"]

MAX_NAME_LENGTH: Final = 223                # 4.2.7.2, in bytes of UTF-8


def normalise_name(text: str) -> str | None:
    """The name in normal form; None for what is not an iSCSI name of the forms iqn., eui. and naa."""
    if len(text) > MAX_NAME_LENGTH:
        return None
    if _PLAIN.fullmatch(text):
        return text                         # in normal form already, as nearly all are
    name = unicodedata.normalize("NFKC", text).casefold()
    if len(name.encode()) > MAX_NAME_LENGTH:
        return None
    if name.startswith("iqn."):
        good = all(c in _MARKS or c.isalnum() for c in name) and len(name) > 4
    else:
        good = _NUMBERED.fullmatch(name) is not None
    return name if good else None


# RFC 3722 6.2 has dash, dot and colon; the underscore is not in it, but in names that are in use.
_MARKS = frozenset("-.:_")
_PLAIN = re.compile(r"iqn\.[a-z0-9.:_-]+")
_NUMBERED = re.compile(r"eui\.[0-9a-f]{16}|naa\.(?:[0-9a-f]{16}|[0-9a-f]{32})")
