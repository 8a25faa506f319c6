"""Tape data encryption: blocks with the right key, a wrong one, none; who has which; that keys stay in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from vt_bench import Bench

from devtypes.vt.cipher import WrongKey, open_block, parse_sealed, seal_block
from devtypes.vt.encryption_pages import Parameters
from devtypes.vt.personality import load_personality
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.io_requests import Read
from scsiemu.sam import TaskManagementFunction
from scsiemu.sense import FieldPointer, SenseCode
from scsiemu.testing.initiator import Initiator, Result

KEY = bytes(range(32))
OTHER = bytes(32)
ALL = 2 << 5
LOCAL = 1 << 5


def _page(
    encryption: int, decryption: int, key: bytes = b"", *, scope: int = ALL, flags: int = 0, kads: bytes = b""
) -> bytes:
    """A set data encryption page."""
    index = 1 if encryption or decryption else 0
    body = bytes((scope, flags, encryption, decryption, index, 0, 0)) + bytes(7) + len(key).to_bytes(2, "big")
    body += key + kads
    return b"\0\x10" + len(body).to_bytes(2, "big") + body


def _set(who: Bench | Initiator, data: bytes) -> Result:
    run = who.do if isinstance(who, Bench) else who.command
    return run(
        "SECURITY PROTOCOL OUT", security_protocol=0x20, security_protocol_specific=0x10, transfer_length=len(data),
        data_out=data,
    )


def _ask(who: Initiator, page: int = 0x20) -> Result:
    return who.command(
        "SECURITY PROTOCOL IN", security_protocol=0x20, security_protocol_specific=page, allocation_length=512,
        data_in=512,
    )


def _get(bench: Bench, page: int) -> bytes:
    result = bench.do(
        "SECURITY PROTOCOL IN", security_protocol=0x20, security_protocol_specific=page, allocation_length=512,
        data_in=512,
    )
    assert result.good, result
    assert int.from_bytes(result.data[2:4], "big") == len(result.data) - 4
    return result.data


def test_encryption_round_trip() -> None:
    """With the key a block comes back; what is in the store is neither the block nor the key."""
    store = open_store(size=1 << 20)
    bench = Bench(store=store)
    assert _set(bench, _page(2, 3, KEY)).good
    assert bench.write(b"secret words " * 9).good
    bench.mark()
    bench.rewind()
    assert bench.read(200, sili=1).data == b"secret words " * 9
    assert bench.do("LOAD UNLOAD").good

    everything = bytes(store.submit(Read(0, 1 << 20), None))  # type: ignore[arg-type]  # the ticket is opaque
    assert b"secret words" not in everything
    assert KEY not in everything


@pytest.mark.parametrize(
    ("decryption", "key", "code"),
    [
        (0, b"", asc.UNABLE_TO_DECRYPT_DATA),
        (2, OTHER, asc.INCORRECT_DATA_ENCRYPTION_KEY),
        (3, OTHER, asc.INCORRECT_DATA_ENCRYPTION_KEY),
        (1, b"", asc.ENCRYPTED_BLOCK_NOT_RAW_READ_ENABLED),
    ],
)
def test_encryption_without_the_key_refuses(decryption: int, key: bytes, code: SenseCode) -> None:
    """Without the key the block is DATA PROTECT, and the tape stands before it: with the key it is read."""
    bench = Bench()
    _set(bench, _page(2, 2, KEY))
    bench.write(b"secret")
    bench.rewind()
    assert _set(bench, _page(0, decryption, key)).good
    result = bench.read(6)

    assert result.code == code
    assert result.data == b""
    assert result.sense is not None
    assert result.sense.information == 6
    assert bench.where() == (0, 0, 0)
    _set(bench, _page(0, 2, KEY))
    assert bench.read(6).data == b"secret"


def test_encryption_decrypt_mode_refuses_plain_blocks() -> None:
    """DECRYPT takes encrypted blocks only, MIXED takes both."""
    bench = Bench()
    bench.write(b"plain")
    bench.rewind()
    _set(bench, _page(0, 2, KEY))
    assert bench.read(5).code == asc.UNENCRYPTED_DATA_ENCOUNTERED_WHILE_DECRYPTING
    _set(bench, _page(0, 3, KEY))
    assert bench.read(5).data == b"plain"


def test_encryption_raw_mode_reads_what_allows_it() -> None:
    """With RDMC 10b blocks can be read in RAW mode: as they are stored."""
    bench = Bench()
    _set(bench, _page(2, 2, KEY, flags=2 << 4))
    bench.write(b"secret")
    bench.rewind()
    _set(bench, _page(0, 1))
    raw = bench.read(1000, sili=1).data

    assert len(raw) > 6
    assert b"secret" not in raw


def test_encryption_damage_is_told_from_a_wrong_key() -> None:
    """A block whose ciphertext was changed, checksum and all, fails its integrity check."""
    sealed = parse_sealed(seal_block(b"secret", Parameters(key=KEY), b"here"))
    assert sealed is not None
    assert open_block(sealed, KEY) == b"secret"
    with pytest.raises(WrongKey) as wrong:
        open_block(replace(sealed, body=bytes(sealed.body)[::-1]), KEY)
    assert wrong.value.damaged
    with pytest.raises(WrongKey) as wrong:
        open_block(sealed, OTHER)
    assert not wrong.value.damaged


def test_encryption_next_block_status_tells_of_kads() -> None:
    """Next block encryption status: encrypted or not, whether the key is right, and the key-associated data."""
    bench = Bench()
    kads = b"\0\0\0\4user" + b"\1\0\0\4auth"
    _set(bench, _page(2, 3, KEY, kads=kads))
    bench.write(b"secret")
    _set(bench, _page(0, 0))
    bench.write(b"plain")
    bench.mark()
    bench.rewind()
    status = _get(bench, 0x21)
    assert status[12] == 0x36
    assert status[16:] == b"\0\1\0\4user" + b"\1\2\0\4auth"
    _set(bench, _page(0, 3, KEY))
    assert _get(bench, 0x21)[12] == 0x35
    assert _get(bench, 0x21)[16:] == b"\0\1\0\4user" + b"\1\3\0\4auth"
    bench.read(6)
    assert _get(bench, 0x21)[12] == 0x33
    bench.read(5)
    assert _get(bench, 0x21)[12] == 0x22


def test_encryption_pages_are_told() -> None:
    """The supported pages are those that are answered; AES-256-GCM is the algorithm; the status has no key."""
    bench = Bench()
    for at in range(4, len(_get(bench, 0)), 2):
        code = int.from_bytes(_get(bench, 0)[at : at + 2], "big")
        assert _get(bench, code)[:2] == code.to_bytes(2, "big")
    capabilities = _get(bench, 0x10)
    assert capabilities[20] == 1
    assert capabilities[40:44] == bytes.fromhex("00010014")
    _set(bench, _page(2, 3, KEY))
    status = _get(bench, 0x20)
    assert status[5:8] == bytes((2, 3, 1))
    assert KEY not in status
    assert repr(bench.drive.parameters_of(bench.initiator.nexus)).find(KEY.hex()) < 0


def test_encryption_scopes() -> None:
    """ALL I_T NEXUS is for everyone, who hear of it; LOCAL is for one nexus; PUBLIC gives that up."""
    bench = Bench()
    other = Initiator(bench.target, "iqn.2026-11.org.example:other")
    assert _ask(other).good
    assert _set(bench, _page(2, 2, KEY)).good
    assert other.command("TEST UNIT READY").code == asc.DATA_ENCRYPTION_PARAMETERS_CHANGED_BY_ANOTHER_I_T_NEXUS
    bench.write(b"secret")
    bench.rewind()
    assert other.command("READ(6)", transfer_length=6).data == b"secret"
    assert _set(other, _page(0, 2, OTHER, scope=LOCAL)).good
    bench.rewind()
    assert other.command("READ(6)", transfer_length=6).code == asc.INCORRECT_DATA_ENCRYPTION_KEY
    assert bench.read(6).data == b"secret"
    assert _set(other, _page(0, 0, scope=0)).good
    bench.rewind()
    assert other.command("READ(6)", transfer_length=6).data == b"secret"


def test_encryption_change_is_told_to_those_that_encrypt() -> None:
    """Who has never used the protocol hears nothing of other parameters."""
    bench = Bench()
    other = Initiator(bench.target, "iqn.2026-11.org.example:other")
    assert other.command("TEST UNIT READY").good
    assert _set(bench, _page(2, 2, KEY)).good
    assert other.command("TEST UNIT READY").good


def test_encryption_status_tells_scopes() -> None:
    """I_T NEXUS SCOPE is what the nexus asked for, KEY SCOPE that of the parameters that it has."""
    bench = Bench()
    other = Initiator(bench.target, "iqn.2026-11.org.example:other")

    def scopes() -> list[int]:
        """Of both."""
        other.clear_attentions()
        bench.initiator.clear_attentions()
        return [_get(bench, 0x20)[4], _ask(other).data[4]]

    assert scopes() == [0x00, 0x00]
    _set(bench, _page(2, 2, KEY))
    assert scopes() == [0x42, 0x02]
    _set(other, _page(2, 2, OTHER))
    assert scopes() == [0x02, 0x42]
    _set(other, _page(2, 2, OTHER, scope=LOCAL))
    assert scopes() == [0x02, 0x21]
    _set(other, _page(0, 0, scope=0))
    assert scopes() == [0x02, 0x02]


def test_encryption_public_ignores_the_rest() -> None:
    """With SCOPE PUBLIC all fields but LOCK are ignored."""
    bench = Bench()
    assert _set(bench, _page(2, 3, KEY, scope=LOCAL)).good
    assert _set(bench, b"\0\x10\0\x10\0" + bytes((0xFF, 9, 9, 9, 9, 9)) + bytes(9)).good
    assert _get(bench, 0x20)[4:8] == bytes(4)


@pytest.mark.parametrize("flag", [4, 2, 1])
def test_encryption_clear_key_needs_what_it_waits_for(flag: int) -> None:
    """CKOD wants a mounted cartridge, CKORP a persistent reservation of the nexus, CKORL any."""
    bench = Bench()
    bench.do("LOAD UNLOAD")
    result = _set(bench, _page(2, 3, KEY, flags=flag))

    assert result.code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(5, flag.bit_length() - 1, in_cdb=False)


def _reserve_out(who: Bench | Initiator, action: str, key: bytes = bytes(8), other: bytes = bytes(8)) -> None:
    run = who.do if isinstance(who, Bench) else who.command
    kind = 0 if action == "REGISTER" else 8             # exclusive access, all registrants
    name = f"PERSISTENT RESERVE OUT ({action})"
    assert run(name, type=kind, parameter_list_length=24, data_out=key + other + bytes(8)).good


@pytest.mark.parametrize(("flag", "ending"), [(1, "RELEASE"), (1, "PREEMPT"), (2, "PREEMPT")])
def test_encryption_clear_key_with_the_persistent_reservation(flag: int, ending: str) -> None:
    """CKORL forgets the key when the reservation ends, CKORP when it is preempted."""
    bench = Bench()
    other = Initiator(bench.target, "iqn.2026-11.org.example:other")
    _reserve_out(bench, "REGISTER", other=b"12345678")
    _reserve_out(bench, "RESERVE", b"12345678")
    _reserve_out(other, "REGISTER", other=b"87654321")
    assert _set(bench, _page(2, 3, KEY, flags=flag)).good
    assert _get(bench, 0x20)[5] == 2
    if ending == "RELEASE":
        _reserve_out(bench, "RELEASE", b"12345678")
    else:
        _reserve_out(other, "PREEMPT", b"87654321", b"12345678")
        _reserve_out(other, "RELEASE", b"87654321")
    bench.initiator.clear_attentions()

    assert _get(bench, 0x20)[5] == 0


def test_encryption_clear_key_with_the_reservation() -> None:
    """CKORL forgets the key when RESERVE(6) is released."""
    bench = Bench()
    bench.do("RESERVE(6)")
    assert _set(bench, _page(2, 3, KEY, flags=1)).good
    assert _get(bench, 0x20)[5] == 2
    bench.do("RELEASE(6)")

    assert _get(bench, 0x20)[5] == 0


def test_encryption_check_mode_wants_decryption() -> None:
    """CEEM 10b and 11b check what is decrypted: not with DECRYPTION MODE DISABLE."""
    bench = Bench()
    assert _set(bench, _page(2, 0, KEY, flags=0x80)).code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert _set(bench, _page(2, 3, KEY, flags=0x80)).good


def test_encryption_lock_holds_a_nexus_to_its_key() -> None:
    """A nexus that set LOCK is refused once somebody sets other parameters."""
    bench = Bench()
    other = Initiator(bench.target, "iqn.2026-11.org.example:other")
    assert _set(bench, _page(2, 3, KEY, scope=ALL | 1)).good
    other.clear_attentions()
    assert _set(other, _page(2, 3, OTHER)).good
    bench.initiator.clear_attentions()
    result = bench.write(b"x")

    assert result.code == SenseCode(7, 0x2A, 0x13)


@pytest.mark.parametrize("flags", [4, 0])
def test_encryption_clear_key_on_demount(flags: int) -> None:
    """CKOD forgets the key when the cartridge is unloaded; without it the key stays."""
    bench = Bench()
    _set(bench, _page(2, 3, KEY, flags=flags))
    bench.do("LOAD UNLOAD")
    bench.do("LOAD UNLOAD", load=1)

    assert _get(bench, 0x20)[5] == (0 if flags else 2)


def test_encryption_reset_forgets() -> None:
    """A logical unit reset forgets all keys."""
    bench = Bench()
    _set(bench, _page(2, 3, KEY))
    bench.initiator.manage(TaskManagementFunction.LOGICAL_UNIT_RESET)
    bench.initiator.clear_attentions()

    assert _get(bench, 0x20)[4:8] == bytes(4)


def _changed(data: bytes, at: int, byte: int) -> bytes:
    return data[:at] + bytes((byte,)) + data[at + 1 :]


@pytest.mark.parametrize(
    ("at", "byte"),
    [(0, 1), (4, 0xE0), (5, 0x08), (6, 1), (6, 3), (7, 4), (8, 2), (9, 1), (10, 3), (12, 1), (19, 16)],
)
def test_encryption_set_page_is_checked(at: int, byte: int) -> None:
    """A field that cannot be is INVALID FIELD IN PARAMETER LIST at it; nothing changes."""
    bench = Bench()
    result = _set(bench, _changed(_page(2, 3, KEY), at, byte))

    assert result.code in (asc.INVALID_FIELD_IN_PARAMETER_LIST, asc.PARAMETER_LIST_LENGTH_ERROR)
    assert bench.drive.instance == 0


def test_encryption_is_absent_where_the_personality_has_none() -> None:
    """A drive that does not encrypt has no SECURITY PROTOCOL OUT, and no protocol 20h."""
    bench = Bench(personality=replace(load_personality("generic"), encryption=False))
    assert _set(bench, _page(0, 0)).code == asc.INVALID_COMMAND_OPERATION_CODE
    assert bench.do("SECURITY PROTOCOL IN", allocation_length=64, data_in=64).data == b"\0\0\0\0\0\0\0\1\0"
