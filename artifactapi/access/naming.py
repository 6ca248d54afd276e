"""Names that stand for others: virtual repos, and repos that are known by the name of a registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from artifactapi.metadata.members import Member
from artifactapi.oci.names import ImageName


@dataclass(frozen=True, slots=True)
class Union:
    """A virtual repo, as far as rights go: `members` are asked for the right to pull, unless it has rights of its own;
    `push_to` takes what is written to it."""

    members: tuple[Member, ...]
    own_rights: bool
    push_to: str | None

    def images(self, image: str) -> list[ImageName]:
        """What is seen as that image."""
        return [ImageName(member.repo, image) for member in self.members if member.has(image)]


@dataclass(frozen=True, slots=True)
class Naming:
    """This process's copy of them."""

    unions: Mapping[str, Union] = field(default_factory=dict)
    registries: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, repos: Iterable[tuple[str, str, dict[str, Any]]]) -> Naming:
        """From name, type and settings of those that have any."""
        unions, registries, hosts = {}, {}, {}
        for name, repo_type, settings in repos:
            if repo_type == "virtual":
                unions[name] = union(settings)
            registries.update(dict.fromkeys(settings.get("mirror_of", ()), name))
            hosts.update(dict.fromkeys(settings.get("hosts", ()), name))
        return cls(unions, registries, hosts)

    def pulled_from(self, name: ImageName) -> list[ImageName]:
        """Where the right to pull is looked for: any of these will do."""
        found = self.unions.get(name.repo)
        if found is None or found.own_rights:
            return [name]
        return found.images(name.image) or [ImageName(member.repo, name.image) for member in found.members]

    def written_to(self, name: ImageName) -> ImageName | None:
        """Where what is written goes; None: nowhere."""
        found = self.unions.get(name.repo)
        if found is None:
            return name
        return None if found.push_to is None else ImageName(found.push_to, name.image)

    def registry(self, namespace: str, host: str) -> str | None:
        """The registry that a request is for, if a repo stands for it: as ?ns= names it; else the Host, with or
        without its port."""
        if namespace:
            return namespace if self.repo_for(namespace) else None
        return next((name for name in (host, host.rpartition(":")[0]) if name in self.hosts), None)

    def repo_for(self, registry: str) -> str | None:
        """The repo that stands for it."""
        return self.registries.get(registry) or self.hosts.get(registry)


def union(settings: Mapping[str, Any]) -> Union:
    """From a virtual repo's settings."""
    members = tuple(map(Member.parse, settings.get("members", ())))
    return Union(members, settings.get("rights") == "own", settings.get("push_to"))
