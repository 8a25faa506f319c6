"""A store asked outside of a target: one request, or all those of a generator, each waited for."""

from __future__ import annotations

import select
from collections.abc import Generator
from time import monotonic
from typing import Any, Final, TypeVar, cast

from scsiemu.errors import IoFailed
from scsiemu.io_requests import PENDING, IoRequest, Store, Ticket

__all__ = ["ask", "run_steps"]

T = TypeVar("T")

_SECONDS: Final = 30.0


def ask(store: Store, request: IoRequest[Any], *, seconds: float = _SECONDS) -> Any:
    """The answer to one request. Raises IoFailed, also where there is none in time."""
    ticket = cast(Ticket, object())             # opaque to stores
    answer: Any = store.submit(request, ticket)
    until = monotonic() + seconds
    while answer is PENDING and monotonic() < until:
        descriptor = store.fileno()
        if descriptor is not None:
            select.select([descriptor], [], [], max(0.0, until - monotonic()))
        answer = next((result for late, result in store.reap() if late is ticket), PENDING)
    if isinstance(answer, IoFailed):
        raise answer
    if answer is PENDING:
        raise IoFailed("gone", f"no answer within {seconds:g} seconds")
    return answer


def run_steps(store: Store, steps: Generator[IoRequest[Any], Any, T]) -> T:
    """Do all that a generator asks of a store; what it returns. Raises what it raises."""
    try:
        request = next(steps)
        while True:
            try:
                answer = ask(store, request)
            except IoFailed as failure:
                request = steps.throw(failure)
            else:
                request = steps.send(answer)
    except StopIteration as done:
        return cast(T, done.value)              # what the generator's type says
