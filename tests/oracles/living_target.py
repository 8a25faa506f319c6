"""A `scsiemu serve` that stops, dies and starts again, and whose units come, change and go meanwhile, over HTTP."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from checked_by import program

__all__ = ["LivingTarget"]

_SECONDS = 20


class LivingTarget:
    """Entered, it serves.

    Args:
        control: where to make the socket by which units are changed.
        options: of `serve`.

    Attributes:
        port: of 127.0.0.1 where iSCSI is served, the same after each start.
        said: lines for the operator, of those that have ended.
    """

    def __init__(self, control: Path, *options: str) -> None:
        self.port = 0
        self.said = ""
        self._control = control
        self._command = [*program(), "serve", "--json", "--exit-with-parent", "--http", str(control), *options]
        self._process: subprocess.Popen[str]

    def __enter__(self) -> LivingTarget:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Serve."""
        command = [*self._command, "--listen", f"127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.communicate(timeout=_SECONDS)
        self.port = int(json.loads(line)["services"]["iscsi"][0].rpartition(":")[2])

    def stop(self) -> None:
        """Serve no more; over iSCSI, initiators are asked to log out before."""
        self._process.terminate()
        self.said += self._process.communicate(timeout=_SECONDS)[1]
        assert self._process.returncode == 0, self.said

    def kill(self) -> None:
        """End without a word to anybody."""
        self._process.kill()
        self._process.communicate(timeout=_SECONDS)

    # --- changes -----------------------------------------------------------------------------------------------

    def add_disk(self, lun: int, blocks: int) -> None:
        """Another disk, in memory, of so many blocks of 512 bytes."""
        self._ask("POST", "", {"lun": lun, "unit": "disk", "value": str(blocks * 512)})

    def resize(self, lun: int, blocks: int) -> None:
        """The disk has another capacity."""
        self._ask("PATCH", f"/{lun}", {"size": str(blocks * 512)})

    def remove(self, lun: int) -> None:
        """The unit is gone."""
        self._ask("DELETE", f"/{lun}")

    def _ask(self, method: str, path: str, content: Any = None) -> None:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(_SECONDS)
        connection.sock.connect(str(self._control))
        body, fields = (None, {}) if content is None else (json.dumps(content), {"Content-Type": "application/json"})
        connection.request(method, f"/targets/0/units{path}", body, fields)
        response = connection.getresponse()
        assert response.status < 300, response.read()
        connection.close()
