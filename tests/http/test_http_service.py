"""HTTP as a service of the program: what `--http` takes, and where the token comes from."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from http_world import disk_target

from scsiemu.services import Listener, Offer, ServiceRequest
from transports.http.service import HTTP, HttpListener, HttpService, open_service

TOKEN = "0123456789abcdef"


def parse(text: str) -> Listener:
    """The value of `--http`."""
    assert HTTP.listen is not None
    return HTTP.listen.parse(text)


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("/run/http", HttpListener(path="/run/http")),
        ("http", HttpListener(path="http")),
        ("./a:1", HttpListener(path="./a:1")),
        ("127.0.0.1:80", HttpListener("127.0.0.1", 80)),
        ("localhost:0", HttpListener("127.0.0.1", 0)),
        ("[::1]:8080,token=/etc/t", HttpListener("::1", 8080, token_file="/etc/t")),
    ],
)
def test_listen_option(text: str, listener: HttpListener) -> None:
    """A path unless it says HOST:PORT."""
    assert parse(text) == listener


@pytest.mark.parametrize(
    "text", ["", ",token=x", "/run/http,token=x", "example.org:80", ":80", "127.0.0.1:x", "127.0.0.1:65536",
             "127.0.0.1:80,token="],
)
def test_listen_option_wrong(text: str) -> None:
    """Errors in one sentence."""
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse(text)


def served(listeners: tuple[Listener, ...], reports: list[str]) -> tuple[Listener, ...]:
    """Serve for a moment; where."""
    target, _ = disk_target()
    request = ServiceRequest(listeners, (Offer(target),), (), {}, reports.append, lambda target, event: None)

    async def run() -> tuple[Listener, ...]:
        service: HttpService = await open_service(request)
        await service.close()
        return service.listeners

    return asyncio.run(run())


def test_token_of_file(tmp_path: Path) -> None:
    """A file of its owner's alone, with a token in it; nothing is told of it."""
    path = tmp_path / "token"
    reports: list[str] = []
    listener = parse(f"127.0.0.1:0,token={path}")
    for text, mode in ((TOKEN, 0o644), ("short", 0o600), (f"{TOKEN} {TOKEN}", 0o600), ("", 0o600)):
        path.write_text(text)
        path.chmod(mode)
        with pytest.raises(ValueError, match="token") as refused:
            served((listener,), reports)
        assert TOKEN not in str(refused.value)
    path.unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        served((listener,), reports)

    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    (where,) = served((listener,), reports)
    assert where.port > 0
    assert reports == []


def test_token_of_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must be a token there, too."""
    reports: list[str] = []
    monkeypatch.setenv("SCSIEMU_HTTP_TOKEN", "")
    with pytest.raises(ValueError, match="SCSIEMU_HTTP_TOKEN"):
        served((parse("127.0.0.1:0"),), reports)
    monkeypatch.setenv("SCSIEMU_HTTP_TOKEN", TOKEN)
    served((parse("127.0.0.1:0"), parse("[::1]:0")), reports)

    assert reports == []


def test_token_made_and_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any one is made and told; who listens to the network is warned. A Unix socket needs none."""
    monkeypatch.delenv("SCSIEMU_HTTP_TOKEN", raising=False)
    reports: list[str] = []
    served((parse("127.0.0.1:0"),), reports)
    assert len(reports) == 1
    served((parse("0.0.0.0:0"),), reports)

    assert len({report for report in reports if "token is" in report}) == 2
    assert "not encrypted" in reports[-1]


def test_unix_socket_in_the_way(tmp_path: Path) -> None:
    """A socket that nobody listens at is replaced; a file is not."""
    reports: list[str] = []
    path = tmp_path / "http"
    served((parse(str(path)),), reports)
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        served((parse(str(path)),), reports)

    assert path.read_text() == "mine"
    assert reports == []
