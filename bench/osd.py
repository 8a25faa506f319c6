"""Object commands per second, in one process on a store in a folder: create, 4 KiB write, attributes set and got, list.

    python bench/osd.py [OBJECTS]

Each command waits for the one before it. Tells the process's peak memory, too.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Iterable
from time import perf_counter
from typing import Any

from devtypes.osd.requests import Request, parse_ids, request
from scsiemu.testing.served import ScsiTarget

PID = 0x10000


def main(objects: int) -> None:
    """Run all and print a line for each."""
    with tempfile.TemporaryDirectory() as folder, ScsiTarget("--osd", folder) as here:

        def send(sent: Request) -> bytes:
            result = here.initiator.execute(0, sent.cdb, sent.data_out, sent.data_in)
            assert result.good, result
            return result.data

        def timed(name: str, requests: Iterable[Request]) -> None:
            start = perf_counter()
            count = 0
            for each in requests:
                send(each)
                count += 1
            print(f"{name:24} {count / (perf_counter() - start):10.0f} /s")

        def each(name: str, **rest: Any) -> Iterable[Request]:
            return (request(name, partition_id=PID, object_id=PID + at, **rest) for at in range(min(objects, 5000)))

        send(request("FORMAT OSD"))
        send(request("CREATE PARTITION", partition_id=PID))
        timed("create", each("CREATE"))
        timed("write 4 KiB", each("WRITE", data=bytes(4096), length=4096))
        timed("set attribute", each("SET ATTRIBUTES", set=((0x10001, 1, b"value"),)))
        timed("get attribute", each("GET ATTRIBUTES", get=((0x10001, 1),)))
        left = objects - min(objects, 5000)
        while left:
            some = min(left, 10000)
            send(request("CREATE", partition_id=PID, number_of_user_objects=some, timestamps_control=0x7F))
            left -= some
        start = perf_counter()
        found = following = 0
        while True:
            data = send(
                request("LIST", data_in=65536, partition_id=PID, allocation_length=65536, initial_object_id=following)
            )
            ids, following = parse_ids(data)
            found += len(ids)
            if not following:
                break
        print(f"{f'list of {found} objects':24} {1 / (perf_counter() - start):10.2f} /s")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
