"""Object commands per second, in one process on a store in a folder: create, 4 KiB write, attributes set and got, list;
and whether memory stays flat.

    python bench/osd.py [OBJECTS]

Each command waits for the one before it. Memory is the process's peak once a tenth of the objects is there, and at the
end, when all of them were listed.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import Any

from devtypes.osd.requests import Request, parse_ids, request
from scsiemu.testing.served import ScsiTarget

PID = 0x10000
TIMED = 5000                        # commands of each kind that are measured
BATCH = 1000                        # objects that one CREATE makes
ROOM = 65536                        # bytes of a LIST


def main(objects: int) -> None:
    """Run all and print a line for each."""
    with tempfile.TemporaryDirectory() as folder, ScsiTarget("--osd", folder) as here:

        def send(sent: Request) -> bytes:
            result = here.initiator.execute(0, sent.cdb, sent.data_out, sent.data_in)
            assert result.good, result
            return result.data

        def timed(name: str, requests: Iterable[Request]) -> None:
            start = perf_counter()
            count = sum(1 for each in requests if send(each) is not None)
            print(f"{name:24} {count / (perf_counter() - start):10.0f} /s")

        def each(name: str, **rest: Any) -> Iterator[Request]:
            return (request(name, partition_id=PID, object_id=PID + at, **rest) for at in range(min(objects, TIMED)))

        send(request("FORMAT OSD"))
        send(request("CREATE PARTITION", partition_id=PID))
        timed("create", each("CREATE"))
        timed("write 4 KiB", each("WRITE", data=bytes(4096), length=4096))
        timed("set attribute", each("SET ATTRIBUTES", set=((0x10001, 1, b"value"),)))
        timed("get attribute", each("GET ATTRIBUTES", get=((0x10001, 1),)))
        made = min(objects, TIMED)
        early = 0
        start = perf_counter()
        while made < objects:
            send(request("CREATE", partition_id=PID, number_of_user_objects=min(BATCH, objects - made)))
            made += min(BATCH, objects - made)
            if not early and made >= objects // 10:
                early = peak()
        if early:
            print(f"{'create, many at once':24} {(objects - TIMED) / (perf_counter() - start):10.0f} objects/s")
        start = perf_counter()
        found = following = 0
        while following or not found:
            data = send(
                request("LIST", data_in=ROOM, partition_id=PID, allocation_length=ROOM, initial_object_id=following)
            )
            ids, following = parse_ids(data)
            found += len(ids)
        assert found == objects
        print(f"{f'list of {found} objects':24} {1 / (perf_counter() - start):10.2f} /s")
        print(f"peak memory {early} MiB at a tenth, {peak()} MiB at the end")


def peak() -> int:
    """MiB that the process took at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
