"""The vital product data pages that every device type has (SPC-5 7.7): 00h, 80h, 83h, 86h, 87h, 88h.

Extended INQUIRY data has a hook for what device types add. Not here: 84h, 85h, 8Ah to 92h; a device type
declares those that it has a use for.
"""

from __future__ import annotations

from typing import Final

from scsiemu.command import Command
from scsiemu.layout import PageLayout
from scsiemu.nexus import TargetPort
from scsiemu.spc_inquiry import InquiryOperations
from scsiemu.vpd import Association, Designator, DesignatorType, available_vpd_pages, vpd_page

__all__ = ["EXTENDED_INQUIRY", "MAXIMUM_SENSE_LENGTH", "VpdPages"]

# MAXIMUM SUPPORTED SENSE DATA LENGTH: what fits the header of descriptor sense data.
MAXIMUM_SENSE_LENGTH: Final = 252

EXTENDED_INQUIRY: Final = PageLayout(
    "activate_microcode:2 spt:3 grd_chk app_chk ref_chk "
    "_:2 uask_sup group_sup prior_sup headsup=1 ordsup=1 simpsup=1 "
    "_:4 wu_sup crd_sup nv_sup v_sup "
    "_:2 no_pi_chk p_i_i_sup _:3 luiclr=1 "
    "lu_collection_type:3 r_sup rtd_sup=1 hssrelef _ obsolete "
    "_:4 multi_i_t_nexus_microcode_download:4 "
    "extended_self_test_completion_minutes:16 "
    "poa_sup hra_sup vsa_sup dms_valid _:4 "
    "maximum_supported_sense_data_length:8=252 "
    "ibs ias sac _:3 nrd1 nrd0 "
    "maximum_inquiry_change_logs:16 maximum_mode_page_change_logs:16 "
    "dm_md:32 dm_md_valid:8 _:320"
)


class VpdPages(InquiryOperations):
    """VPD pages of all device types."""

    def extended_inquiry(self) -> dict[str, int]:
        """Fields of `EXTENDED_INQUIRY` that are not as it says by default."""
        return {}

    def designators(self) -> list[Designator]:
        """The designators of the logical unit itself, the best first."""
        identity = self.identity
        t10 = identity.vendor.ljust(8) + identity.product.ljust(16) + identity.serial
        found = [
            Designator(DesignatorType.NAA, identity.naa),
            Designator(DesignatorType.T10_VENDOR_ID, t10.encode()[:252]),
            Designator.scsi_name(f"naa.{identity.naa.hex().upper()}", Association.LOGICAL_UNIT),
        ]
        if identity.eui64:
            found.insert(1, Designator(DesignatorType.EUI_64, identity.eui64))
        return found

    @vpd_page(0x00, "Supported VPD pages", standard="SPC-5 7.7.17")
    def vpd_supported_pages(self, command: Command) -> bytes:
        """The pages that INQUIRY answers."""
        return bytes(available_vpd_pages(self))

    @vpd_page(0x80, "Unit serial number", standard="SPC-5 7.7.19")
    def vpd_unit_serial_number(self, command: Command) -> bytes:
        """PRODUCT SERIAL NUMBER."""
        return self.identity.serial.encode()

    @vpd_page(0x83, "Device identification", standard="SPC-5 7.7.6")
    def vpd_device_identification(self, command: Command) -> bytes:
        """Designators of the unit, of the target port that the command came through, and of the target
        device."""
        port = command.nexus.target_port
        group = bytes(2) + port.group.to_bytes(2, "big")
        number = bytes(2) + port.relative_identifier.to_bytes(2, "big")
        found = [
            *self.designators(),
            Designator(DesignatorType.RELATIVE_TARGET_PORT, number, Association.TARGET_PORT, port.protocol),
            Designator(DesignatorType.TARGET_PORT_GROUP, group, Association.TARGET_PORT, port.protocol),
            *_names(port.name, Association.TARGET_PORT, port.protocol),
            *_names(port.device_name, Association.TARGET_DEVICE, port.protocol),
        ]
        return b"".join(designator.encode() for designator in found)

    @vpd_page(0x86, "Extended INQUIRY data", standard="SPC-5 7.7.7")
    def vpd_extended_inquiry(self, command: Command) -> bytes:
        """`EXTENDED_INQUIRY` as the device type changes it."""
        return EXTENDED_INQUIRY.replace(EXTENDED_INQUIRY.defaults, **self.extended_inquiry())

    @vpd_page(0x88, "SCSI ports", standard="SPC-5 7.7.15")
    def vpd_scsi_ports(self, command: Command) -> bytes:
        """Every port of the target device."""
        return b"".join(_port_descriptor(port) for port in self.unit.target.ports)


def _port_descriptor(port: TargetPort) -> bytes:
    """SCSI port designation descriptor (SPC-5 table 622); none is an initiator port."""
    designators = b"".join(d.encode() for d in _names(port.name, Association.TARGET_PORT, port.protocol))
    head = bytes(2) + port.relative_identifier.to_bytes(2, "big") + bytes(6)
    return head + len(designators).to_bytes(2, "big") + designators


def _names(name: str, association: int, protocol: int) -> list[Designator]:
    """The SCSI name string of a port or device, if its name has one of the forms of SPC-5 7.7.6.11."""
    if not name.startswith(("iqn.", "naa.", "eui.")):
        return []
    return [Designator.scsi_name(name, association, protocol)]
