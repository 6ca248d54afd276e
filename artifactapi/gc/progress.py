"""How far long work is, for those who wait for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is; `total` is 0 where nobody knows."""

    step: str
    done: int
    total: int = 0
