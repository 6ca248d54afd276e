"""Requests to the upstream: authorised, and followed to where it sends us."""

from __future__ import annotations

from collections.abc import Mapping

from artifactapi.upstream.address import Address
from artifactapi.upstream.answer import Answer
from artifactapi.upstream.authorization import Authorization
from artifactapi.upstream.connections import Connections
from artifactapi.upstream.errors import Broken
from artifactapi.upstream.origin import Origin, Trust
from artifactapi.upstream.tokens import Tokens
from artifactapi.upstream.wire import Observe, Operation, Wire

MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


class Requests:
    """GET and HEAD of what is below the upstream's /v2/."""

    def __init__(self, origin: Origin, connections: Connections, observe: Observe) -> None:
        self.wire = Wire(origin, connections, observe)
        self._origin = origin
        self._trust = Trust(origin)
        self._authorization = Authorization(origin, Tokens(origin, self._trust, self.wire))

    def address(self, image: str, path: str) -> Address:
        """Where the upstream has what is at `path` in the image."""
        return self._origin.address.below(f"v2/{self._origin.name(image)}/{path}")

    async def send(
        self, operation: Operation, method: str, image: str, address: Address, headers: Mapping[str, str]
    ) -> Answer:
        """The answer, whatever its status, with the right to pull; after a 401 it is tried once more.

        Raises Denied, Limited, Broken.
        """
        scope = f"repository:{self._origin.name(image)}:pull"
        shown = await self._authorization.header(scope)
        answer, own = await self._follow(operation, method, address, headers, shown)
        if answer.status != 401 or not own:
            return answer
        answer.body.discard()
        shown = await self._authorization.renewed(scope, answer.headers("www-authenticate"), shown)
        return (await self._follow(operation, method, address, headers, shown))[0]

    async def _follow(
        self, operation: Operation, method: str, address: Address, headers: Mapping[str, str], shown: str | None
    ) -> tuple[Answer, bool]:
        """The answer at the end of all redirects, and whether it is the upstream's own.

        Once a redirect has led elsewhere, nothing is shown any more, even if the next one leads back.
        """
        own = True
        for _ in range(MOST_REDIRECTS + 1):
            own = own and self._trust.is_own(address)
            sent = {**headers, "Authorization": shown} if own and shown else headers
            answer = await self.wire.send(operation, method, address, sent)
            if answer.status not in _REDIRECTS:
                return answer, own
            address = self._target(address, answer)
        raise Broken("redirect", f"more than {MOST_REDIRECTS} in a row")

    def _target(self, source: Address, answer: Answer) -> Address:
        answer.body.discard()
        try:
            target = source.joined(answer.header("location") or "")
        except ValueError:
            raise Broken("redirect", "its location is no address", answer.status) from None
        if not self._trust.may_follow(source, target):
            raise Broken("redirect", f"to {target.scheme}://{target.host}", answer.status)
        return target
