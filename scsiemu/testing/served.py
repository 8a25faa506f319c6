"""Targets for tests: one in this process, one as a running server. What the fixtures of `pytest_plugin` give.

    with ScsiTarget("--disk", "1G,block=4096") as here: here.initiator.command("READ CAPACITY(16)")
    with IscsiTarget("--disk", "64M") as there: subprocess.run(["iscsi-inq", there.url], check=True)
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, cast

from scsiemu import registry
from scsiemu._value import value
from scsiemu.io_requests import PENDING, IoRequest, Store, Ticket
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator
from scsiemu.unit_options import OtherUnits, StoreSpec, UnitDeclaration, UnitPlan, parse_unit

__all__ = ["IscsiTarget", "ScsiTarget", "ServedUnit"]

_DEFAULT_UNITS: Final = ("--disk", "64M")
_NAME: Final = "iqn.2026-11.example.scsiemu:test"
_PATIENCE: Final = 60.0
_END_SECONDS: Final = 30.0


@value
class ServedUnit:
    """A unit of a running server."""

    lun: int
    type: str
    url: str


class ScsiTarget:
    """A target in this process, with an initiator. Stores are waited for: nothing happens behind the test's back.

    Args:
        units: as on the command line, such as "--disk", "1G,removable".
        name: of the target.

    Attributes:
        target: the engine's target.
        initiator: logged in to it, its unit attentions cleared.
        stores: of the units, in the order of their LUNs.
    """

    def __init__(self, *units: str, name: str = _NAME) -> None:
        self.target = Target(name)
        self.stores: list[Store] = []
        try:
            for plan in _plans(units or _DEFAULT_UNITS):
                self._add(plan)
            self.initiator = Initiator(self.target)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ScsiTarget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the stores."""
        while self.stores:
            self.stores.pop().close()

    def _add(self, plan: UnitPlan) -> None:
        lun = len(self.target.units)
        if plan.store is None:
            self.target.add_unit(lun, plan.make(None))
            return
        store = _open(plan.store)
        self.stores.append(store)
        state = None
        if plan.state is not None:
            state = _open(plan.state)
            self.stores.append(state)
        self.target.add_unit(
            lun, plan.make(store.capabilities), performer=_Patient(store), capabilities=lambda: store.capabilities,
            state_performer=_Patient(state) if state is not None else None,
        )


class IscsiTarget:
    """A server of its own process on a free port of 127.0.0.1. It ends with this object, or with this process.

    Args:
        arguments: of `scsiemu serve`: units, `--chap`, `--target` and so on.
        seconds: in which it must listen.

    Attributes:
        url: of the first unit.
        urls: of all.
        units: all that is known of them.
        portal: HOST:PORT.
        process: the server.
    """

    def __init__(self, *arguments: str, seconds: float = 30.0) -> None:
        words = [
            sys.executable, "-m", "scsiemu.app", "serve", "--listen", "127.0.0.1:0", "--json", "--exit-with-parent",
            *(arguments or _DEFAULT_UNITS),
        ]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            told = json.loads(self._first_line(seconds))
        except BaseException:
            self._kill()
            raise
        self.portal: str = told["portals"][0]
        self.units = tuple(ServedUnit(unit["lun"], unit["type"], unit["url"]) for unit in told["units"])
        self.urls = tuple(unit.url for unit in self.units)
        self.url = self.urls[0]
        self.iqn: str = told["units"][0]["target"]

    def __enter__(self) -> IscsiTarget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, *, seconds: float = _END_SECONDS) -> None:
        """End the server as SIGTERM does. Raises RuntimeError where it ends otherwise than cleanly."""
        self.process.terminate()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the target did not end within {seconds:g} seconds of SIGTERM") from None
        finally:
            self._kill()
        if code:
            raise RuntimeError(f"the target ended with exit code {code}")

    def _first_line(self, seconds: float) -> bytes:
        out = self.process.stdout
        assert out is not None
        if not select.select([out], [], [], seconds)[0]:
            raise RuntimeError(f"the target does not listen after {seconds:g} seconds")
        line = out.readline()
        if not line:
            raise RuntimeError(f"the target did not start: exit code {self.process.wait(seconds)}, see stderr")
        return line

    def _kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class _Patient:
    """The performer of a store that waits for late answers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:
        answer = self._store.submit(request, ticket)
        while answer is PENDING:
            descriptor = self._store.fileno()
            if descriptor is None or not select.select([descriptor], [], [], _PATIENCE)[0]:
                raise RuntimeError(f"{request!r} got no answer within {_PATIENCE:g} seconds")
            for late, result in self._store.reap():
                if late is ticket:
                    answer = result
        return answer


def _plans(words: tuple[str, ...]) -> Iterator[UnitPlan]:
    """What pairs of option and value ask for."""
    if len(words) % 2:
        raise ValueError(f"units are pairs of option and value, not {words}")
    for option, text in zip(words[::2], words[1::2], strict=True):
        declared = cast(UnitDeclaration, registry.load(registry.UNITS, option.removeprefix("--")))
        for plan in declared.plan(parse_unit(text, declared)):
            if isinstance(plan, OtherUnits):
                yield from _plans((plan.option, plan.text))
            else:
                yield plan


def _open(spec: StoreSpec) -> Store:
    options = dict(spec.options)
    if spec.next_store is not None:
        options["next_store"] = _open(spec.next_store)
    return cast(Store, registry.load(registry.IOHANDLERS, spec.handler)(**options))
