"""Object storage over virtual SCSI: long CDBs as additional CDB bytes, data both ways in one command."""

from __future__ import annotations

import pytest

from devtypes.osd.requests import parse_attributes, parse_ids, request
from scsiemu.testing.served import ScsiTarget
from transports import vscsi
from transports.vscsi.in_process import Loopback

PID, OID = 0x10000, 0x10001


def unit(iu_length: int) -> Loopback:
    """An object storage device, unit attentions taken."""
    here = ScsiTarget("--osd", "8M")
    link = vscsi.loopback(here.target, iu_length=iu_length)
    while link.execute(0, bytes(6)).status:
        pass
    return link


@pytest.mark.parametrize("version", [1, 2])
def test_vscsi_objects(version: int) -> None:
    """Create with attributes asked for (data both ways), write, read, set, get, list, remove."""
    with unit(512) as link:

        def send(name: str, **fields: object) -> bytes:
            sent = request(name, version=version, **fields)     # type: ignore[arg-type]  # as of `request`
            assert len(sent.cdb) == (200, 236)[version - 1]
            result = link.execute(0, sent.cdb, sent.data_out, allocation=sent.data_in)
            assert result.good, result
            if "get" in fields:
                values.extend(parse_attributes(sent, result.data, version=version))
            return result.data

        values: list[object] = []
        send("FORMAT OSD")
        send("CREATE PARTITION", partition_id=PID)
        send("CREATE", partition_id=PID, object_id=OID, get=((0xFFFFFFFE, 4),))
        send("WRITE", data=b"hello", partition_id=PID, object_id=OID, length=5)
        send("SET ATTRIBUTES", partition_id=PID, object_id=OID, set=((0x10001, 1, b"x"),))
        send("GET ATTRIBUTES", partition_id=PID, object_id=OID, get=((0x10001, 1), (1, 0x82)))

        assert [each.value for each in values] == [         # type: ignore[attr-defined]  # attributes
            OID.to_bytes(8, "big"), b"x", (5).to_bytes(8, "big")
        ]
        assert send("READ", data_in=5, partition_id=PID, object_id=OID, length=5) == b"hello"
        assert parse_ids(send("LIST", data_in=64, partition_id=PID, allocation_length=64)) == ([OID], 0)
        send("REMOVE", partition_id=PID, object_id=OID)


def test_vscsi_residuals_both_ways() -> None:
    """What was not sent and what was not filled are told apart."""
    with unit(512) as link:
        for sent in (request("FORMAT OSD", version=1), request("CREATE PARTITION", version=1, partition_id=PID)):
            assert link.execute(0, sent.cdb).good
        sent = request("CREATE", version=1, partition_id=PID, get=((0xFFFFFFFE, 4),))
        result = link.execute(0, sent.cdb, sent.data_out + bytes(9), allocation=1000)

        assert result.good
        length = len(result.data)
        assert result.residuals == (1000 - length, 9)


def test_vscsi_plain_units() -> None:
    """Information units of 256 bytes, which real partners have, carry OSD-1 with data one way."""
    with unit(256) as link:
        sent = [request(name, version=1, partition_id=PID) for name in ("CREATE PARTITION", "CREATE")]
        sent.append(request("WRITE", version=1, data=b"hello", partition_id=PID, object_id=PID, length=5))
        sent.append(request("READ", version=1, data_in=5, partition_id=PID, object_id=PID, length=5))
        for each in sent:
            result = link.execute(0, each.cdb, each.data_out, allocation=each.data_in)
            assert result.good, result

        assert result.data == b"hello"
