"""What there is over HTTP: commands, task management, units, operations, metrics, initiators."""

from __future__ import annotations

import base64
import json
import re

import pytest
from http_world import COMMANDS, INQUIRY, NAME, READ_ONE, WRITE_ONE, Wire, disk_target, encode, wire

from devtypes.vd import VirtualDisk
from scsiemu.operations import OperationTable
from transports.http.port import HttpLimits, HttpPort

JSON = {"Content-Type": "application/json", "SCSI-Initiator": "me"}
OCTETS = {"Content-Type": "application/octet-stream", "SCSI-Initiator": "me"}
TMF = "/targets/0/units/0/tmf"
TEST_UNIT_READY = "00 00 00 00 00 00"
RESERVE = "160000000000"


def test_command_attention_once() -> None:
    """A new initiator is told of the power on, decoded, and then not again."""
    client, _ = wire(ready=False)

    first = client.execute(TEST_UNIT_READY)
    assert (first["status"], first["status_name"]) == (2, "CHECK CONDITION")
    assert first["sense"]["title"].startswith("UNIT ATTENTION: POWER ON")
    assert first["sense"]["hex"].startswith("70000600")
    second = client.execute(TEST_UNIT_READY)
    assert (second["status"], second["sense"]) == (0, None)
    assert second["command"]["title"] == "TEST UNIT READY"


def test_command_data_in() -> None:
    """Data, its decoding, and residuals both ways from what was allocated."""
    client, _ = wire()

    found = client.execute(INQUIRY, allocation=200)
    data = base64.b64decode(found["data_in"]["base64"])
    assert len(data) == found["data_in"]["length"] == 96
    assert found["data_in"]["decoded"]["fields"]["t10_vendor_identification"].strip() == "SCSIEMU"
    assert found["residual"] == {"data_in": 104, "data_out": 0}
    short = client.execute(INQUIRY, allocation=36)
    assert (short["data_in"]["length"], short["residual"]["data_in"]) == (36, -60)
    free = client.execute(INQUIRY)
    assert (free["data_in"]["length"], free["residual"]["data_in"]) == (96, 0)


def test_command_data_out() -> None:
    """Data-Out in base64; the residual of what was not wanted."""
    client, _ = wire()
    block = bytes(range(256)) * 2

    written = client.execute(WRITE_ONE, data_out=base64.b64encode(block + b"more").decode())
    assert (written["status"], written["residual"]) == (0, {"data_in": 0, "data_out": 4})
    read = client.execute(READ_ONE)
    assert base64.b64decode(read["data_in"]["base64"]) == block
    assert read["data_in"]["decoded"] is None


def test_command_refused_by_unit() -> None:
    """A CHECK CONDITION is a successful exchange; the sense data is explained."""
    client, _ = wire()
    found = client.execute("28007fffffff00000100", allocation=512)

    assert found["sense"]["title"].startswith("ILLEGAL REQUEST: LOGICAL BLOCK ADDRESS OUT OF RANGE")
    assert found["residual"]["data_in"] == 512
    assert found["data_in"] == {"length": 0, "base64": "", "decoded": None}


def test_command_no_unit() -> None:
    """A LUN without a unit answers as SPC has it."""
    client, _ = wire()
    asked = json.dumps({"cdb": INQUIRY}).encode()

    answer = client.request("POST", "/targets/0/units/9/commands", asked, fields=JSON)
    assert base64.b64decode(answer.json["data_in"]["base64"])[0] == 0x7F
    asked = json.dumps({"cdb": TEST_UNIT_READY}).encode()
    answer = client.request("POST", f"/targets/{NAME}/units/0009000000000000/commands", asked, fields=JSON)
    assert "LOGICAL UNIT NOT SUPPORTED" in answer.json["sense"]["title"]


def test_command_octets() -> None:
    """Bytes in, bytes out: the CDB in a field or the query, status and residuals in fields."""
    client, _ = wire()
    block = bytes(range(256)) * 2

    written = client.request("POST", COMMANDS, block, fields={**OCTETS, "SCSI-CDB": WRITE_ONE})
    assert written.json["status"] == 0
    read = client.request(
        "POST", f"{COMMANDS}?cdb={READ_ONE}&allocation=600", b"",
        fields={"SCSI-Initiator": "me", "Accept": "application/octet-stream"},
    )
    assert read.content == block
    assert read.fields["content-type"] == "application/octet-stream"
    assert (read.fields["scsi-status"], read.fields["scsi-residual-in"], read.fields["scsi-residual-out"]) == (
        "00", "88", "0"
    )
    failed = client.request(
        "POST", f"{COMMANDS}?cdb=ee0000000000", b"",
        fields={"SCSI-Initiator": "me", "Accept": "application/octet-stream;q=1, text/plain"},
    )
    assert failed.fields["scsi-status"] == "02"
    assert failed.fields["scsi-sense"].startswith("700005")


@pytest.mark.parametrize("query", ["cdb=00&more=1", "cdb=00&tag=x", "allocation=1", "cdb=00&allocation=-1", "cdb=%00"])
def test_command_query_refused(query: str) -> None:
    """A query that asks for no command."""
    assert wire()[0].request("POST", f"{COMMANDS}?{query}", b"").status == 400


def test_command_too_much_data_out() -> None:
    """More Data-Out than a command may have, although its base64 was let in."""
    client, _ = wire(limits=HttpLimits(max_transfer=3))
    content = json.dumps({"cdb": WRITE_ONE, "data_out": base64.b64encode(bytes(4)).decode()}).encode()

    assert client.request("POST", COMMANDS, content, fields=JSON).status == 413


def test_initiators_are_nexuses() -> None:
    """Names are initiators: a reservation of one is a conflict for another, over one connection or two."""
    client, _ = wire()
    other = Wire(client.port)
    other.execute(TEST_UNIT_READY, initiator="you")

    assert client.execute(RESERVE)["status"] == 0
    assert other.execute(TEST_UNIT_READY, initiator="you")["status_name"] == "RESERVATION CONFLICT"
    assert other.execute(TEST_UNIT_READY, initiator="me")["status"] == 0
    assert {each["name"] for each in client.request("GET", "/initiators").json["initiators"]} == {"me", "you"}
    assert client.request("GET", "/initiators/me").json["connections"] == 2
    assert client.request("DELETE", "/initiators/me").status == 204
    assert client.request("GET", "/initiators/me").status == 404
    assert other.execute(TEST_UNIT_READY, initiator="you")["status"] == 0


def test_initiator_outlives_connection() -> None:
    """A name, and its reservation, last a while after the last connection that used it."""
    client, _ = wire()
    client.execute(RESERVE)
    client.connection.closed()
    target = client.port.targets[0]

    client.port.advance(299.0)
    assert len(target.nexuses) == 1
    assert client.port.deadline() == 300.0
    again = Wire(client.port)
    assert again.execute(RESERVE)["status"] == 0
    client.port.advance(1000.0)
    assert len(target.nexuses) == 1
    again.connection.closed()
    client.port.advance(1300.0)
    assert len(target.nexuses) == 0


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "a/b", "\xe4"])
def test_initiator_names(name: str) -> None:
    """What is no name."""
    client, _ = wire()
    content = json.dumps({"cdb": INQUIRY}).encode()
    client.send(
        b"POST " + COMMANDS.encode() + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\nSCSI-Initiator: %b\r\n\r\n%b" % (len(content), name.encode("latin-1"), content)
    )

    assert client.answer().status == 400


def test_initiators_are_bounded() -> None:
    """No more names than allowed; a deleted one makes room."""
    client, _ = wire(limits=HttpLimits(initiators=2))
    client.execute(INQUIRY, initiator="you")
    fields = {"Content-Type": "application/json", "SCSI-Initiator": "they"}
    asked = json.dumps({"cdb": INQUIRY}).encode()

    assert client.request("POST", COMMANDS, asked, fields=fields).status == 503
    client.request("DELETE", "/initiators/you")
    assert client.request("POST", COMMANDS, asked, fields=fields).status == 200


def test_function_aborts() -> None:
    """ABORT TASK finds a command by the tag its client chose; that one is a conflict, for its waiter."""
    client, store = wire()
    store.hold()
    other, third = Wire(client.port), Wire(client.port)
    client.send(encode("POST", f"{COMMANDS}?cdb={WRITE_ONE}&tag=1", bytes(512), fields=OCTETS))
    other.send(encode("POST", f"{COMMANDS}?cdb={WRITE_ONE}&tag=2", bytes(512), fields=OCTETS))

    done = third.request("POST", TMF, b'{"function": "ABORT TASK", "tag": 2}', fields=JSON)
    assert done.json == {"function": "ABORT TASK", "response": "FUNCTION COMPLETE"}
    other.fetch()
    assert other.answer().status == 409
    assert client.received == b""
    store.release()
    for ticket, answer in store.reap():
        ticket.unit.target.complete(ticket, answer)
    client.port.settle()
    client.fetch()
    assert client.answer().json["tag"] == 1


def test_function_resets() -> None:
    """LOGICAL UNIT RESET; who is no unit's is told so; what is no function is a bad request."""
    client, _ = wire()

    assert client.request("POST", TMF, b'{"function": "LOGICAL UNIT RESET"}', fields=JSON).json["response"] == (
        "FUNCTION COMPLETE"
    )
    assert "BUS DEVICE RESET" in client.execute(TEST_UNIT_READY)["sense"]["title"]
    missing = client.request("POST", "/targets/0/units/9/tmf", b'{"function": "LOGICAL UNIT RESET"}', fields=JSON)
    assert missing.json["response"] == "INCORRECT LOGICAL UNIT NUMBER"
    assert client.request("POST", TMF, b'{"function": "RESET"}', fields=JSON).status == 400
    asked = client.request("POST", TMF, b'{"function": "QUERY ASYNCHRONOUS EVENT"}', fields=JSON)
    assert asked.json["additional_response_information"] == "000000"


def test_client_gone() -> None:
    """A client that goes while its command is at work: the command is aborted."""
    client, store = wire()
    store.hold()
    other = Wire(client.port)
    client.send(encode("POST", f"{COMMANDS}?cdb={WRITE_ONE}", bytes(512), fields=OCTETS))
    other.send(encode("POST", f"{COMMANDS}?cdb={WRITE_ONE}", b"\x01" * 512, fields=OCTETS))
    unit = client.port.targets[0].units[0]
    assert unit.statistics()["pending"] == 2

    other.send(b"")
    other.connection.closed()
    assert unit.statistics()["pending"] == 1
    store.release()
    for ticket, answer in store.reap():
        ticket.unit.target.complete(ticket, answer)
    client.port.settle()
    client.fetch()
    assert client.answer().json["status"] == 0
    assert client.port.held <= 4096


def test_initiator_deleted_at_work() -> None:
    """Deleting a name ends what it had begun: its waiters are told."""
    client, store = wire()
    store.hold()
    other = Wire(client.port)
    client.send(encode("POST", f"{COMMANDS}?cdb={WRITE_ONE}", bytes(512), fields=OCTETS))
    assert other.request("DELETE", "/initiators/me").status == 204

    client.fetch()
    assert client.answer().status == 409
    assert client.port.targets[0].statistics()["nexuses"] == 0


def test_units() -> None:
    """Targets and their units, by name and by number, with what they are."""
    client, _ = wire()
    (target,) = client.request("GET", "/targets").json["targets"]
    unit = client.request("GET", "/targets/0/units/0").json

    assert (target["name"], target["path"]) == (NAME, f"/targets/{NAME}")
    assert client.request("GET", target["path"]).json["name"] == NAME
    assert [each["lun"] for each in target["units"]] == ["0", "REPORT LUNS W-LUN"]
    for each in target["units"]:
        assert client.request("GET", each["path"]).json["lun_field"] == each["lun_field"]
    assert unit["identity"]["vendor"] == "SCSIEMU"
    assert unit["statistics"]["commands"] > 0


def test_operations() -> None:
    """The support table is that of the operation tables."""
    client, _ = wire()
    table = client.request("GET", "/operations").json
    declared = OperationTable(VirtualDisk)

    assert table["device_types"] == ["vd"]
    assert len(table["operations"]) == len(declared)
    (inquiry,) = [row for row in table["operations"] if row["name"] == "INQUIRY"]
    assert (inquiry["opcode"], inquiry["device_types"], inquiry["standard"]) == (0x12, {"vd": "yes"}, "SPC-5 6.7")
    assert {row["name"] for row in client.request("GET", "/targets/0/units/0/operations").json["operations"]} <= {
        row["name"] for row in table["operations"]
    }


# OpenMetrics 1.0, as far as we need it: a line is one of these.
SAMPLE = re.compile(r'([a-z_]+)(\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? (\d+)')


def samples(text: str) -> dict[str, int]:
    """Samples by name and labels; asserts the form."""
    assert text.endswith("# EOF\n")
    lines = text.removesuffix("# EOF\n").splitlines()
    kinds: dict[str, str] = {}
    found: dict[str, int] = {}
    family = ""
    for line in lines:
        if line.startswith("# TYPE "):
            family, kind = line.split()[2:]
            assert family not in kinds
            kinds[family] = kind
        elif line.startswith(("# HELP ", "# UNIT ")):
            assert line.split()[2] == family
        else:
            matched = SAMPLE.fullmatch(line)
            assert matched, line
            assert matched[1] == family + ("_total" if kinds[family] == "counter" else "")
            assert matched[1] + (matched[2] or "") not in found
            found[matched[1] + (matched[2] or "")] = int(matched[3])
    return found


def test_metrics() -> None:
    """Numbers come from what happened."""
    client, _ = wire()
    labels = f'{{target="{NAME}",lun="0",device_type="00"}}'
    answer = client.request("GET", "/metrics")
    before = samples(answer.content.decode())
    client.execute(READ_ONE)
    client.execute("ee0000000000")
    after = samples(client.request("GET", "/metrics").content.decode())

    assert answer.fields["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert after[f"scsiemu_commands_total{labels}"] == before[f"scsiemu_commands_total{labels}"] + 2
    assert after[f"scsiemu_commands_failed_total{labels}"] == before[f"scsiemu_commands_failed_total{labels}"] + 1
    assert after[f"scsiemu_unit_blocks_read_total{labels}"] == before[f"scsiemu_unit_blocks_read_total{labels}"] + 1
    assert after["scsiemu_http_connections"] == 1
    assert after[f'scsiemu_nexuses{{target="{NAME}",port="http,{NAME}"}}'] == 1
    assert after['scsiemu_http_responses_total{code="200"}'] == before['scsiemu_http_responses_total{code="200"}'] + 3


def test_metrics_labels_are_escaped() -> None:
    """A name with quotes does not break the form."""
    target, _ = disk_target()
    target.name = 'a"b\\c\nd'
    text = Wire(HttpPort((target,))).request("GET", "/metrics").content.decode()

    assert f"target=\"{chr(97)}\\\"b\\\\c\\nd\"" in text
    assert samples(text)
