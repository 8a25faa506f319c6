"""Our target and tgtd side by side on loopback, by the load generator of this folder; and the floor of the machine.

    .venv/bin/python bench/compare.py [--quick] [--loads WORD ...] [--rounds 5] [--seconds 0.8] [--write docs/bench]

All servers are up at once, idle but for the one measured; the runs of a round come in random order. tgtd runs with
`-t 1` and with its default of 16 threads: a row is compared with the one that made more operations. Printed for each
load: medians over the rounds of ours / tgtd in the same round (operations; p50 and p99 latency as tgtd / ours; CPU of
the server for each command, of all its threads, as tgtd / ours): above 1 is better than tgtd. In brackets the spread,
least and greatest. "floor" is a C program that does nothing but answer with PDUs of the right size.

    --tree NAME=PATH    another source tree as a further server, for before and after

Needs cc, the package tgt, and root (tgtd).
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent))

from picture import bars
from servers import Floor, Ours, Server, Tgtd, compile_program, images, run_load
from table import write_table

__all__ = ["LOADS", "Load"]


@dataclass(frozen=True)
class Load:
    """A load.

    Args:
        name: for tables and --loads.
        store: null, file or memory.
        words: options of the load generator.
        kind: plain, digest or chap.
        goal: ours / tgtd in operations that we aim at, 0 for none.
        cpu_goal: tgtd / ours in CPU for each command, 0 for none.
        tuned: compare with a tuned tgtd as well.
    """

    name: str
    store: str
    words: str
    kind: str = "plain"
    goal: float = 0
    cpu_goal: float = 0
    tuned: bool = False
    quick: bool = False


def _loads() -> list[Load]:
    loads = []
    goals = {
        ("file", "read", 32): (2.5, 2.5), ("file", "write", 32): (1.6, 2), ("file", "mix", 32): (1.8, 2.2),
        ("file", "read", 1): (1, 0), ("file", "write", 1): (1, 0), ("file", "mix", 1): (1, 0),
        ("null", "read", 32): (2.3, 0), ("null", "write", 32): (2.3, 0), ("null", "mix", 32): (2.3, 0),
        ("null", "read", 1): (0.9, 0), ("null", "write", 1): (0.9, 0), ("null", "mix", 1): (0.9, 0),
    }
    for store in ("file", "null", "memory"):
        for op in ("read", "write", "mix"):
            for depth in (1, 8, 32):
                if store == "memory" and depth == 8:
                    continue
                goal, cpu = goals.get((store, op, depth), (0, 0))
                quick = (store == "file" and depth != 8) or (store == "null" and op != "mix" and depth != 8)
                loads.append(Load(
                    f"{store} 4K {op} d{depth}", store, f"--op {op} --depth {depth}", goal=goal, cpu_goal=cpu,
                    quick=quick,
                ))
    for store in ("file", "null"):
        for op, goal in (("read", 1.8), ("write", 3)):
            loads.append(Load(f"{store} 256K {op} d8", store, f"--op {op} --size 262144 --depth 8 --sequential",
                              tuned=True))
            loads.append(Load(
                f"{store} 1M {op} d4", store, f"--op {op} --size 1048576 --depth 4 --sequential", goal=goal,
                tuned=True, quick=store == "file",
            ))
    loads += [
        Load("file 32 sessions d1", "file", "--sessions 32", goal=1, quick=True),
        Load("null 32 sessions d1", "null", "--sessions 32", goal=1),
        Load("null 100 sessions d4", "null", "--sessions 100 --depth 4", goal=2, quick=True),
        Load("null 1000 sessions d1", "null", "--sessions 1000"),
        Load("null read d32 digests", "null", "--depth 32", "digest", quick=True),
        Load("null write d32 digests", "null", "--op write --depth 32", "digest"),
        Load("file read d32 digests", "file", "--depth 32", "digest"),
        Load("TEST UNIT READY d32", "null", "--op tur --depth 32", quick=True),
        Load("TEST UNIT READY d1", "null", "--op tur"),
        Load("logins", "null", "--op login"),
        Load("CHAP logins", "null", "--op login", "chap", quick=True),
        Load("CHAP logins, 8 at once", "null", "--op login --sessions 8", "chap"),
    ]
    return loads


LOADS: Final = _loads()

_COLUMNS: Final = (("ops", "iops", False), ("p50", "p50_us", True), ("p99", "p99_us", True), ("cpu", "cpu_us", True))


def main() -> None:
    """Run the loads and print, write what came out."""
    options = _options()
    chosen = [load for load in LOADS if load.quick or not options.quick]
    if options.loads:
        chosen = [load for load in LOADS if any(word in load.name for word in options.loads)]
    if not chosen:
        raise SystemExit("no load has such a name")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = images(folder, options.size << 20)
        servers: list[Server] = []
        try:
            generator = compile_program("loadgen", folder)
            servers.append(Ours(folder, files))
            servers += [Ours(folder, files, tree=Path(tree), name=label) for label, tree in options.tree]
            servers += [Tgtd(files, 1), Tgtd(files, 16)]
            if any(load.tuned for load in chosen):
                servers.append(Tgtd(files, 1, tuned=True))
            servers.append(Floor(compile_program("floor", folder), files))
            for load in chosen:
                row = _row(load, _rounds(load, servers, generator, options))
                rows.append(row)
                _print_row(row)
        finally:
            for server in servers:
                server.stop()
            files["memory"].unlink(missing_ok=True)
    if options.write:
        _write(Path(options.write), rows, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="ours against tgtd", allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="the most telling loads only")
    parser.add_argument("--loads", nargs="*", default=[], help="loads whose name has one of these in it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.8)
    parser.add_argument("--size", type=int, default=256, help="MiB of the file")
    parser.add_argument("--tree", action="append", default=[], type=lambda text: text.split("=", 1))
    parser.add_argument("--write", help="folder of compare.json, compare.svg; and performance.md beside it")
    return parser.parse_args()


def _rounds(
    load: Load, servers: list[Server], generator: Path, options: argparse.Namespace
) -> dict[str, list[dict[str, Any]]]:
    """What each server did in each round."""
    runs: dict[str, list[dict[str, Any]]] = {}
    words = [*load.words.split(), "--seconds", str(options.seconds), "--span", str(options.size << 20)]
    taking = [
        server for server in servers
        if (not server.name.endswith("tuned") or load.tuned) and (server.name != "floor" or load.kind == "plain")
    ]
    for _ in range(options.rounds):
        results = {}
        for server in random.sample(taking, len(taking)):
            try:
                results[server.name] = run_load(generator, server, load.store, load.kind, words)
            except RuntimeError as error:
                print(f"    {error}", file=sys.stderr)
        for name, result in results.items():
            runs.setdefault(name, []).append(result)
    return runs


def _row(load: Load, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians and ratios of a load."""
    row: dict[str, Any] = {"load": load.name, "goal": load.goal, "cpu_goal": load.cpu_goal, "runs": runs}
    medians = row["medians"] = {
        name: {field: statistics.median(run[field] for run in them) for _, field, _ in _COLUMNS} | {
            "mib_s": statistics.median(run["mib_s"] for run in them),
            "unfairness": statistics.median(
                run["session_p99_us"]["max"] / max(run["session_p99_us"]["median"], 1e-9) for run in them
            ),
        }
        for name, them in runs.items()
    }
    settings = [name for name in ("tgtd -t 1", "tgtd -t 16") if name in runs]
    if not settings:
        return row
    best = row["against"] = max(settings, key=lambda name: medians[name]["iops"])
    row["ratios"] = {
        name: {
            column: _ratio(them, runs[best], field, inverse=inverse) for column, field, inverse in _COLUMNS
        }
        for name, them in runs.items() if name not in settings
    }
    if load.tuned and "tgtd -t 1 tuned" in runs:
        row["against_tuned"] = _ratio(runs["scsiemu"], runs["tgtd -t 1 tuned"], "iops", inverse=False)
    return row


def _ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], field: str, *, inverse: bool) -> list[float]:
    """Median, least and greatest of the ratios of the same round."""
    ratios = [
        theirs_run[field] / max(our_run[field], 1e-9) if inverse else our_run[field] / max(theirs_run[field], 1e-9)
        for our_run, theirs_run in zip(ours, theirs, strict=False)
    ]
    return [statistics.median(ratios), min(ratios), max(ratios)]


def _print_row(row: dict[str, Any]) -> None:
    for name, ratios in row.get("ratios", {}).items():
        if name == "tgtd -t 1 tuned":
            continue
        median = row["medians"][name]
        shown = "  ".join(
            f"{column} {values[0]:5.2f} ({values[1]:.2f}-{values[2]:.2f})" for column, values in ratios.items()
        )
        goal = ""
        if name == "scsiemu" and row["goal"]:
            goal = f"  goal {row['goal']}: {'yes' if ratios['ops'][0] >= row['goal'] else 'NO'}"
        if name == "scsiemu" and row["cpu_goal"]:
            goal += f", CPU {row['cpu_goal']}: {'yes' if ratios['cpu'][0] >= row['cpu_goal'] else 'NO'}"
        label = row["load"] if name == "scsiemu" else ""
        print(
            f"{label:24} {name:10} {median['iops']:9.0f}/s {median['cpu_us']:8.2f} us  {shown}{goal}", flush=True
        )
    if "against" in row:
        best = row["medians"][row["against"]]
        print(f"{'':24} {row['against']:10} {best['iops']:9.0f}/s {best['cpu_us']:8.2f} us", flush=True)
    if "against_tuned" in row:
        print(f"{'':24} against tgtd tuned: ops {row['against_tuned'][0]:.2f}", flush=True)


def _write(folder: Path, rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:            # single runs to four digits are enough
        row["runs"] = {
            name: [{field: round(run[field], 2) for _, field, _ in _COLUMNS} for run in them]
            for name, them in row["runs"].items()
        }
    about = {
        "when": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "kernel": platform.release(),
        "rounds": options.rounds, "seconds": options.seconds, "rows": rows,
    }
    (folder / "compare.json").write_text(json.dumps(about, indent=1) + "\n")
    data = [
        (row["load"], row["ratios"]["scsiemu"]["ops"], row["ratios"].get("floor", {}).get("ops"), row["goal"])
        for row in rows if "scsiemu" in row.get("ratios", {})
    ]
    (folder / "compare.svg").write_text(bars("Operations a second, tgtd = 1", data))
    write_table(folder.parent / "performance.md", rows)


if __name__ == "__main__":
    main()
