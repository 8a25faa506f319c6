"""What the command line means: listeners, targets, access."""

from __future__ import annotations

import argparse
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsiemu.app.arguments import add_target_arguments
from scsiemu.app.configuration import ServeConfiguration, configure, parse_listener
from scsiemu.app.failure import ExitCode, Failure
from scsiemu.services import AccessRule, Listener


def configured(*words: str) -> ServeConfiguration:
    """The configuration of a command line."""
    parser = argparse.ArgumentParser()
    add_target_arguments(parser)
    return configure(parser.parse_args(words))


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("127.0.0.1:3261", Listener("127.0.0.1", 3261)),
        ("127.0.0.1", Listener("127.0.0.1", 3260)),
        ("localhost:0", Listener("127.0.0.1", 0)),
        ("0.0.0.0:0", Listener("0.0.0.0", 0)),
        ("[::1]:0", Listener("::1", 0)),
        ("[::]", Listener("::", 3260)),
        ("::1", Listener("::1", 3260)),
    ],
)
def test_configure_listener_forms(text: str, listener: Listener) -> None:
    """A listener is an address of either family, with or without port."""
    assert parse_listener(text) == listener


@given(st.ip_addresses(), st.integers(0, 65535))
def test_configure_listener_round_trip(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    """The text of a listener is read as the same listener."""
    listener = Listener(str(address), port)

    assert parse_listener(str(listener)) == listener


@given(st.text(max_size=30))
def test_configure_listener_hostile(text: str) -> None:
    """Any text is a listener or an error of the command line."""
    try:
        listener = parse_listener(text)
    except Failure as failure:
        assert failure.code == ExitCode.USAGE  # noqa: PT017  # both ends are right
    else:
        assert 0 <= listener.port <= 65535


def test_configure_placed_options() -> None:
    """Units and access belong to the target before them."""
    configuration = configured(
        "--allow-initiator", "iqn.a:me", "--disk", "1M", "--disk", "2M", "--iqn", "iqn.a:first",
        "--target", "iqn.a:second", "--allow-address", "192.0.2.7/24", "--disk", "3M",
    )

    first, second = configuration.targets
    assert (first.name, len(first.units), first.access) == ("iqn.a:first", 2, (AccessRule("iqn.a:me"),))
    assert (second.name, len(second.units)) == ("iqn.a:second", 1)
    assert second.access == (AccessRule("*", ("192.0.2.0/24",)),)


@pytest.mark.parametrize(
    ("words", "rules"),
    [
        ((), (AccessRule("*"),)),
        (
            ("--allow-initiator", "iqn.a:x", "--allow-initiator", "iqn.b:*"),
            (AccessRule("iqn.a:x"), AccessRule("iqn.b:*")),
        ),
        # Others see everything, unless initiators are named.
        (("--mask", "iqn.a:x=1"), (AccessRule("iqn.a:x", (), {1: 1}), AccessRule("*"))),
        (("--mask", "*=0"), (AccessRule("*", (), {0: 0}),)),
        (
            ("--allow-initiator", "iqn.b:y", "--mask", "iqn.a:x=5:1,6:0"),
            (AccessRule("iqn.a:x", (), {5: 1, 6: 0}), AccessRule("iqn.b:y")),
        ),
        # The narrower name counts.
        (
            ("--mask", "iqn.a:*=0", "--mask", "iqn.a:x=1", "--read-only-initiator", "iqn.a:x"),
            (AccessRule("iqn.a:x", (), {1: 1}, True), AccessRule("iqn.a:*", (), {0: 0}), AccessRule("*")),
        ),
    ],
)
def test_configure_access_rules(words: tuple[str, ...], rules: tuple[AccessRule, ...]) -> None:
    """Who may use a target, in the order in which rules are looked at."""
    (target,) = configured("--disk", "1M", "--disk", "1M", *words).targets

    assert target.access == rules


def test_configure_limits() -> None:
    """Limits that are given arrive as numbers, those that are not keep the transport's defaults."""
    configuration = configured("--disk", "1M", "--max-memory", "64M", "--login-timeout", "2.5", "--max-sessions", "7")

    assert configuration.limits == {"max-memory": 64 << 20, "login-timeout": 2.5, "max-sessions": 7}
