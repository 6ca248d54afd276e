"""An upstream in many moods: it is away, breaks off, is slow, sends something else; but never says it has nothing."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping

from tests.client import OCI_MANIFEST, digest_of
from tests.upstream.scripted import Exchange, Reply, Scripted, answer, cut, partly

OFTEN = 0.35
"""How many requests meet a mood."""
SLOW = 0.5


class Moody:
    """`images`: manifest and blobs by name; every manifest has the tag `v1`. While it is `calm`, all is well."""

    def __init__(self, scripted: Scripted, images: Mapping[str, tuple[bytes, list[bytes]]], seed: int) -> None:
        self.calm = False
        self._dice, self._lock = random.Random(seed), threading.Lock()
        self._blobs: dict[str, bytes] = {}
        self._manifests: dict[str, bytes] = {}
        for name, (manifest, blobs) in images.items():
            for reference in ("v1", digest_of(manifest)):
                self._manifests[f"/v2/{name}/manifests/{reference}"] = manifest
            self._blobs |= {f"/v2/{name}/blobs/{digest_of(blob)}": blob for blob in blobs}
        scripted.on("", self)

    def __call__(self, exchange: Exchange) -> None:
        """Answer a request."""
        path = exchange.seen.path
        if (manifest := self._manifests.get(path)) is not None:
            headers = {"content_type": OCI_MANIFEST, "docker_content_digest": digest_of(manifest)}
            self._in_a_mood(manifest, lambda content: answer(200, content, **headers))(exchange)
        elif (blob := self._blobs.get(path)) is not None:
            self._in_a_mood(blob, partly)(exchange)
        else:
            answer(404)(exchange)

    def _in_a_mood(self, content: bytes, reply: Callable[[bytes], Reply]) -> Reply:
        with self._lock:
            is_moody = not self.calm and self._dice.random() < OFTEN
            mood = self._dice.choice(["away", "cut", "wrong", "slow"]) if is_moody else "calm"
            place = self._dice.randrange(len(content))
        if mood == "away":
            return answer(503)
        if mood == "cut":
            return cut(content, place)
        if mood == "wrong":
            return reply(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        if mood == "slow":
            time.sleep(SLOW)
        return reply(content)
