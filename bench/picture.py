"""Pictures for the docs, in SVG, without a library: bars of ratios, lines of cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

__all__ = ["Bar", "bars", "lines"]

Bar = tuple[str, Sequence[float], Sequence[float] | None, float]

_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">\n'
    '<rect width="{width}" height="{height}" fill="#fff"/>\n'
    '<text x="10" y="20" font-size="15">{title}</text>\n'
)
_COLOURS = ("#2563a8", "#b8532f", "#3b8a4a", "#7a4fa3", "#8a7a20", "#4a4a4a")


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars on a logarithmic axis: (label, (median, least, greatest), the same of the floor or None, goal).

    A blue bar is ours with its spread, a grey tick the floor, a red tick the goal.
    """
    left, width, step = 190, 760, 22
    height = 60 + step * len(rows)
    low, high = 0.125, 32.0

    def x(ratio: float) -> float:
        part = (math.log2(min(max(ratio, low), high)) - math.log2(low)) / (math.log2(high) - math.log2(low))
        return left + part * (width - left - 20)

    parts = [_HEAD.format(width=width, height=height, title=escape(title))]
    ratio = low
    while ratio <= high:
        colour = "#333" if ratio == 1 else "#ddd"
        parts.append(f'<line x1="{x(ratio):.1f}" y1="46" x2="{x(ratio):.1f}" y2="{height - 8}" stroke="{colour}"/>\n')
        parts.append(f'<text x="{x(ratio):.1f}" y="40" text-anchor="middle" fill="#555">{ratio:g}</text>\n')
        ratio *= 2
    for index, (label, ours, floor, goal) in enumerate(rows):
        y = 50 + index * step
        begin, end = sorted((x(1), x(ours[0])))
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>\n')
        parts.append(
            f'<rect x="{begin:.1f}" y="{y + 3}" width="{max(end - begin, 1):.1f}" height="13" fill="#7aa7d6">'
            f"<title>{ours[0]:.2f} ({ours[1]:.2f} to {ours[2]:.2f})</title></rect>\n"
        )
        parts.append(
            f'<line x1="{x(ours[1]):.1f}" y1="{y + 9.5}" x2="{x(ours[2]):.1f}" y2="{y + 9.5}" stroke="#2563a8"/>\n'
        )
        parts.append(f'<text x="{end + 5:.1f}" y="{y + 13}" fill="#123">{ours[0]:.2f}</text>\n')
        for mark, colour in ((floor[0] if floor else 0, "#777"), (goal, "#c22")):
            if mark:
                parts.append(
                    f'<line x1="{x(mark):.1f}" y1="{y + 1}" x2="{x(mark):.1f}" y2="{y + 18}" stroke="{colour}" '
                    'stroke-width="3"/>\n'
                )
    return "".join(parts) + "</svg>\n"


def lines(title: str, panels: Sequence[tuple[str, str, Sequence[tuple[float, float]]]]) -> str:
    """Panels side by side: (heading, axis, points); the axis of x logarithmic, that of y from zero."""
    size, gap, top = 210, 50, 60
    width, height = 40 + (size + gap) * len(panels), top + size + 60
    parts = [_HEAD.format(width=width, height=height, title=escape(title))]
    for number, (heading, axis, points) in enumerate(panels):
        left = 50 + number * (size + gap)
        top_value = max(y for _, y in points) * 1.2
        last = max(math.log10(x) for x, _ in points) or 1.0
        at = [(left + math.log10(x) / last * size, top + size - y / top_value * size, x, y) for x, y in points]
        parts.append(f'<rect x="{left}" y="{top}" width="{size}" height="{size}" fill="none" stroke="#999"/>\n')
        parts.append(f'<text x="{left}" y="{top - 12}">{escape(heading)}</text>\n')
        parts.append(f'<text x="{left + size / 2}" y="{top + size + 40}" text-anchor="middle">{escape(axis)}</text>\n')
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in at)
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>\n')
        for x, y, count, cost in at:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>\n')
            parts.append(f'<text x="{x:.1f}" y="{y - 7:.1f}" text-anchor="middle" fill="#333">{cost:.3g}</text>\n')
            parts.append(
                f'<text x="{x:.1f}" y="{top + size + 18}" text-anchor="middle" fill="#333">{count:g}</text>\n'
            )
    return "".join(parts) + "</svg>\n"
