"""The server's answers to management datagrams, and what it sends on its own through those left with it.

A client may leave an EMPTY IU: a buffer for one information unit that is no response. An asynchronous event, a change
of the request limit or a logout goes out in it, and ends it. One datagram at a time, not counting that one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from transports.vscsi.codes import CrqFormat, MadStatus, MadType, Return
from transports.vscsi.crq import CrqElement
from transports.vscsi.information_units import AerRequest, CreditRequest, TargetLogout
from transports.vscsi.mad import (
    ADAPTER_INFO_LENGTH,
    CAPABILITIES_LENGTH,
    AdapterInfo,
    Capabilities,
    Capability,
    CapabilityFlags,
    CapabilityType,
    Mad,
    MadError,
    decode_adapter_info,
    decode_capabilities,
    decode_mad,
)

if TYPE_CHECKING:
    from transports.vscsi.adapter import TargetAdapter

__all__ = ["MadServer"]

_LONGEST_MAD: Final = 256
_LONGEST_LIST: Final = 4096
_LOG_KEPT: Final = 240

# Makes the bytes of an information unit with a tag.
_Maker: TypeAlias = Callable[[int], bytes]

# What we know: type to SERVER SUPPORT and data. Reservations are SCSI-2's and persistent; moving is the hypervisor's.
_SUPPORTED: Final[dict[int, Capability]] = {
    CapabilityType.RESERVE: Capability(CapabilityType.RESERVE, 1, 1),
}


class MadServer:
    """The management datagrams of one connection.

    Attributes:
        client: what the client told of itself.
        fast_fail: it asked for fast fail.
    """

    def __init__(self, adapter: TargetAdapter) -> None:
        self._adapter = adapter
        self._next_tag = 1
        self.reset()

    def reset(self) -> None:
        """A connection has ended."""
        self.client: AdapterInfo | None = None
        self.fast_fail = False
        self._empty: tuple[int, int, Mad] | None = None     # address, length and content of the datagram left with us
        self._awaited: set[int] = set()                     # tags of our requests that are not answered

    def answer(self, element: CrqElement) -> None:
        """A datagram has come."""
        adapter = self._adapter
        if adapter.waiting:
            adapter.disconnect("a second management datagram before the first was answered")
            return
        data = adapter.fetch(element, _LONGEST_MAD)
        if data is None:
            return
        try:
            mad = decode_mad(data)
        except MadError as error:
            adapter.disconnect(str(error))
            return
        match mad.type:
            case MadType.EMPTY_IU if self._empty is None and mad.buffer is not None:
                self._empty = element.iu_address, len(data), mad
                return
            case MadType.EMPTY_IU:
                status = MadStatus.FAILED       # one is enough
            case MadType.ENABLE_FAST_FAIL:
                self.fast_fail = True
                status = MadStatus.SUCCESS
            case MadType.ADAPTER_INFO:
                status = self._adapter_info(mad)
            case MadType.CAPABILITIES:
                status = self._capabilities(mad)
            case MadType.ERROR_LOG:
                status = self._error_log(mad)
            case _:
                status = MadStatus.NOT_SUPPORTED
        self._reply(element.iu_address, len(data), mad, status)

    def _reply(self, address: int, length: int, mad: Mad, status: int) -> None:
        answer = Mad(mad.type, mad.tag, status, mad.length, mad.buffer).encode()[:length]
        self._adapter.send_response(CrqFormat.MAD, address, mad.tag, answer)

    # --- the datagrams -----------------------------------------------------------------------------------------

    def _read(self, mad: Mad, longest: int) -> bytes | None:
        """The client's buffer; None where there is none or it cannot be read."""
        if mad.buffer is None or not 0 < mad.length <= longest:
            return None
        data = self._adapter.hypervisor.copy_in(self._adapter.unit, mad.buffer, mad.length)
        return None if isinstance(data, int) else data

    def _write(self, mad: Mad, data: bytes) -> int:
        if mad.buffer is None or len(data) > mad.length:
            return MadStatus.FAILED
        code = self._adapter.hypervisor.copy_out(self._adapter.unit, mad.buffer, data)
        return MadStatus.SUCCESS if code == Return.SUCCESS else MadStatus.FAILED

    def _adapter_info(self, mad: Mad) -> int:
        data = self._read(mad, ADAPTER_INFO_LENGTH)
        if data is None or len(data) < ADAPTER_INFO_LENGTH:
            return MadStatus.FAILED
        self.client = decode_adapter_info(data)
        limits = self._adapter.port.limits
        own = AdapterInfo(limits.partition_name, limits.partition_number, limits.os_type, (limits.max_transfer,))
        return self._write(mad, own.encode())

    def _capabilities(self, mad: Mad) -> int:
        data = self._read(mad, _LONGEST_LIST)
        if data is None or len(data) < CAPABILITIES_LENGTH:
            return MadStatus.FAILED
        try:
            asked = decode_capabilities(data)
        except MadError:
            return MadStatus.FAILED
        known = tuple(_SUPPORTED.get(entry.type, Capability(entry.type, 0, entry.data)) for entry in asked.entries)
        flags = asked.flags
        if any(entry.support == 0 for entry in known):
            flags &= ~CapabilityFlags.LIST_SUPPORTED
        return self._write(mad, Capabilities(flags, asked.name, asked.location, known).encode())

    def _error_log(self, mad: Mad) -> int:
        data = self._read(mad, _LONGEST_LIST)
        if data is None:
            return MadStatus.FAILED
        text = data.rstrip(b"\0")[:_LOG_KEPT].decode("ascii", "backslashreplace")
        self._adapter.violations.append(f"the client logs: {text!r}")
        return MadStatus.SUCCESS

    # --- what we send on our own -------------------------------------------------------------------------------

    def send_event(self, lun: int, sense: bytes) -> bool:
        """SRP_AER_REQ. False: there is no datagram for it, or the client has not answered the last."""
        if self._awaited:
            return False
        return self._send(lambda tag: AerRequest(tag, lun, sense).encode(), answered=True)

    def send_credits(self, delta: int) -> bool:
        """SRP_CRED_REQ."""
        if self._awaited:
            return False
        return self._send(lambda tag: CreditRequest(tag, delta).encode(), answered=True)

    def send_logout(self, reason: int) -> bool:
        """SRP_T_LOGOUT."""
        return self._send(lambda tag: TargetLogout(tag, reason).encode(), answered=False)

    def _send(self, make: _Maker, *, answered: bool) -> bool:
        if self._empty is None:
            return False
        address, length, mad = self._empty
        self._empty = None
        tag = self._next_tag
        data = make(tag)
        if self._write(mad, data) != MadStatus.SUCCESS:
            self._reply(address, length, mad, MadStatus.FAILED)
            return False
        self._next_tag += 1
        if answered:
            self._awaited.add(tag)
        filled = Mad(mad.type, mad.tag, MadStatus.SUCCESS, len(data), mad.buffer)
        self._reply(address, length, filled, MadStatus.SUCCESS)
        return True

    def take_response(self, tag: int) -> bool:
        """The client has answered a request of ours. False: there is no such."""
        if tag not in self._awaited:
            return False
        self._awaited.discard(tag)
        return True
