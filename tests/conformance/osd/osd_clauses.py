"""Clauses of the OSD cases: commands and topics by their titles, with numbers where we could check them.

Numbers of OSD are those of revision 10 of its draft, numbers of OSD-2 those of revision 3 (of another where it says
so): drafts that public sources quote. Where a number follows from two that are quoted (commands are in alphabetical
order) it is given; where nothing fixes it there is none. Titles are the same in all revisions.
"""

from __future__ import annotations

from typing import Final

import pytest
from conformance import clause

__all__ = ["COMMANDS", "TOPICS", "about", "of"]

# Title: clause of OSD r10, clause of OSD-2 r03. None: the version lacks it. "": nothing tells the number.
COMMANDS: Final[dict[str, tuple[str | None, str | None]]] = {
    "APPEND": ("6.2", "6.2"),
    "CLEAR": (None, "6.3"),
    "COPY USER OBJECTS": (None, "r04 6.4"),
    "CREATE": ("6.3", "6.4"),
    "CREATE AND WRITE": ("6.4", "6.5"),
    "CREATE CLONE": (None, ""),
    "CREATE COLLECTION": ("6.5", "6.6"),
    "CREATE PARTITION": ("6.6", "6.7"),
    "CREATE SNAPSHOT": (None, ""),
    "CREATE USER TRACKING COLLECTION": (None, ""),
    "DETACH CLONE": (None, ""),
    "FLUSH": ("6.7", "6.8"),
    "FLUSH COLLECTION": ("6.8", "6.9"),
    "FLUSH OSD": ("6.9", "6.10"),
    "FLUSH PARTITION": ("6.10", "6.11"),
    "FORMAT OSD": ("6.11", "6.12"),
    "GET ATTRIBUTES": ("6.12", "6.13"),
    "GET MEMBER ATTRIBUTES": (None, "6.14"),
    "LIST": ("6.13", "6.15"),
    "LIST COLLECTION": ("6.14", "6.16"),
    "OBJECT STRUCTURE CHECK": (None, ""),
    "PERFORM SCSI COMMAND": ("6.15", ""),
    "PERFORM TASK MANAGEMENT FUNCTION": ("6.16", ""),
    "PUNCH": (None, ""),
    "QUERY": (None, ""),
    "READ": ("6.17", "6.21"),
    "READ MAP": (None, "6.22"),
    "READ MAPS AND COMPARE": (None, ""),
    "REFRESH SNAPSHOT OR CLONE": (None, ""),
    "REMOVE": ("6.18", ""),
    "REMOVE COLLECTION": ("6.19", ""),
    "REMOVE MEMBER OBJECTS": (None, ""),
    "REMOVE PARTITION": ("6.20", ""),
    "RESTORE PARTITION FROM SNAPSHOT": (None, ""),
    "SET ATTRIBUTES": ("6.21", ""),
    "SET KEY": ("6.22", ""),
    "SET MASTER KEY": ("6.23", ""),
    "SET MEMBER ATTRIBUTES": (None, ""),
    "WRITE": ("6.24", ""),
}

TOPICS: Final[dict[str, tuple[str | None, str | None]]] = {
    "attributes pages": ("4.7.3", ""),
    "attributes lists": ("", "7.1.3"),
    "attributes access page": (None, "r05 7.1.3.19"),
    "caching control bits": ("5.2.4", "5.2.3"),
    "capability format": ("4.9.2.2", "4.11.2.2"),
    "CDB continuation": (None, "r05 5.2.5"),
    "collections attributes page": ("7.1.2.19", ""),
    "current command attributes page": ("", ""),
    "Data-In and Data-Out buffer offsets": ("4.12.5", "4.14.5"),
    "directory page": ("", ""),
    "get and set attributes parameters": ("5.2.2.1", "5.2.4.1"),
    "information pages": ("7.1.2.8 to 7.1.2.11", ""),
    "isolation": (None, "5.2.5"),
    "multi-object retrieved attributes": (None, "7.1.3.4"),
    "object ids": ("", "r04 4.6"),
    "policy/security pages": ("7.1.2.20 to 7.1.2.23", ""),
    "quotas pages": ("7.1.2.12 to 7.1.2.14", ""),
    "security methods": ("", "4.12.4"),
    "the ALLDATA security method": ("", "4.12.4.5"),
    "security parameters": ("", "5.2.8"),
    "sense data": ("", "4.16.2"),
    "error identification sense data descriptor": ("", "4.16.2.1"),
    "service action codes": ("", "5.2.1"),
    "set one attribute using CDB fields": (None, "5.2.4.2"),
    "timestamps control": ("", "5.2.10"),
    "timestamps pages": ("7.1.2.15 to 7.1.2.18", ""),
    "vendor specific service actions": ("", ""),
    "vital product data": ("", ""),
}


def of(title: str) -> str:
    """The clause of a command or topic, `OSD 6.17, OSD-2 6.21: READ`. Raises KeyError for a title that is unknown."""
    found = {**COMMANDS, **TOPICS}[title]
    names = [f"{name} {number}".strip() for name, number in zip(("OSD", "OSD-2"), found, strict=True)
             if number is not None]
    return f"{', '.join(names)}: {title}"


def about(*titles: str) -> pytest.MarkDecorator:
    """The clauses that a case proves, by their titles."""
    return clause("; ".join(map(of, titles)))
