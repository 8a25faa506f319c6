"""Our own unit for the SSC cases: a drive with a small cartridge; and the tape of the unit under test, blank."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance import ConformanceUnit, LocalUnit
from ssc_tape import Tape

from devtypes.vt import TapeConfig, TapeDrive
from devtypes.vt.medium_layout import DATA_START
from iohandlers.memory import open_store
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.target import Target
from scsiemu.testing.initiator import StateDictionary


@pytest.fixture
def local_unit() -> ConformanceUnit:
    """4 MiB, early warning 512 KiB before the end."""
    store = open_store(size=(4 << 20) + DATA_START)
    target = Target("iqn.2026-11.org.example:ssc")
    target.add_port(TargetPort("iqn.2026-11.org.example:ssc,t,0x0001", 1, 1, Protocol.ISCSI))
    target.add_unit(
        0, TapeDrive(TapeConfig(early_warning=512 << 10)), performer=store.submit,
        capabilities=lambda: store.capabilities, state_performer=StateDictionary(),
    )
    return LocalUnit(target)


@pytest.fixture
def tape(unit: ConformanceUnit) -> Iterator[Tape]:
    """Variable blocks, buffered, one blank partition, at its beginning; and left so."""
    tape = Tape(unit)
    tape.prepare()
    yield tape
    tape.prepare()
