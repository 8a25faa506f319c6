"""VERIFY, 6 and 16 (SSC-5 5.10, 6.11): blocks are read and checked, and with BYTCMP compared with what the initiator
sends."""

from __future__ import annotations

from typing import Final

from devtypes.vt import layouts
from devtypes.vt.config import LONGEST_TRANSFER
from devtypes.vt.layouts import tape_operation
from devtypes.vt.medium_layout import Asking
from devtypes.vt.read_write import ReadWrite
from devtypes.vt.transfer import Transfer
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Buffer, Command, Completion, Steps
from scsiemu.io_requests import DataOut, Sleep
from scsiemu.operations import DataDirection, Result
from scsiemu.sense import CheckCondition

__all__ = ["Verifying"]

_IN_A_ROW: Final = 1024                     # records, before other units have their turn


class Verifying(ReadWrite):
    """VERIFY."""

    @tape_operation(
        0x13, "VERIFY(6)", layouts.VERIFY_6, data=DataDirection.OUT, needs_ready=True, exclusive=True,
        recommended=36000, standard="SSC-5 6.11",
    )
    @tape_operation(
        0x8F, "VERIFY(16)", layouts.VERIFY_16, data=DataDirection.OUT, needs_ready=True, exclusive=True,
        recommended=36000, standard="SSC-5 5.10",
    )
    def verify(self, command: Command, cdb: CdbFields) -> Result:
        """So many blocks or bytes; with VBF so many filemarks; with VTE everything to the end of data. VLBPM makes no
        difference: what is on the medium has its own checksum."""
        if cdb.vte and cdb.vbf:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="vbf")
        if cdb.bytcmp and (cdb.vte or cdb.vbf or cdb.immed):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="bytcmp")
        length = self.fixed_length(cdb) if cdb.fixed else 0
        if cdb.vte or cdb.vbf:
            steps = self._verify_marks(command, cdb, length)
        else:
            transfer = Transfer.fixed(cdb.verification_length, length) if cdb.fixed else (
                Transfer.variable(cdb.verification_length)
            )
            if cdb.bytcmp and transfer.count * transfer.length > LONGEST_TRANSFER:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="verification_length")
            transfer.nexus = command.nexus
            steps = self._verify_blocks(cdb, transfer)
        return self.perform(steps, immediate=bool(cdb.immed), doing=asc.VERIFY_OPERATION_IN_PROGRESS)

    def _verify_blocks(self, cdb: CdbFields, transfer: Transfer) -> Steps:
        transfer.wants_data = False
        yield from self.address(cdb)
        expected: Buffer | None = None
        if cdb.bytcmp and transfer.count:
            raw = yield from DataOut(transfer.count * transfer.length)
            expected = bytes(raw)
        while transfer.done < transfer.count:
            data = yield from self.next_block(transfer)
            data = self.protection_read.protect(data)
            self.check_length(transfer, data)
            if expected is not None:
                start = transfer.done * transfer.length
                if expected[start : start + transfer.length] != data:
                    code = asc.MISCOMPARE_DURING_VERIFY_OPERATION
                    raise CheckCondition(code, information=transfer.residual)
            transfer.take(data)
            if transfer.done % _IN_A_ROW == 0:
                yield from Sleep(0)
        return Completion()

    def _verify_marks(self, command: Command, cdb: CdbFields, length: int) -> Steps:
        """VBF and VTE: residuals count filemarks; to the end of data there is none."""
        yield from self.address(cdb)
        left = cdb.verification_length if cdb.vbf else -1
        verified = 0
        while left:
            try:
                passed = yield from self._verify_one(command, length)
            except CheckCondition as refusal:
                if cdb.vte and refusal.sense.code == asc.END_OF_DATA_DETECTED:
                    break
                residual = left if cdb.vbf else None
                sense = refusal.sense
                raise CheckCondition(sense.code, information=residual, eom=sense.eom, ili=sense.ili) from None
            left -= passed if cdb.vbf else 0
            verified += 1
            if verified % _IN_A_ROW == 0:
                yield from Sleep(0)
        return Completion()

    def _verify_one(self, command: Command, length: int) -> Asking[int]:
        """Verify what comes next: 1 where that is a filemark. Raises CheckCondition."""
        one = Transfer.fixed(1, length) if length else Transfer.variable(1)
        one.wants_data = False
        one.nexus = command.nexus
        one.lengths_count = bool(length)
        try:
            data = yield from self.next_block(one)
        except CheckCondition as refusal:
            if refusal.sense.filemark:
                return 1
            raise
        self.check_length(one, self.protection_read.protect(data))
        return 0
