"""Whoever sends a request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from artifactapi.access.rights import Layer, Right
from artifactapi.metadata.visible import Visible
from artifactapi.oci.names import ImageName


@dataclass(frozen=True, slots=True)
class Caller:
    """What he may is what every one of `layers` gives: what he was granted, and the limits of the token he uses.

    `asked` is what the bearer token he got from us was asked for, None without one: it limits him as well, yet he has
    only to ask for more. `expires_at`: when the first of the tokens he uses is over. `actor` and `credential` are for
    people: `user:alice`, `token ci`.
    """

    actor: str
    credential: str
    layers: tuple[Layer, ...]
    asked: Layer | None = None
    asked_catalog: bool = True
    anonymous: bool = False
    expires_at: datetime | None = None

    def may(self, right: Right, name: ImageName) -> bool:
        """Whether he may do that to the image, if he asks for it."""
        return all(any(grant.gives(right, name) for grant in layer) for layer in self.layers)

    def has_asked(self, right: Right, name: ImageName) -> bool:
        """Whether his bearer token is for that."""
        return self.asked is None or any(grant.gives(right, name) for grant in self.asked)

    def may_repo(self, right: Right, repo: str | None) -> bool:
        """Whether he may do that to a repo as a whole; None: to all there are, and all there is."""
        return self.asked is None and all(any(g.gives_repo(right, repo) for g in layer) for layer in self.layers)

    def repos(self, right: Right) -> list[str] | None:
        """The repos as a whole to which he may do that; None: all."""
        if self.may_repo(right, None):
            return None
        named = {grant.repo for layer in self.layers for grant in layer if grant.repo is not None}
        return sorted(repo for repo in named if self.may_repo(right, repo))

    @property
    def visible(self) -> Visible:
        """What he may pull, for the lists."""
        return pulled(self.layers)

    @property
    def reachable(self) -> Visible:
        """What he may pull with the bearer token he uses, for mounts."""
        return pulled(self.layers if self.asked is None else (*self.layers, self.asked))


def pulled(layers: tuple[Layer, ...]) -> Visible:
    """What may be pulled by a grant of each layer; a layer with everything in it says nothing."""
    pulls = (tuple((g.repo, g.images) for g in layer if Right.PULL in g.rights) for layer in layers)
    return tuple(layer for layer in pulls if (None, "*") not in layer)
