"""The security of one command (OSD-2 4.12): who vouches for its capability, whether its bytes are what was signed.

`Guard.authenticate` comes first in a transaction; nothing else of the command is believed before it. What the
capability allows is `capability.check_capability`'s.
"""

from __future__ import annotations

from devtypes.osd.attribute_pages import NONCE_WINDOW, clock_offset, number_of
from devtypes.osd.capability import capability_refusal, parse_capability
from devtypes.osd.keys import WORKING_KEYS, Boot, KeyTree, NonceList
from devtypes.osd.objects import ROOT, ObjectRef
from devtypes.osd.offsets import decode_offset
from devtypes.osd.security import (
    HMAC_SHA1,
    SecurityMethod,
    capability_key,
    data_in_info,
    data_out_info,
    icv_length,
    integrity,
    request_icv,
    response_icv,
    same,
)
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.object_requests import ObjectKind, ObjectTransaction
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["Guard"]


class Guard:
    """See the module. Used for one command.

    Args:
        version: 1 or 2.
        cdb: all of it.
        fields: the same, parsed.
        capability: the fields of its capability.
        token: security token of the I_T nexus.
        tree: keys; None where the unit has none and serves NOSEC alone.
        nonces: those seen before.
        boot: of this run.
        default: security method where no attribute has one.
        secret: (partition id, number) of the key that signs; None for the working key that the capability names.

    Attributes:
        method: the security method, once it was proved; NOSEC before.
    """

    def __init__(
        self,
        *,
        version: int,
        cdb: bytes,
        fields: CdbFields,
        capability: CdbFields,
        token: bytes,
        tree: KeyTree | None,
        nonces: NonceList,
        boot: Boot,
        default: int,
        secret: tuple[int, int] | None = None,
    ) -> None:
        self.version = version
        self.boot = boot
        self.capability = capability
        self.method = SecurityMethod.NOSEC
        self._cdb = cdb
        self._fields = fields
        self._token = token
        self._tree = tree
        self._nonces = nonces
        self._default = default
        self._secret = secret
        self._nonce = fields.request_nonce.to_bytes(12, "big")
        self._key = b""

    @property
    def signs_responses(self) -> bool:
        """Whether sense data and the current command page have an integrity check value."""
        return self.method >= SecurityMethod.CMDRSP

    @property
    def covers_data(self) -> bool:
        """Whether data has integrity information."""
        return self.method == SecurityMethod.ALLDATA

    @property
    def claimed(self) -> int:
        """The security method that the command says it has."""
        return self.capability.method if self.capability.format else SecurityMethod.NOSEC

    def authenticate(self, tx: ObjectTransaction, ref: ObjectRef, system_id: bytes, now: int) -> None:
        """Refuse what no key of this unit vouches for. Raises CheckCondition, the field pointer at what is wrong."""
        capability, version = self.capability, self.version
        required = self._required(tx, ref)
        if not capability.format:
            if required:
                raise capability_refusal(version, "format")
            return
        method = capability.method
        if method < required or method > SecurityMethod.ALLDATA or (method and self._tree is None):
            raise capability_refusal(version, "method")
        if not method:
            return
        assert self._tree is not None
        if capability.algorithm != HMAC_SHA1:
            raise capability_refusal(version, "algorithm")
        # What is not there yet, or no more, is signed with a key of partition zero.
        pid = ref.pid if tx.kind(ref.pid, 0) is not None else 0
        keys = self._tree.get(tx, *(self._secret or (pid, WORKING_KEYS + capability.key_version)))
        if keys is None:
            raise capability_refusal(version, "key_version")
        raw = self._cdb[80 : 184 if version == 2 else 160]
        key = capability_key(keys.authentication, raw, system_id)
        at = 80 + len(raw)
        there = self._cdb[at : at + icv_length(version)]
        if not same(there, request_icv(method, key, self._cdb, self._token, version=version)):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(at))
        self._key = key
        self.method = method
        if self.signs_responses:
            self._nonces.take(
                self._nonce, now=now,
                oldest=max(now - self._limit(tx, ref, 2), self.boot.started + clock_offset(tx)),
                newest=now + self._limit(tx, ref, 3),
            )

    def proves(self, tx: ObjectTransaction, raw: bytes, proof: bytes, pid: int, system_id: bytes) -> bool:
        """Whether an extension capability is signed, with this command, by a working key of its partition.

        Args:
            raw: the capability; its integrity check value is `proof`, made as that of the request.
            pid: partition that it is for.
        """
        fields = parse_capability(raw, version=self.version)
        wrong = not fields.format or fields.algorithm != HMAC_SHA1 or fields.method != self.method
        if self._tree is None or wrong:
            return False
        keys = self._tree.get(tx, pid, WORKING_KEYS + fields.key_version)
        if keys is None:
            return False
        key = capability_key(keys.authentication, raw, system_id)
        return same(proof, request_icv(self.method, key, self._cdb, self._token, version=self.version))

    def _required(self, tx: ObjectTransaction, ref: ObjectRef) -> int:
        """The least security method of the object's partition."""
        found = self._attribute(tx, ref, 1)
        least = self._default if found is None else found
        # Whoever may set keys may do everything: no unit takes that unsigned.
        return least if self._secret is None else max(least, SecurityMethod.CMDRSP)

    def _limit(self, tx: ObjectTransaction, ref: ObjectRef, number: int) -> int:
        found = self._attribute(tx, ref, number)
        return NONCE_WINDOW if found is None else found

    def _attribute(self, tx: ObjectTransaction, ref: ObjectRef, number: int) -> int | None:
        """An attribute of the policy/security page of the partition, else of the root."""
        if ref.pid and tx.kind(ref.pid, 0) is not None:
            found = number_of(tx, ObjectRef(ref.pid, 0, ObjectKind.PARTITION), 5, number)
            if found is not None:
                return found
        return number_of(tx, ROOT, 5, number)

    # --- data ----------------------------------------------------------------------------------------------------

    def data_out_end(self) -> int:
        """Where data-out integrity information ends; 0 where the command has none. Raises CheckCondition."""
        if self.claimed != SecurityMethod.ALLDATA:
            return 0
        return self._offset("data_out_icv_offset") + 24 + icv_length(self.version)

    def check_data_out(self, data_out: bytes, data: bytes, setting: bytes, getting: bytes) -> None:
        """Refuse Data-Out that is not what was signed. Raises CheckCondition."""
        if not self.covers_data or not (data or setting or getting):
            return
        at = self._offset("data_out_icv_offset")
        expected = data_out_info(self._key, self._nonce, data, setting, getting, version=self.version)
        if not same(data_out[at : at + len(expected)], expected):
            raise CheckCondition(asc.INVALID_DATA_OUT_BUFFER_INTEGRITY_CHECK_VALUE)

    def check_segment(self, segment: bytes) -> None:
        """Refuse a CDB continuation segment that is not what was signed: its value is over it with zeros for itself."""
        if not self.signs_responses:
            return
        expected = integrity(self._key, self._nonce, segment[:8], bytes(32), segment[40:]).ljust(32, b"\0")
        if not same(segment[8:40], expected):
            raise CheckCondition(asc.INVALID_DATA_OUT_BUFFER_INTEGRITY_CHECK_VALUE)

    def seal_data_in(self, data: bytes, retrieved: bytes, whole: bytes) -> bytes:
        """Data-In with its integrity information, where the method wants it. Raises CheckCondition."""
        if not self.covers_data or not whole:
            return whole
        at = self._offset("data_in_icv_offset")
        if at < len(whole):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=self._pointer("data_in_icv_offset"))
        return whole + bytes(at - len(whole)) + data_in_info(
            self._key, self._nonce, data, retrieved, version=self.version
        )

    def data_in_end(self) -> int:
        """As `data_out_end`, of Data-In; 0 where the command says that it has none."""
        if self.claimed != SecurityMethod.ALLDATA or self._fields.data_in_icv_offset == 0xFFFFFFFF:
            return 0
        return self._offset("data_in_icv_offset") + 16 + icv_length(self.version)

    def response(self, status: int, content: bytes) -> bytes:
        """The integrity check value of a response."""
        return response_icv(self._key, self._nonce, status, content, version=self.version)

    def _offset(self, name: str) -> int:
        try:
            at = decode_offset(dict(self._fields.items())[name], version=self.version)
        except ValueError:
            at = None
        if at is None:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=self._pointer(name))
        return at

    def _pointer(self, name: str) -> FieldPointer:
        end = 236 if self.version == 2 else 200
        return FieldPointer(end - (4 if name == "data_out_icv_offset" else 8))
