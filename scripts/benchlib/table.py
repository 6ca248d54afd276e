"""What is said about a contest: medians, ratios, and what falls short of its aim."""

from __future__ import annotations

import json
from dataclasses import asdict

from benchlib.contest import Sample, Samples, median
from benchlib.items import Item

NOTHING = Sample(0.0, 0.0)
DIGITS = {"s": 3, "x": 2}


def print_head() -> None:
    head = f"{'ours':>10} {'peer':>10} {'':4} {'ratio':>7} {'aim':>9} {'':6} {'cpu s, ours':>12} {'peer':>7}"
    print(f"{'':40} {head}", flush=True)


def print_row(item: Item, samples: Samples) -> bool:
    """Whether the aim is reached; True if there is none, or nothing to compare with."""
    by_daemon = {name: median(taken) for name, taken in samples.items() if taken}
    ours, peer = by_daemon.get("ours", NOTHING), by_daemon.get("peer", NOTHING)
    ratio = ours.value / peer.value if peer.value else 0.0
    aim, verdict = "", ""
    if item.limit is not None and "ours" in by_daemon:
        aim, verdict = judge(item, ours.value, item.limit, item.unit)
    elif item.least is not None and "ours" in by_daemon:
        aim, verdict = judge(item, ours.value, item.least, item.unit)
    elif item.ratio is not None and ratio:
        aim, verdict = judge(item, ratio, item.ratio, "x")
    digits = DIGITS.get(item.unit, 0)
    figures = f"{ours.value:10.{digits}f} {peer.value:10.{digits}f} {item.unit:4} {ratio:6.2f}x {aim:>9} {verdict:6}"
    print(f"{item.title:40} {figures} {ours.cpu:12.2f} {peer.cpu:7.2f}", flush=True)
    return verdict != "SHORT"


def judge(item: Item, actual: float, aim: float, unit: str) -> tuple[str, str]:
    """The aim in words, and whether it is reached."""
    below = item.unit == "1/s" or item.least is not None
    sign, reached = (">=", actual >= aim) if below else ("<=", actual <= aim)
    return f"{sign} {aim:g} {unit}", "ok" if reached else "SHORT"


def as_json(samples: dict[str, Samples]) -> str:
    """Every sample."""
    values = {key: {name: [asdict(one) for one in taken] for name, taken in by.items()} for key, by in samples.items()}
    return json.dumps({"samples": values}, indent=2)
