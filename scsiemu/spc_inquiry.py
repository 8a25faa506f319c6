"""What even the smallest logical unit answers: INQUIRY, REPORT LUNS, REQUEST SENSE, TEST UNIT READY (SPC-5
clause 6).

Standard INQUIRY data comes from hooks that device types override, VPD pages from their declarations (`vpd`).
CMDDT is obsolete and refused. A LUN without a unit is the target's affair.
"""

from __future__ import annotations

import struct
from typing import ClassVar, Final

from scsiemu import asc
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion
from scsiemu.counters import Counters
from scsiemu.device_server import DeviceServer
from scsiemu.identity import Identity, derive
from scsiemu.nexus import Nexus, Protocol
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition, Sense, SenseCode
from scsiemu.vpd import available_vpd_pages

__all__ = ["INQUIRY", "REPORT_LUNS", "REQUEST_SENSE", "TEST_UNIT_READY", "InquiryOperations", "VersionDescriptor"]

INQUIRY: Final = CdbLayout("opcode:8 _:7 evpd page_code:8 allocation_length:16 control:8")
REPORT_LUNS: Final = CdbLayout("opcode:8 _:8 select_report:8 _:24 allocation_length:32 _:8 control:8")
REQUEST_SENSE: Final = CdbLayout("opcode:8 _:7 desc _:16 allocation_length:8 control:8")
TEST_UNIT_READY: Final = CdbLayout("opcode:8 _:32 control:8")

_STANDARD: Final = struct.Struct(">8B8s16s4s20x2x16s22x")
# VERSION: SPC-4. Of SPC-5 we have what its mandatory features need, but programs in the field refuse a 07h.
_SPC_4: Final = 0x06
_RESPONSE_DATA_FORMAT: Final = 2
_NO_SENSE: Final = SenseCode(0x0, 0x00, 0x00)


class VersionDescriptor:
    """VERSION DESCRIPTOR values, no version claimed (SPC-5 table 154)."""

    SAM_5: Final = 0x00A0
    SPC_4: Final = 0x0460
    SBC_4: Final = 0x0600
    SRP: Final = 0x0940
    ISCSI: Final = 0x0960


_PROTOCOL_VERSIONS: Final = {
    Protocol.ISCSI: VersionDescriptor.ISCSI,
    Protocol.SRP: VersionDescriptor.SRP,
}


class InquiryOperations(DeviceServer):
    """The commands that every logical unit has, well known ones too.

    Args:
        identity: the unit's names; what is empty is derived from target name and LUN.

    Attributes:
        default_product: PRODUCT IDENTIFICATION where the identity has none.
        identity: complete once the unit is part of a target.
        counters: for log pages; device types add to them.
    """

    default_product: ClassVar[str] = "LOGICAL UNIT"

    def __init__(self, *, identity: Identity | None = None) -> None:
        super().__init__()
        self.identity = identity or Identity()
        self.counters = Counters()

    def attached(self) -> None:
        """Complete the identity."""
        super().attached()
        target, lun = self.unit.target, self.unit.lun
        self.identity = derive(self.identity, target.name, lun, product=self.default_product)

    # --- what device types answer
    # ------------------------------------------------------------------------------

    @property
    def peripheral_qualifier(self) -> int:
        """PERIPHERAL QUALIFIER: 0 unless what the unit stands for is not connected now (1)."""
        return 0

    @property
    def removable(self) -> bool:
        """RMB bit."""
        return False

    @property
    def target_port_group_support(self) -> int:
        """TPGS field."""
        return 0

    def inquiry_bits(self) -> tuple[int, int]:
        """Further bits of bytes 5 (3PC 08h, PROTECT 01h) and 6 (ENCSERV 40h, MCHNGR 08h) of INQUIRY data."""
        return (0, 0)

    def version_descriptors(self) -> tuple[int, ...]:
        """The standards of the device type, at most five values of `VersionDescriptor` or its table."""
        return ()

    def pollable_sense(self, command: Command) -> Sense | None:
        """What REQUEST SENSE tells while no unit attention is pending: progress of a background operation, a
        low power condition, an informational exception. None for NO SENSE."""
        return None

    # --- commands
    # ----------------------------------------------------------------------------------------------

    @operation(
        0x00, "TEST UNIT READY", TEST_UNIT_READY, conflict=ReservationClass.PERSISTENT_ALLOWED, needs_ready=True,
        standard="SPC-5 6.53",
    )
    def test_unit_ready(self, command: Command, cdb: CdbFields) -> Completion:
        """GOOD: the dispatcher has asked `check_ready`."""
        return Completion()

    @operation(
        0x03, "REQUEST SENSE", REQUEST_SENSE, data=DataDirection.IN, conflict=ReservationClass.ALWAYS,
        allocation="allocation_length", attention_exempt=True, standby_allowed=True, standard="SPC-5 6.44",
    )
    def request_sense(self, command: Command, cdb: CdbFields) -> Completion:
        """A pending unit attention, which this clears, or else pollable sense data."""
        pending = command.nexus_state.attentions
        if pending:
            sense = Sense(pending.pop(0))
        else:
            sense = self.pollable_sense(command) or Sense(_NO_SENSE)
        return Completion(sense.encode(descriptor=bool(cdb.desc)))

    @operation(
        0x12, "INQUIRY", INQUIRY, data=DataDirection.IN, conflict=ReservationClass.ALWAYS,
        allocation="allocation_length", attention_exempt=True, standby_allowed=True, standard="SPC-5 6.7",
    )
    def inquiry(self, command: Command, cdb: CdbFields) -> Completion:
        """Standard INQUIRY data, or a VPD page."""
        first = self.peripheral_qualifier << 5 | self.peripheral_device_type
        if not cdb.evpd:
            if cdb.page_code:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="page_code")
            return Completion(self._standard_data(first, command.nexus))
        page = available_vpd_pages(self).get(cdb.page_code)
        if page is None:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="page_code")
        body: bytes = getattr(self, page.function)(command)
        return Completion(bytes((first, page.code)) + len(body).to_bytes(2, "big") + body)

    def _standard_data(self, first: int, nexus: Nexus) -> bytes:
        """Standard INQUIRY data, 96 bytes (SPC-5 6.7.2)."""
        byte_5, byte_6 = self.inquiry_bits()
        versions = [VersionDescriptor.SAM_5, VersionDescriptor.SPC_4, *self.version_descriptors()]
        if nexus.target_port.protocol in _PROTOCOL_VERSIONS:
            versions.append(_PROTOCOL_VERSIONS[nexus.target_port.protocol])
        identity = self.identity
        return _STANDARD.pack(
            first,
            self.removable << 7,
            _SPC_4,
            0x30 | _RESPONSE_DATA_FORMAT,                       # NORMACA, HISUP
            _STANDARD.size - 5,
            self.target_port_group_support << 4 | byte_5,
            (len(self.unit.target.ports) > 1) << 4 | byte_6,    # MULTIP
            0x02,                                               # CMDQUE
            identity.vendor.ljust(8).encode(),
            identity.product.ljust(16).encode(),
            identity.revision.ljust(4).encode(),
            b"".join(version.to_bytes(2, "big") for version in versions[:8]),
        )

    @operation(
        0xA0, "REPORT LUNS", REPORT_LUNS, data=DataDirection.IN, conflict=ReservationClass.ALWAYS,
        allocation="allocation_length", attention_exempt=True, standby_allowed=True, standard="SPC-5 6.38",
    )
    def report_luns(self, command: Command, cdb: CdbFields) -> Completion:
        """The LUNs that the command's nexus sees."""
        data = self.unit.target.report_luns(command.nexus, cdb.select_report)
        if data is None:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="select_report")
        for state in command.nexus.units.values():              # SPC-5 6.38: reported, so no longer news
            if asc.REPORTED_LUNS_DATA_HAS_CHANGED in state.attentions:
                state.attentions.remove(asc.REPORTED_LUNS_DATA_HAS_CHANGED)
        return Completion(data)
