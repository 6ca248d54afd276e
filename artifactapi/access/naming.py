"""Names that stand for others: virtual repos, and repos that are known by the name of a registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from artifactapi.oci.names import ImageName


@dataclass(frozen=True, slots=True)
class Union:
    """A virtual repo, as far as rights go: `members` are asked for the right to pull, unless it has rights of its own;
    `push_to` takes what is written to it."""

    members: tuple[str, ...]
    own_rights: bool
    push_to: str | None


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
        return [ImageName(member, name.image) for member in found.members]

    def written_to(self, name: ImageName) -> ImageName | None:
        """Where what is written goes; None: nowhere."""
        found = self.unions.get(name.repo)
        if found is None:
            return name
        return None if found.push_to is None else ImageName(found.push_to, name.image)

    def repo_for(self, namespace: str | None, host: str | None) -> str | None:
        """The repo that stands for a whole registry: as containerd's ?ns= names it, or by the Host of the request."""
        repo = self.registries.get(namespace) if namespace else None
        return repo or (self.hosts.get(host.partition(":")[0].lower()) if host and self.hosts else None)


def union(settings: Mapping[str, Any]) -> Union:
    """From a virtual repo's settings."""
    members = (member if isinstance(member, str) else member["repo"] for member in settings.get("members", ()))
    return Union(tuple(members), settings.get("rights") == "own", settings.get("push_to"))
