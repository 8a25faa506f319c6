"""Log pages: header and parameters (SPC-5 7.3). What a parameter's value means is not laid out."""

from __future__ import annotations

from typing import Final

from construct import GreedyBytes, GreedyRange, Int8ub, Prefixed, Struct, this

from scsiemu.formats._words import bits, flag, record, reserved, sized, u8, u16

__all__ = [
    "LOG_HEADER", "LOG_PAGE", "LOG_PAGE_NAMES", "LOG_PARAMETER", "SUPPORTED_LOG_PAGES",
    "SUPPORTED_LOG_SUBPAGES",
]

LOG_HEADER = record(
    "ds" / flag, "spf" / flag, "page_code" / bits(6), "subpage_code" / u8, "page_length" / u16,
)

# SPC-5 table 325.
LOG_PARAMETER = Struct(
    "header" / record(
        "parameter_code" / u16,
        "du" / flag, reserved(1), "tsd" / flag, reserved(3), "format_and_linking" / bits(2),
    ),
    "parameter_value" / Prefixed(Int8ub, GreedyBytes),
)

LOG_PAGE = Struct(
    "header" / LOG_HEADER,
    "log_parameters" / sized(this.header.page_length, GreedyRange(LOG_PARAMETER)),
)

# Pages 00h and 00h/FFh have no parameters but lists of pages (SPC-5 7.3.19, 7.3.20).
SUPPORTED_LOG_PAGES = Struct(
    "header" / LOG_HEADER,
    "supported_pages" / sized(this.header.page_length, GreedyRange(Int8ub)),
)
SUPPORTED_LOG_SUBPAGES = Struct(
    "header" / LOG_HEADER,
    "supported_subpages" / sized(
        this.header.page_length,
        GreedyRange(record(reserved(2), "supported_page_code" / bits(6), "supported_subpage_code" / u8)),
    ),
)

LOG_PAGE_NAMES: Final[dict[tuple[int, int], str]] = {
    (0x00, 0x00): "supported log pages",
    (0x00, 0xFF): "supported log pages and subpages",
    (0x02, 0x00): "write error counters",
    (0x03, 0x00): "read error counters",
    (0x04, 0x00): "read reverse error counters",
    (0x05, 0x00): "verify error counters",
    (0x06, 0x00): "non-medium error",
    (0x0C, 0x00): "logical block provisioning or sequential-access device",
    (0x0D, 0x00): "temperature",
    (0x0E, 0x00): "start-stop cycle counter",
    (0x0F, 0x00): "application client",
    (0x10, 0x00): "self-test results",
    (0x11, 0x00): "solid state media",
    (0x15, 0x00): "background scan results",
    (0x18, 0x00): "protocol specific port",
    (0x19, 0x00): "general statistics and performance",
    (0x1A, 0x00): "power condition transitions",
    (0x2F, 0x00): "informational exceptions",
}
