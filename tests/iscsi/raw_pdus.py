"""PDUs by hand: given to a target over memory, its answers taken as they are."""

from __future__ import annotations

from iscsi_world import World, tur, write

from scsiemu.sam import Status
from scsiemu.sense import decode_sense
from transports.iscsi import pdu as pdus
from transports.iscsi.codes import Flags
from transports.iscsi.framing import encode
from transports.iscsi.keys import OperationalSettings
from transports.iscsi.loopback import Loopback

__all__ = ["R2T_ONLY", "alive", "begin_write", "command", "give", "sense_of", "sent"]

R2T_ONLY = OperationalSettings(initial_r2t=True, immediate_data=False, max_outstanding_r2t=1)


def command(link: Loopback, cdb: bytes, flags: int, length: int, *, tag: int = 0x700, lun: int = 0,
            data: bytes = b"") -> pdus.ScsiCommand:
    """A SCSI Command PDU with the session's next CmdSN, not yet sent."""
    pdu = pdus.ScsiCommand(flags, 0, lun, tag, length, link.session.cmd_sn, 0, cdb.ljust(16, b"\0"))
    pdu.data = data
    link.session.cmd_sn = (link.session.cmd_sn + 1) & 0xFFFFFFFF
    return pdu


def sent(link: Loopback) -> list[pdus.Pdu]:
    """The PDUs that the target has queued; the initiator sees no more of them than the StatSN."""
    out = b"".join(bytes(part) for part in link.connection.out)
    link.connection.data_sent(len(out))
    link.session.exp_stat_sn = link.connection.stat_sn
    found, at = [], 0
    while at < len(out):
        pdu = pdus.decode_bhs(out, at)
        length = int.from_bytes(out[at + 5 : at + 8], "big")
        pdu.data = out[at + 48 : at + 48 + length]
        found.append(pdu)
        at += 48 + (length + 3 & ~3)
    return found


def give(link: Loopback, *requests: pdus.Pdu) -> list[pdus.Pdu]:
    """Give the target PDUs, take its answers."""
    for request in requests:
        link.inject(b"".join(bytes(part) for part in encode(request)))
    return sent(link)


def begin_write(link: Loopback, blocks: int = 2, tag: int = 0x700) -> pdus.R2T:
    """A WRITE at LBA 0 that has its first R2T."""
    answers = give(link, command(link, write(0, blocks), Flags.FINAL | Flags.WRITE, blocks * 512, tag=tag))
    assert isinstance(answers[0], pdus.R2T)
    return answers[0]


def sense_of(answer: pdus.Pdu) -> tuple[int, int, int]:
    """Key, ASC and ASCQ of a CHECK CONDITION."""
    assert isinstance(answer, pdus.ScsiResponse)
    assert answer.status == Status.CHECK_CONDITION
    sense = decode_sense(bytes(answer.data[2:]))
    assert sense is not None
    return (sense.code.key, sense.code.asc, sense.code.ascq)


def alive(world: World) -> None:
    """Somebody else can still work."""
    other = world.connect(isid=200)
    assert other.execute(0, tur()).status == Status.GOOD
    assert world.node.data_out_budget.used == 0
