"""Lines for the operator: nothing of a peer gets onto the terminal as it came, and not too much of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scsiemu.app.terminal import LineLimiter, escape


@given(st.text())
def test_terminal_escape(text: str) -> None:
    """Whatever the text, the line is printable ASCII without a line end."""
    line = escape(text)

    assert line.isascii()
    assert line.isprintable()


def test_terminal_escape_readable() -> None:
    """What is harmless stays, what is not can be told."""
    assert escape("iqn.a:b\n\x1b[31mé\U0001f600") == "iqn.a:b\\x0a\\x1b[31m\\xe9\\U0001f600"


def test_terminal_limiter_floods() -> None:
    """A flood is cut to a burst, then to so many a second; what was left out is counted."""
    now = [0.0]
    lines: list[str] = []
    limiter = LineLimiter(rate=2, burst=3, out=lines.append, clock=lambda: now[0])

    for number in range(100):
        limiter(f"line {number}")
    now[0] = 1.0
    limiter("later")

    assert lines == [
        "line 0", "line 1", "line 2", "(97 more lines were not logged: too many at once)", "later",
    ]
