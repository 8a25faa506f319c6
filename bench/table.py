"""The rows of bench/compare.py as a table of Markdown, put into a document between two comments."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

__all__ = ["table", "write_table"]

_BEGIN: Final = "<!-- bench/compare.py --write begins -->\n"
_END: Final = "<!-- bench/compare.py --write ends -->\n"
_HEAD: Final = (
    "| load | ours, op/s | CPU us | ops / tgtd | p50 | p99 | CPU | floor / tgtd | ours / floor | goal |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each load that tgtd ran, too, and one about fairness."""
    lines = []
    fairness = ""
    for row in rows:
        ratios = row.get("ratios", {})
        if "scsiemu" not in ratios:
            continue
        ours, medians = ratios["scsiemu"], row["medians"]
        ops, low, high = ours["ops"]
        tuned = f" (tuned tgtd: {row['against_tuned'][0]:.2f})" if "against_tuned" in row else ""
        floor = ratios.get("floor", {}).get("ops", [0])[0]
        beside = (
            f"{floor:.2f} | {medians['scsiemu']['iops'] / medians['floor']['iops']:.2f}" if floor else " | "
        )
        lines.append(
            f"| {row['load']} | {medians['scsiemu']['iops']:.0f} | {medians['scsiemu']['cpu_us']:.1f} "
            f"| **{ops:.2f}** ({low:.2f}-{high:.2f}){tuned} | {ours['p50'][0]:.2f} | {ours['p99'][0]:.2f} "
            f"| {ours['cpu'][0]:.2f} | {beside} | {_goal(row, ops, ours['cpu'][0])} |\n"
        )
        if "1000 sessions" in row["load"]:
            fairness = (
                "\nOf 1,000 sessions at once the p99 of the slowest is "
                f"{medians['scsiemu']['unfairness']:.1f} times that of the median session.\n"
            )
    return _HEAD + "".join(lines) + fairness


def _goal(row: dict[str, Any], ops: float, cpu: float) -> str:
    goals = ((row["goal"], ops, ""), (row["cpu_goal"], cpu, "CPU "))
    return ", ".join(f"{what}{goal} {'yes' if found >= goal else 'no'}" for goal, found, what in goals if goal)


def write_table(document: Path, rows: list[dict[str, Any]]) -> None:
    """Replace what is between the comments. Raises ValueError where they are not there."""
    text = document.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{document} has no place for the table")
    document.write_text(before + _BEGIN + "\n" + table(rows) + "\n" + _END + after)
