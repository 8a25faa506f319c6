"""SET KEY and SET MASTER KEY: the key tree, changed by who has the key above (OSD-2).

SET KEY makes a root, partition or working key of a seed that anybody may see, with the generation key of its parent.
SET MASTER KEY needs a secret that nobody saw go by: both sides make it by Diffie-Hellman (RFC 3526 group 14) in two
commands, SEED EXCHANGE and CHANGE MASTER KEY. DH_DATA is 256 bytes; the second command's parameter list is that of the
initiator followed by that of the unit. The new master key is made by SET KEY's rule of HMAC(old generation key, shared
secret). Which byte layouts the standard gives to the parameter lists we could not check.
"""

from __future__ import annotations

from typing import Final

from devtypes.osd.base import OsdBase
from devtypes.osd.capability import Permission
from devtypes.osd.config import OsdConfig
from devtypes.osd.execution import Work
from devtypes.osd.keys import MASTER, PARTITION_KEY, ROOT_KEY, WORKING_KEYS, KeyTree
from devtypes.osd.layouts import osd_operation
from devtypes.osd.objects import ROOT, ObjectRef
from devtypes.osd.security import KeyPair, derived_keys, integrity, same
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Steps
from scsiemu.identity import Identity
from scsiemu.object_requests import ObjectKind
from scsiemu.sense import CheckCondition

__all__ = ["DH_BYTES", "DH_PRIME", "KeyCommands"]

# RFC 3526 clause 3; the generator is 2.
DH_PRIME: Final = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
DH_BYTES: Final = 256
_ROOT, _PARTITION, _WORKING = 1, 2, 3
_SET_KEY: Final = "partition_id:64 _:4 key_version:4 key_identifier:56 seed:160"
_SET_MASTER_KEY: Final = "_:72 key_identifier:56 parameter_list_length:32 allocation_length:32 _:96"


class KeyCommands(OsdBase):
    """See the module. A unit without a root secret has none of them."""

    def __init__(self, config: OsdConfig | None = None, identity: Identity | None = None) -> None:
        super().__init__(config, identity)
        self._exchange: _Exchange | None = None

    @osd_operation(
        0x18, "SET KEY", (_SET_KEY, _SET_KEY), byte_11=("_:2 cdbfmt:2 _:2 key_to_set:2",) * 2,
        available=lambda server: bool(server.has_keys),
    )
    def osd_set_key(self, command: Command, cdb: CdbFields) -> Steps:
        """A root, partition or working key of a seed; the keys below it become invalid."""
        tree, what, pid = self.keys, cdb.key_to_set, cdb.partition_id
        assert tree is not None
        if what not in (_ROOT, _PARTITION, _WORKING):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="key_to_set")
        if what == _ROOT and pid:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="partition_id")
        if what != _WORKING and cdb.key_version:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="key_version")
        parent = {_ROOT: (0, MASTER), _PARTITION: (0, ROOT_KEY), _WORKING: (pid, PARTITION_KEY)}[what]
        number = {_ROOT: ROOT_KEY, _PARTITION: PARTITION_KEY, _WORKING: WORKING_KEYS + cdb.key_version}[what]
        ref = ObjectRef(pid, 0, ObjectKind.PARTITION) if pid else ROOT

        def function(work: Work) -> bytes:
            work.require(ref)
            above = _known(tree, work, parent)
            keys = derived_keys(above, cdb.seed.to_bytes(20, "big"))
            tree.put(work.tx, pid, number, keys, cdb.key_identifier.to_bytes(7, "big"))
            return b""

        needed = Permission.DEVICE_MANAGEMENT | Permission.SECURITY
        return self.carry_out(command, cdb, ref, function, needed, durable=True, secret=parent)

    @osd_operation(
        0x19, "SET MASTER KEY", (_SET_MASTER_KEY, _SET_MASTER_KEY), byte_11=("_:2 cdbfmt:2 _:2 dh_step:2",) * 2,
        available=lambda server: bool(server.has_keys),
    )
    def osd_set_master_key(self, command: Command, cdb: CdbFields) -> Steps:
        """SEED EXCHANGE (step 0), then CHANGE MASTER KEY (step 1), both by the same nexus."""
        tree, step, length = self.keys, cdb.dh_step, cdb.parameter_list_length
        assert tree is not None
        if step > 1:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="dh_step")
        if length != DH_BYTES * (step + 1):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        if not step:
            self._exchange = exchange = _Exchange(command.nexus.key)
        else:
            known, self._exchange = self._exchange, None
            if known is None or known.nexus != command.nexus.key:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="dh_step")
            exchange = known

        def seed_exchange(work: Work) -> bytes:
            given = work.data
            theirs = int.from_bytes(given, "big")
            if not 2 <= theirs <= DH_PRIME - 2:
                raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST)
            own = int.from_bytes(work.tx.random(32), "big") | 1 << 255
            answer = pow(2, own, DH_PRIME).to_bytes(DH_BYTES, "big")
            exchange.shared = pow(theirs, own, DH_PRIME).to_bytes(DH_BYTES, "big")
            exchange.said = given + answer
            return answer[: cdb.allocation_length]

        def change(work: Work) -> bytes:
            if not exchange.said or not same(work.data, exchange.said):
                raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST)
            old = _known(tree, work, (0, MASTER))
            keys = derived_keys(old, integrity(old.generation, exchange.shared))
            tree.put(work.tx, 0, MASTER, keys, cdb.key_identifier.to_bytes(7, "big"))
            return b""

        needed = Permission.DEVICE_MANAGEMENT | Permission.SECURITY
        return self.carry_out(
            command, cdb, ROOT, change if step else seed_exchange, needed, data_length=length, durable=bool(step),
            secret=(0, MASTER),
        )


class _Exchange:
    """A Diffie-Hellman exchange that was begun. Filled in by the transaction of its first command."""

    def __init__(self, nexus: tuple[bytes, int]) -> None:
        self.nexus = nexus
        self.shared = b""
        self.said = b""


def _known(tree: KeyTree, work: Work, which: tuple[int, int]) -> KeyPair:
    """The key above; by NOSEC nobody needs to have had it. Raises CheckCondition where there is none."""
    found = tree.get(work.tx, *which)
    if found is None:
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="key_to_set" if which[1] != MASTER else "dh_step")
    return found
