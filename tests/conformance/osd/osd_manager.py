"""A security manager and its client for the unit under test: sets keys, makes capabilities, signs commands.

It begins with the master key, which for another unit comes from `--osd-master-key`: authentication key and generation
key, 40 bytes in hexadecimal.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

from conformance import Answer, ConformanceUnit, LocalUnit
from osd_unit import COMMAND, OID, PID, Osd, local_target

from devtypes.osd.capability import CAPABILITY_1, CAPABILITY_2
from devtypes.osd.config import OsdConfig
from devtypes.osd.keys import MASTER, PARTITION_KEY, ROOT_KEY, WORKING_KEYS
from devtypes.osd.requests import Request, Signature, parse_attributes, request, signing_key
from devtypes.osd.security import HMAC_SHA1, KeyPair, derived_keys
from scsiemu.object_requests import ObjectKind

__all__ = ["CLOCK", "SECRET", "Keys", "Manager", "icv_at", "keyed_unit", "master_key"]

CLOCK: Final = (0x90000001, 0x100)
SYSTEM_ID: Final = (0x90000001, 3)
SECRET: Final = b"a root secret of twenty bytes, at least"
_SEED: Final = 0x1111111111111111111111111111111111111111
_PARENTS: Final = {1: (0, MASTER), 2: (0, ROOT_KEY)}
_counter = itertools.count(1)


class Keys:
    """What a manager knows; a master key that was changed outlives the case.

    Attributes:
        master: the master key.
    """

    def __init__(self, master: KeyPair) -> None:
        self.master = master


def master_key(text: str) -> Keys:
    """Of `--osd-master-key`. Raises ValueError."""
    raw = bytes.fromhex(text)
    if len(raw) != 40:
        raise ValueError("a master key has 40 bytes")
    return Keys(KeyPair(raw[:20], raw[20:]))


class Manager(Osd):
    """The unit formatted by NOSEC, with keys of the root, of partition zero and of partition `PID`.

    Attributes:
        method: security method of what it signs.
        keys: secret keys by (partition id, number).
    """

    def __init__(self, unit: ConformanceUnit, version: int, known: Keys, method: int = 2) -> None:
        super().__init__(unit, version)
        self.method = method
        self.known = known
        self.keys: dict[tuple[int, int], KeyPair] = {(0, MASTER): known.master}
        (self.system_id,) = self.get(0, 0, SYSTEM_ID)
        for pid, what in ((0, 1), (0, 2), (0, 3), (PID, 2), (PID, 3)):
            answer = self.set_key(pid, what)
            assert answer.good, answer

    def token(self) -> bytes:
        """Security token of this nexus."""
        return self.unit.good(bytes((0x12, 1, 0xB1, 0, 255, 0)), data_in=255)[4:]

    def clock(self) -> int:
        """Milliseconds since 1970, as the unit has them."""
        return int.from_bytes(self.get(0, 0, CLOCK)[0], "big")

    def nonce(self, shift: int = 0) -> bytes:
        """A request nonce of now, or of `shift` milliseconds later."""
        return (self.clock() + shift).to_bytes(6, "big") + next(_counter).to_bytes(6, "big")

    def credential(
        self, kind: int = ObjectKind.USER, pid: int = PID, oid: int = OID, *, method: int | None = None,
        key: tuple[int, int] | None = None, **fields: int,
    ) -> tuple[int, bytes]:
        """A capability, `fields` of it as they are given, and its capability key."""
        group = kind in (ObjectKind.ROOT, ObjectKind.PARTITION)
        made = {
            "format": self.version, "algorithm": HMAC_SHA1, "method": self.method if method is None else method,
            "object_type": kind, "permissions": (1 << 40) - 1, "allowed_pid": pid, "allowed_oid": oid,
            "descriptor_type": 2 if group else 3 if kind == ObjectKind.COLLECTION and self.version == 2 else 1,
        }
        raw = (CAPABILITY_2 if self.version == 2 else CAPABILITY_1).build(**{**made, **fields})
        allowed = int.from_bytes(raw, "big")
        secret = self.keys.get(key or (pid if (pid, WORKING_KEYS) in self.keys else 0, WORKING_KEYS))
        return allowed, signing_key(secret or KeyPair(b"?", b"?"), allowed, self.system_id, version=self.version)

    def sign(
        self, name: str, kind: int = ObjectKind.USER, pid: int = PID, oid: int = OID, *, method: int | None = None,
        key: tuple[int, int] | None = None, fields: dict[str, int] | None = None, nonce: bytes | None = None,
        **rest: Any,
    ) -> Request:
        """A signed command. `fields` are those of the capability, `rest` is the command's."""
        chosen = self.method if method is None else method
        allowed, secret = self.credential(kind, pid, oid, method=chosen, key=key, **(fields or {}))
        ids = {"partition_id": pid, "object_id": oid}
        if kind in (ObjectKind.ROOT, ObjectKind.PARTITION):
            ids = {"partition_id": pid} if pid else {}
        signature = Signature(chosen, secret, self.token(), nonce or self.nonce())
        return request(name, version=self.version, signature=signature, **{**ids, **rest, "capability": allowed})

    def send(self, sent: Request) -> Answer:
        """Execute it."""
        return self.unit.execute(sent.cdb, sent.data_out, sent.data_in)

    def do(self, name: str, *about: int, **rest: Any) -> Answer:
        """Sign and execute."""
        return self.send(self.sign(name, *about, **rest))

    def set_key(self, pid: int, what: int, **rest: Any) -> Answer:
        """SET KEY of a root (1), partition (2) or working key (3); ours follows when the unit took it."""
        parent = _PARENTS.get(what, (pid, PARTITION_KEY))
        number = {1: ROOT_KEY, 2: PARTITION_KEY}.get(what, WORKING_KEYS + int(rest.get("key_version", 0)))
        kind = ObjectKind.PARTITION if pid else ObjectKind.ROOT
        wanted = {"key": parent, "key_to_set": what, "seed": _SEED, "key_identifier": 0x1234567 + what, "method": 2}
        answer = self.do("SET KEY", kind, pid, 0, **{**wanted, **rest})
        if answer.good:
            self.keys[pid, number] = derived_keys(self.keys[parent], _SEED.to_bytes(20, "big"))
        return answer

    def current(self, sent: Request, answer: Answer) -> dict[int, bytes]:
        """Attributes of the current command page that came back."""
        found = parse_attributes(sent, answer.data, version=self.version)
        return {each.number: each.value or b"" for each in found if each.page == COMMAND}


def keyed_unit() -> ConformanceUnit:
    """A unit in memory with keys made of `SECRET`."""
    return LocalUnit(local_target(OsdConfig(root_secret=SECRET)))


def icv_at(version: int) -> int:
    """Where the request integrity check value is."""
    return 184 if version == 2 else 160
