"""File descriptors: how many connections those of this process suffice for."""

from __future__ import annotations

import resource

RESERVED = 256
"""For the database, the store, the threads, and clients that are told that there are too many."""
EACH = 3
"""Of a connection: its socket; in a download the file, and a duplicate of the socket for the thread that sends."""


def make_room(connections: int) -> int:
    """How many connections there may be of the `connections` that are wanted (0: as many as possible).

    The soft limit is raised as far as the hard one lets it. Without descriptors nothing can be opened or accepted:
    better that the next client is told so.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, RESERVED + EACH * connections) if connections else hard
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    room = max(1, (max(soft, wanted) - RESERVED) // EACH)
    return min(connections, room) if connections else room
