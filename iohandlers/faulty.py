"""A filter that makes its next store fail, late, short or torn, by rules: to test what stands above a store.

Rules are text, divided by semicolons; each is an action, a verb and options:

    fail read fault=medium offset=1M..2M nth=3 count=2
    delay any seconds=0.5; torn write bytes=512; short read bytes=100

    actions  fail    is answered with the fault, the next store is not asked
             delay   is passed on after `seconds`; PENDING until then
             short   read: only the first `bytes` are given; write: only they are written, and the answer is good
             torn    write: the first `bytes` are written, then it fails
    verbs    read write flush discard fill extents resize, or any
    options  fault=medium|no-space|read-only|out-of-range|unsupported|gone|aborted (of fail and torn; medium)
             seconds=, bytes= (needed where the action has them), offset=N, N..M or N.. (only requests that touch
             these bytes; K, M, G, T are powers of 1024), nth=N (from the N-th match on), count=N (so many times)

The first rule that applies is obeyed; rules before it that match have counted the request. Nothing sleeps:
delays run on the monotonic clock with a timer behind `fileno`, or on a clock of the test's own, told by
`advance`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any, Final

from iohandlers._checks import bad_option, refuse_unknown
from iohandlers._filters import Readiness
from iohandlers._linux import timer_create, timer_set
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import (
    PENDING,
    Discard,
    Extents,
    Fill,
    Flush,
    IoRequest,
    Read,
    Resize,
    Store,
    StoreCapabilities,
    Ticket,
    Write,
)

__all__ = ["FaultyStore", "Rule", "open_store", "parse_rules"]

_VERBS: Final[dict[str, tuple[type[IoRequest[Any]], ...]]] = {
    "read": (Read,), "write": (Write,), "flush": (Flush,), "discard": (Discard,), "fill": (Fill,),
    "extents": (Extents,), "resize": (Resize,),
    "any": (Read, Write, Flush, Discard, Fill, Extents, Resize),
}
_FAULTS: Final = {
    fault.replace(" ", "-"): fault
    for fault in (
        IoFault.MEDIUM, IoFault.NO_SPACE, IoFault.READ_ONLY, IoFault.OUT_OF_RANGE, IoFault.UNSUPPORTED,
        IoFault.GONE, IoFault.ABORTED,
    )
}
# Action: the verbs it can have, the options it has beside offset=, nth= and count=, and those of them it needs.
_ACTIONS: Final[dict[str, tuple[tuple[str, ...], frozenset[str], frozenset[str]]]] = {
    "fail": (tuple(_VERBS), frozenset({"fault"}), frozenset()),
    "delay": (tuple(_VERBS), frozenset({"seconds"}), frozenset({"seconds"})),
    "short": (("read", "write"), frozenset({"bytes"}), frozenset({"bytes"})),
    "torn": (("write",), frozenset({"bytes", "fault"}), frozenset({"bytes"})),
}
_SUFFIXES: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def open_store(
    *, next_store: Store | None = None, rules: str = "", manual_clock: bool = False, **unknown: object
) -> FaultyStore:
    """Put rules before `next_store`, which is closed with the filter.

    Args:
        rules: see the module; ValueError says what is wrong with them.
        manual_clock: time passes by `advance` only.
    """
    refuse_unknown("faulty", unknown, ("next_store", "rules", "manual_clock"))
    if next_store is None:
        raise bad_option("faulty", "next_store", "is missing: what is to fail?")
    return FaultyStore(next_store, parse_rules(rules), manual_clock=manual_clock)


class Rule:
    """One rule. `matched` counts the requests it fits, `hits` those it was applied to.

    Args:
        first, last: only requests that touch these bytes, None for all (last None: to the end).
    """

    def __init__(
        self,
        text: str,
        action: str,
        verb: str,
        *,
        fault: str = IoFault.MEDIUM,
        seconds: float = 0.0,
        size: int = 0,
        first: int | None = None,
        last: int | None = None,
        nth: int = 1,
        count: int | None = None,
    ) -> None:
        self.text = text
        self.action = action
        self.classes = _VERBS[verb]
        self.fault = fault
        self.seconds = seconds
        self.size = size
        self.first = first
        self.last = last
        self.nth = nth
        self.count = count
        self.matched = 0
        self.hits = 0

    def applies(self, request: IoRequest[Any]) -> bool:
        """Whether this request is the rule's; counts it."""
        if not isinstance(request, self.classes):
            return False
        if self.first is not None:
            if not isinstance(request, (Read, Write, Discard, Fill, Extents)):
                return False
            if request.offset + request.length <= self.first:
                return False
            if self.last is not None and request.offset > self.last:
                return False
        self.matched += 1
        if self.matched < self.nth or (self.count is not None and self.hits >= self.count):
            return False
        self.hits += 1
        return True

    def failure(self, request: IoRequest[Any], done: int = 0) -> IoFailed:
        """What the request is answered with, after `done` bytes of it."""
        offset = None
        if isinstance(request, (Read, Write, Discard, Fill)):
            offset = max(request.offset + done, self.first or 0)
        return IoFailed(self.fault, f"as the rule says: {self.text}", offset=offset)


def parse_rules(text: str) -> tuple[Rule, ...]:
    """The rules of a text; ValueError names the rule and what is wrong with it."""
    return tuple(_parse_rule(rule.strip()) for rule in text.split(";") if rule.strip())


def _parse_rule(text: str) -> Rule:
    action, *rest = text.split()
    if action not in _ACTIONS:
        raise _bad(text, f"there is no action {action}, only {', '.join(_ACTIONS)}")
    verbs, own, needed = _ACTIONS[action]
    if not rest or "=" in rest[0]:
        raise _bad(text, f"the verb is missing: {', '.join(verbs)}")
    verb = rest[0]
    if verb not in verbs:
        raise _bad(text, f"{action} has no verb {verb}, only {', '.join(verbs)}")
    values: dict[str, str] = {}
    for word in rest[1:]:
        name, equals, given = word.partition("=")
        if not equals or not given:
            raise _bad(text, f"{word} is not of the form option=value")
        if name not in own | {"offset", "nth", "count"}:
            raise _bad(text, f"{action} has no option {name}=")
        if name in values:
            raise _bad(text, f"{name}= is there twice")
        values[name] = given
    for name in sorted(needed - values.keys()):
        raise _bad(text, f"{action} needs {name}=")
    first, last = _parse_range(text, values["offset"]) if "offset" in values else (None, None)
    return Rule(
        text, action, verb, fault=_parse_fault(text, values.get("fault", "medium")),
        seconds=_parse_seconds(text, values.get("seconds", "0")),
        size=_parse_number(text, "bytes", values.get("bytes", "0")), first=first, last=last,
        nth=_parse_number(text, "nth", values.get("nth", "1"), least=1),
        count=_parse_number(text, "count", values["count"], least=1) if "count" in values else None,
    )


def _bad(rule: str, why: str) -> ValueError:
    return ValueError(f"faulty store: rule '{rule}': {why}")


def _parse_fault(rule: str, name: str) -> str:
    if name not in _FAULTS:
        raise _bad(rule, f"there is no fault {name}, only {', '.join(_FAULTS)}")
    return _FAULTS[name]


def _parse_seconds(rule: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:      # not infinite, not NaN
        raise _bad(rule, f"seconds={text} is not a time")
    return seconds


def _parse_number(rule: str, name: str, text: str, *, least: int = 0) -> int:
    digits, factor = (text[:-1], _SUFFIXES[text[-1]]) if text[-1:] in _SUFFIXES else (text, 1)
    if not (digits.isascii() and digits.isdigit()) or int(digits) < least:
        raise _bad(rule, f"{name}={text} is not a number of at least {least}")
    return int(digits) * factor


def _parse_range(rule: str, text: str) -> tuple[int, int | None]:
    start, dots, stop = text.partition("..")
    first = _parse_number(rule, "offset", start)
    if not dots:
        return first, first
    if not stop:
        return first, None
    last = _parse_number(rule, "offset", stop)
    if last < first:
        raise _bad(rule, f"offset={text} ends before it begins")
    return first, last


class _Held:
    """A delayed request."""

    __slots__ = ("due", "request", "ticket")

    def __init__(self, due: float, request: IoRequest[Any], ticket: Ticket) -> None:
        self.due = due
        self.request = request
        self.ticket = ticket


class _Short:
    """The ticket of a request whose answer is to be changed when it comes."""

    __slots__ = ("request", "rule", "ticket")

    def __init__(self, ticket: Ticket, rule: Rule, request: IoRequest[Any]) -> None:
        self.ticket = ticket
        self.rule = rule
        self.request = request


class FaultyStore:
    """See the module; owns its next store. Made by `open_store`."""

    def __init__(self, next_store: Store, rules: tuple[Rule, ...], *, manual_clock: bool = False) -> None:
        self.rules = rules
        self._next = next_store
        self._closed = False
        self._now: float | None = 0.0 if manual_clock else None     # None: the monotonic clock
        self._held: list[_Held] = []
        self._answers: list[tuple[Ticket, Any]] = []
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) if manual_clock else timer_create()
        self._readiness = Readiness([next_store.fileno(), self._signal])

    @property
    def capabilities(self) -> StoreCapabilities:
        return self._next.capabilities

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:
        if self._closed:
            return IoFailed(IoFault.GONE, "the store is closed")
        rule = next((rule for rule in self.rules if rule.applies(request)), None)
        if rule is None:
            return self._next.submit(request, ticket)
        if rule.action == "fail":
            return rule.failure(request)
        if rule.action == "delay":
            return self._hold(rule, request, ticket)
        changed = request
        if isinstance(request, Write) and request.data is not None:
            part = memoryview(request.data)[:rule.size]
            changed = Write(request.offset, len(part), part, fua=request.fua)
            changed.owned = request.owned
        answer = self._next.submit(changed, _Short(ticket, rule, request))  # type: ignore[arg-type]  # opaque
        return PENDING if answer is PENDING else _changed(rule, request, answer)

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        if not self._closed:
            try:
                os.read(self._signal, 8)
            except BlockingIOError:
                pass
            self._release(time.monotonic() if self._now is None else self._now)
        answers = self._answers
        self._answers = []
        for ticket, result in self._next.reap():
            ours: object = ticket       # what we gave instead of a ticket comes back
            if isinstance(ours, _Short):
                answers.append((ours.ticket, _changed(ours.rule, ours.request, result)))
            else:
                answers.append((ticket, result))
        return answers

    def advance(self, now: float) -> None:
        """Tell the manual clock. What is due is passed on at once; answers come from `reap`."""
        self._now = now
        self._release(now)
        if self._answers:
            os.eventfd_write(self._signal, 1)

    def deadline(self) -> float | None:
        """When the next delayed request is due."""
        return min((held.due for held in self._held), default=None)

    def fileno(self) -> int | None:
        return self._readiness.fileno()

    def close(self) -> None:
        """End it; delayed requests are answered GONE."""
        if self._closed:
            return
        self._closed = True
        self._answers += [(held.ticket, IoFailed(IoFault.GONE, "the store is closed")) for held in self._held]
        self._held.clear()
        self._readiness.close()
        os.close(self._signal)
        self._next.close()

    def _hold(self, rule: Rule, request: IoRequest[Any], ticket: Ticket) -> Any:
        if isinstance(request, Write) and request.data is not None and not request.owned:
            kept = Write(request.offset, request.length, bytes(request.data), fua=request.fua, atom=request.atom)
            kept.owned = True
            request = kept
        now = time.monotonic() if self._now is None else self._now
        self._held.append(_Held(now + rule.seconds, request, ticket))
        self._arm()
        return PENDING

    def _release(self, now: float) -> None:
        due = [held for held in self._held if held.due <= now]
        if not due:
            return
        self._held = [held for held in self._held if held.due > now]
        for held in sorted(due, key=lambda held: held.due):
            answer = self._next.submit(held.request, held.ticket)
            if answer is not PENDING:
                self._answers.append((held.ticket, answer))
        self._arm()

    def _arm(self) -> None:
        if self._now is None:
            timer_set(self._signal, self.deadline())


def _changed(rule: Rule, request: IoRequest[Any], answer: Any) -> Any:
    """The answer of a short or torn request."""
    if isinstance(answer, IoFailed):
        return answer
    if rule.action == "torn":
        return rule.failure(request, rule.size)
    return answer[:rule.size] if isinstance(request, Read) else answer
