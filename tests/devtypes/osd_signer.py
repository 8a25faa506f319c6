"""A security manager and its client: signs commands to a unit in a target, with the root secret that the unit has."""

from __future__ import annotations

import itertools
from typing import Any

from osd_bench import PID, Osd, add_osd

from devtypes.osd.keys import MASTER, PARTITION_KEY, ROOT_KEY, WORKING_KEYS
from devtypes.osd.requests import Request, Signature, capability, parse_attributes, request, signing_key
from devtypes.osd.security import KeyPair, derived_keys, initial_master_key
from scsiemu.object_requests import ObjectKind
from scsiemu.testing.initiator import Result

SECRET = b"the root secret of tests"
SEED = 0x1111111111111111111111111111111111111111


class Signer(Osd):
    """An `Osd` whose commands are signed.

    Attributes:
        keys: secret keys by (partition id, number).
        method: security method of the capabilities.
    """

    def __init__(self, method: int, version: int = 2, **options: Any) -> None:
        options.setdefault("root_secret", SECRET)
        super().__init__(version, security=method, **options)
        self.method = method
        self.keys: dict[tuple[int, int], KeyPair] = {(0, MASTER): initial_master_key(SECRET)}
        self.nonces = itertools.count(1)
        data = self.initiator.command("INQUIRY", evpd=1, page_code=0xB0, allocation_length=255).data
        self.system_id = data[4 + 8 + 16 :][:20]

    def token(self) -> bytes:
        """Of this nexus."""
        return self.initiator.command("INQUIRY", evpd=1, page_code=0xB1, allocation_length=255).data[4:]

    def sign(
        self, name: str, kind: int, pid: int, oid: int = 0, *, key: tuple[int, int] | None = None,
        capability_fields: dict[str, int] | None = None, nonce: bytes | None = None, **rest: Any,
    ) -> Request:
        """A signed command about an object."""
        method = max(self.method, 2) if key is not None else self.method
        allowed = capability(self.version, kind, pid, oid, method=method, **(capability_fields or {}))
        known = self.keys.get(key or (pid if (pid, WORKING_KEYS) in self.keys else 0, WORKING_KEYS))
        secret = signing_key(known or KeyPair(b"?", b"?"), allowed, self.system_id, version=self.version)
        if nonce is None:
            nonce = (1_700_000_000_500).to_bytes(6, "big") + next(self.nonces).to_bytes(6, "big")
        signature = Signature(method, secret, self.token(), nonce)
        ids = {"partition_id": pid, "object_id": oid} if kind not in (ObjectKind.ROOT, ObjectKind.PARTITION) else (
            {"partition_id": pid} if pid else {}
        )
        return request(
            name, version=self.version, signature=signature, **{**ids, **rest, "capability": allowed},
        )

    def send(self, sent: Request) -> Result:
        """Execute it."""
        return self.initiator.execute(0, sent.cdb, sent.data_out, sent.data_in)

    def do(self, name: str, kind: int, pid: int, oid: int = 0, **rest: Any) -> Result:
        """Sign and execute."""
        return self.send(self.sign(name, kind, pid, oid, **rest))

    def set_key(self, pid: int, what: int) -> Result:
        """SET KEY of a root (1), partition (2) or working key (3); our own follows if the unit took it."""
        parent = {1: (0, MASTER), 2: (0, ROOT_KEY), 3: (pid, PARTITION_KEY)}[what]
        number = {1: ROOT_KEY, 2: PARTITION_KEY, 3: WORKING_KEYS}[what]
        kind = ObjectKind.PARTITION if pid else ObjectKind.ROOT
        result = self.do("SET KEY", kind, pid, key=parent, key_to_set=what, seed=SEED, key_identifier=7)
        if result.good:
            self.keys[pid, number] = derived_keys(self.keys[parent], SEED.to_bytes(20, "big"))
        return result

    def ready(self) -> Signer:
        """Keys of partition zero and of a partition `PID`, which has an object of its number."""
        for pid, what in ((0, 1), (0, 2), (0, 3)):
            assert self.set_key(pid, what).good
        assert self.do("CREATE PARTITION", ObjectKind.PARTITION, PID).good
        for what in (2, 3):
            assert self.set_key(PID, what).good
        assert self.do("CREATE", ObjectKind.USER, PID, PID).good
        return self


def attributes(sent: Request, result: Result, version: int) -> list[bytes | None]:
    """Values that came back."""
    return [each.value for each in parse_attributes(sent, result.data, version=version)]


__all__ = ["SECRET", "Signer", "add_osd", "attributes"]
