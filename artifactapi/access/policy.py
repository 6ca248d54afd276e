"""This process's copy of who may what. It is as old as the last look at its version: a second."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from artifactapi.access.caller import Caller
from artifactapi.access.naming import Naming
from artifactapi.access.rights import EVERYTHING, Grant, Layer, Right, closed
from artifactapi.metadata import principals as rows
from artifactapi.metadata.database import Database
from artifactapi.metadata.principals import Principal, Subject
from artifactapi.oci.errors import OciError
from artifactapi.oci.names import ImageName

EVERY = 1.0
"""Seconds between two looks: how long another replica may take to hear that a token was revoked."""
MOST = 10_000
"""Subjects that are kept."""
PUSHERS = Grant(None, "*", closed([Right.PUSH]))
log = Logger()


@dataclass(frozen=True, slots=True)
class Standing:
    """What a subject is called, until when it is one, and what it may: one copy for all that it shows."""

    name: str
    generation: int
    token_name: str | None
    expires_at: datetime | None
    layers: tuple[Layer, ...]


class Policy:
    """Answers from memory; everything is read again when the version in the database has grown."""

    def __init__(self, database: Database, without_accounts: Layer, reactor: Any) -> None:
        """`without_accounts`: what everybody may while there is no account at all."""
        self._database = database
        self._without_accounts = without_accounts
        self._standings: dict[Subject, Standing | None] = {}
        self.version = 0
        self._turn = DeferredLock()
        self._blind = False  # whether the last look saw nothing: said once, not every second
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._loop.clock = reactor
        self._watchers: list[Callable[[], None]] = []
        self._followers: list[Callable[[], Awaitable[None]]] = []
        self.anonymous = Caller("anonymous", "none", ((),), anonymous=True)
        self.has_accounts = True
        self.naming = Naming()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call this after every change: what was made from the old copy is worth nothing."""
        self._watchers.append(watcher)

    def follow(self, follower: Callable[[], Awaitable[None]]) -> None:
        """Await this when something has changed, before anybody is told of it."""
        self._followers.append(follower)

    async def start(self) -> None:
        """Read it, and begin to look. Raises Unavailable."""
        await self.refresh()
        self._loop.start(EVERY, now=False)

    async def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    async def refresh(self) -> None:
        """Look now: whoever has changed something here wants to see it at once. Raises Unavailable."""
        # One after the other: what an earlier look has read must not replace what a later one has.
        await self._turn.run(lambda: Deferred.fromCoroutine(self._refresh()))

    async def _refresh(self) -> None:
        version = await rows.version(self._database)
        if version == self.version:
            return
        for follower in self._followers:
            await follower()
        self.has_accounts, public = await rows.general(self._database)
        self.naming = Naming.of(await rows.special(self._database))
        self.version = version
        self._standings.clear()
        layer = self._without_accounts if not self.has_accounts else pulls(public)
        self.anonymous = Caller("anonymous", "none", (layer,), anonymous=True)
        for watcher in self._watchers:
            watcher()

    def may(self, caller: Caller, right: Right, name: ImageName) -> bool:
        """Whether he may do that to the image, or to one that it stands for."""
        if right is Right.PULL:
            return any(caller.may(right, at) for at in self.naming.pulled_from(name))
        target = self.naming.written_to(name)
        return target is not None and caller.may(right, target)

    async def caller(
        self,
        subject: Subject,
        credential: str,
        generation: int | None = None,
        asked: Layer | None = None,
        catalog: bool = True,
    ) -> Caller | None:
        """Whoever has proved to be that subject; None if it is gone, or what it proved so with is worth nothing.

        `generation`: of the password, where it was known when the proof was signed. Raises Unavailable.
        """
        standing = await self._proved(subject, generation)
        if standing is None:
            return None
        if standing.token_name and subject.kind == "user":
            credential = f"token {standing.token_name}"
        actor = f"{subject.kind}:{standing.name}"
        return Caller(actor, credential, standing.layers, asked, catalog, expires_at=standing.expires_at)

    async def holds(self, subject: Subject, generation: int | None) -> bool:
        """Whether what proved somebody to be that subject is still worth something. Raises Unavailable."""
        return await self._proved(subject, generation) is not None

    async def _proved(self, subject: Subject, generation: int | None) -> Standing | None:
        standing = await self._standing(subject)
        if standing is None or generation not in (None, standing.generation) or is_past(standing.expires_at):
            return None
        return standing

    async def _standing(self, subject: Subject) -> Standing | None:
        if subject in self._standings:
            return self._standings[subject]
        before = self.version
        principal = await rows.find(self._database, subject)
        standing = self._of(principal) if principal is not None else None
        if before == self.version:  # else it may be what it was before the change
            if len(self._standings) >= MOST:
                self._standings.clear()
            self._standings[subject] = standing
        return standing

    def _of(self, principal: Principal) -> Standing:
        own, *limits = [tuple(map(Grant.from_json, layer)) for layer in (principal.grants, *principal.scopes)]
        public = () if not self.has_accounts else self.anonymous.layers[0]
        layers = ((*own, *public), *limits)
        return Standing(principal.name, principal.generation, principal.token_name, principal.expires_at, layers)

    async def _look(self) -> None:
        try:
            await self.refresh()
            self._blind = False
        except OciError as error:  # nobody gets an answer without the database either
            if not self._blind:
                log.warn("who may what cannot be read now: {error}", error=error.message)
            self._blind = True
        except Exception:  # LoopingCall would end with its first error
            log.failure("the copy of who may what cannot be read again")


def pulls(repos: list[str]) -> Layer:
    """The grant to pull from each."""
    return tuple(Grant(repo, "*", frozenset({Right.PULL})) for repo in repos)


def is_past(time: datetime | None) -> bool:
    """Whether that time has come."""
    return time is not None and time <= datetime.now(UTC)


def without_accounts(loopback: bool, anonymous_push: bool) -> Layer:
    """What everybody may while there is no account: on this machine alone, all; else push, if that is wanted."""
    if loopback:
        return (EVERYTHING,)
    return (PUSHERS,) if anonymous_push else ()
