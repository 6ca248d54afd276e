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
    bound, reached = judge(item, ours.value, ratio)
    verdict = "" if reached is None else "ok" if reached else "SHORT"
    digits = DIGITS.get(item.unit, 0)
    figures = f"{ours.value:10.{digits}f} {peer.value:10.{digits}f} {item.unit:4} {ratio:6.2f}x {bound:>9} {verdict:6}"
    print(f"{item.title:40} {figures} {ours.cpu:12.2f} {peer.cpu:7.2f}", flush=True)
    return reached is not False


def judge(item: Item, value: float, ratio: float) -> tuple[str, bool | None]:
    """The aim in words, and whether it is reached; None if there is none, or nothing to compare with."""
    actual, aim, unit = (value, item.limit, item.unit) if item.limit is not None else (ratio, item.ratio, "x")
    if aim is None:
        return "", None
    sign, reached = (">=", actual >= aim) if item.unit == "1/s" else ("<=", actual <= aim)
    return f"{sign} {aim:g} {unit}", reached if actual else None


def as_json(samples: dict[str, Samples]) -> str:
    """Every sample."""
    values = {key: {name: [asdict(one) for one in taken] for name, taken in by.items()} for key, by in samples.items()}
    return json.dumps({"samples": values}, indent=2)
