"""What a client may take of this process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`connections` at a time (0: any number); bytes of a request's head (its line ends left out), and seconds in
    which it must be whole; seconds that a connection may send nothing; bytes a second of a body (0: any rate)."""

    connections: int = 10_000
    head_bytes: int = 32 * 1024
    head_seconds: int = 30
    idle_seconds: int = 60
    body_rate: int = 128
