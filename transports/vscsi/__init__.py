"""IBM virtual SCSI: SRP over a hypervisor's queues and DMA windows, in process and over a Unix socket."""

from __future__ import annotations

from transports.vscsi.in_process import Loopback, loopback
from transports.vscsi.port import VscsiLimits, VscsiPort
from transports.vscsi.requests import FragmentRule, Request, Result, VscsiError

__all__ = ["FragmentRule", "Loopback", "Request", "Result", "VscsiError", "VscsiLimits", "VscsiPort", "loopback"]
