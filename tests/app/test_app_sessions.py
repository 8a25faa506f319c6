"""What sessions see of the program: the end of a server, discovery, data that survives it."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from scsiemu.testing.served import IscsiTarget
from transports.iscsi.client import ClientError, connect
from transports.iscsi.codes import AsyncEvent
from transports.iscsi.initiator import AsyncReceived
from transports.iscsi.initiator_login import LoginFailed

SECONDS = 30.0


def test_serve_end_asks_for_logout() -> None:
    """At its end the server asks sessions to log out and waits for them; one that does it holds nothing up."""
    with IscsiTarget("--disk", "1M", "--logout-timeout", "20") as served:
        client = connect(served.url)
        client.execute(0, bytes(6))
        started = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        while not isinstance(told := client.session.next_event(), AsyncReceived):
            client.step(time.monotonic() + SECONDS)
        client.close()

        assert told.event == AsyncEvent.LOGOUT_REQUEST
        assert served.process.wait(SECONDS) == 0
        assert time.monotonic() - started < 10


def test_serve_end_is_bounded() -> None:
    """A session that does not log out is closed after --logout-timeout."""
    with IscsiTarget("--disk", "1M", "--logout-timeout", "0.2") as served:
        client = connect(served.url)
        started = time.monotonic()
        served.process.send_signal(signal.SIGTERM)

        assert served.process.wait(SECONDS) == 0
        assert time.monotonic() - started < 10
        client.abandon()


def test_serve_end_under_load(tmp_path: Path) -> None:
    """Commands under way when the end comes: every write that was answered is in the file, the exit code is 0."""
    image = tmp_path / "img.raw"
    served = IscsiTarget("--disk", f"{image},size=8M", "--logout-timeout", "0.2")
    client = connect(served.url)
    client.execute(0, bytes(6))
    answered = []

    def write() -> None:
        for block in range(1 << 14):
            cdb = b"\x2a\0" + block.to_bytes(4, "big") + b"\0\0\x01\0"
            try:
                result = client.execute(0, cdb, block.to_bytes(4, "big") * 128)
            except (OSError, ClientError):
                return
            if result.status == 0:
                answered.append(block)

    writer = threading.Thread(target=write)
    writer.start()
    while len(answered) < 50:
        time.sleep(0.001)
    served.close(seconds=SECONDS)
    writer.join(SECONDS)
    client.abandon()

    data = image.read_bytes()
    assert answered
    assert all(data[block * 512 : block * 512 + 512] == block.to_bytes(4, "big") * 128 for block in answered)


def test_serve_state_survives(tmp_path: Path) -> None:
    """A reservation with APTPL is there again after a restart with the same --state."""
    words = ("--disk", "1M", "--iqn", "iqn.2026-11.example:kept", "--state", str(tmp_path / "state"))
    key = (0x1234).to_bytes(8, "big")
    register = bytes(8) + key + bytes(4) + b"\x01" + bytes(3)
    with IscsiTarget(*words) as served, connect(served.url, isid=b"\x80\0\0\0\0\x01") as client:
        client.execute(0, bytes(6))
        registered = client.execute(0, bytes.fromhex("5f000000000000001800"), register)

    with IscsiTarget(*words) as served, connect(served.url, isid=b"\x80\0\0\0\0\x01") as client:
        client.execute(0, bytes(6))
        keys = client.execute(0, bytes.fromhex("5e000000000000010000"), data_in_length=256)

    assert registered.status == 0
    assert keys.data_in[8:16] == key


def test_serve_discovery_lists_targets(tmp_path: Path) -> None:
    """Discovery tells of the targets that an initiator may use, at the portals that there are."""
    with (
        IscsiTarget(
            "--disk", "1M", "--iqn", "iqn.2026-11.example:a", "--target", "iqn.2026-11.example:b", "--disk", "1M",
            "--allow-initiator", "iqn.2026-11.example:somebody",
        ) as served,
        connect(f"iscsi://{served.portal}/") as client,
    ):
        found = client.discover()

    assert found == {"iqn.2026-11.example:a": [f"{served.portal},1"]}


def test_serve_discovery_chap(tmp_path: Path) -> None:
    """With --discovery-chap nobody is told of targets without the secret."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"0123456789abcdef\n")
    secret.chmod(0o600)
    with IscsiTarget("--disk", "1M", "--discovery-chap", f"me:{secret}") as served:
        with connect(f"iscsi://me%0123456789abcdef@{served.portal}/") as client:
            found = client.discover()
        with pytest.raises(LoginFailed):
            connect(f"iscsi://{served.portal}/")

    assert list(found) == [served.iqn]
