"""Repos: list, create, read, change, delete."""

from __future__ import annotations

from typing import Any

from artifactapi.metadata import audit, cached
from artifactapi.metadata import repos as rows
from artifactapi.metadata.audit import SYSTEM, By, Event
from artifactapi.metadata.database import Database, Transaction
from artifactapi.metadata.members import Member
from artifactapi.metadata.repos import Repo, Usage
from artifactapi.oci.errors import NameUnknown, OciError, Unsupported
from artifactapi.oci.fields import FieldInvalid, FieldsInvalid, check_object
from artifactapi.oci.names import ImageName, parse_repo_name
from artifactapi.registry import remote_settings, virtual_settings
from artifactapi.registry.settings import MISTAKES

PACKAGE_TYPES = ("docker",)
REPO_TYPES = ("local", "remote", "virtual")
NEEDED = {"remote": "upstream", "virtual": "members"}
OF_TYPE = {"remote": remote_settings.MISTAKES, "virtual": virtual_settings.MISTAKES}
FIELDS = ("name", "package_type", "repo_type", "settings")


class RepoExists(OciError):
    """The name is taken."""

    code = "REPO_EXISTS"
    status = 409


class RepoNotEmpty(OciError):
    """A repo is deleted with its content only when that is asked for."""

    code = "REPO_NOT_EMPTY"
    status = 409


class Repos:
    """What is pushed to and pulled from, and how it behaves."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def listing(self, last: str, count: int, among: list[str] | None = None) -> list[tuple[Repo, Usage]]:
        """Up to `count` repos after `last`, by name; only those `among` these names, if given."""
        return await rows.listing(self._database, last, count, among)

    async def read(self, name: str) -> tuple[Repo, Usage]:
        """A repo and what it holds. Raises NameUnknown."""
        found = await rows.usage(self._database, name)
        if found is None:
            raise unknown(name)
        return found

    async def create(self, fields: object, by: By = SYSTEM) -> Repo:
        """A new repo from JSON fields. Raises FieldsInvalid, RepoExists."""
        name, package_type, repo_type, settings = checked(fields)

        async def work(transaction: Transaction) -> Repo:
            repo = await rows.create(transaction, name, package_type, repo_type, settings)
            if repo is None:
                raise RepoExists(f"there is a repo {name!r} already", {"field": "name"})
            await require_others(transaction, repo, settings)
            await audit.record(transaction, by, Event("repo.create", name, detail={"settings": settings}))
            return repo

        return await self._database.transaction(work)

    async def ensure(self, name: str, package_type: str, repo_type: str) -> None:
        """Create the repo unless its name is taken."""
        await rows.create(self._database, name, package_type, repo_type, {})

    async def change(self, name: str, fields: object, by: By = SYSTEM) -> Repo:
        """Merge `settings` over the repo's; null takes one out. Raises FieldsInvalid, NameUnknown."""

        async def work(transaction: Transaction) -> Repo:
            there = await rows.find(transaction, name)
            if there is None:
                raise unknown(name)
            settings = checked_change(there, fields)
            repo = await rows.change(transaction, name, settings)
            if repo is None:
                raise unknown(name)
            await require_others(transaction, repo, settings)
            if any(there.settings.get(key) != repo.settings.get(key) for key in ("upstream", "prefix")):
                await cached.doubt(transaction, repo.id)
            await audit.record(transaction, by, Event("repo.change", name, detail={"settings": settings}))
            return repo

        return await self._database.transaction(work)

    async def delete(self, name: str, force: bool, by: By = SYSTEM) -> None:
        """Delete it; with all it holds only if `force`. Raises NameUnknown, RepoNotEmpty."""

        async def work(transaction: Transaction) -> None:
            repo_id = await rows.lock(transaction, name)
            if repo_id is None:
                raise unknown(name)
            if not force and not await rows.is_empty(transaction, repo_id):
                raise RepoNotEmpty(f"repo {name!r} is not empty; ?force=true deletes it with all it holds")
            await rows.delete(transaction, repo_id)
            await audit.record(transaction, by, Event("repo.delete", name, detail={"force": force}))

        await self._database.transaction(work)

    async def require(self, name: ImageName) -> Repo:
        """The repo an image belongs to. Raises NameUnknown."""
        repo = await rows.find(self._database, name.repo)
        if repo is None:
            raise unknown(name.repo)
        return repo

    async def require_delete(self, name: ImageName) -> Repo:
        """The repo lets content be deleted. Raises NameUnknown, Unsupported."""
        repo = await self.require(name)
        if repo.repo_type != "local":
            raise read_only(repo.name)
        if repo.settings.get("allow_delete") is False:
            raise Unsupported(f"deletion is off in repo {repo.name!r}", {"name": str(name)})
        return repo


def checked(fields: object) -> tuple[str, str, str, dict[str, Any]]:
    """name, package_type, repo_type and settings of a new repo. Raises FieldsInvalid."""
    errors: list[FieldInvalid] = []
    given = check_object(fields, FIELDS, errors)
    name = given.get("name")
    try:
        parse_repo_name(name if isinstance(name, str) else "")
    except OciError as error:
        errors.append(FieldInvalid("name", error.message if name is not None else "is required"))
    for field, known in (("package_type", PACKAGE_TYPES), ("repo_type", REPO_TYPES)):
        if given.get(field) not in known:
            errors.append(FieldInvalid(field, f"{field} must be one of: {', '.join(known)}"))
    settings = check_settings(given.get("settings", {}), given.get("repo_type"), errors)
    needed = NEEDED.get(str(given.get("repo_type")))
    if needed is not None and settings.get(needed) is None:
        errors.append(FieldInvalid(f"settings.{needed}", f"a {given['repo_type']} repo needs {needed}"))
    if errors:
        raise FieldsInvalid(errors)
    kept = {key: value for key, value in settings.items() if value is not None}
    return str(name), given["package_type"], given["repo_type"], kept


def checked_change(repo: Repo, fields: object) -> dict[str, Any]:
    """The settings to merge. Raises FieldsInvalid."""
    errors: list[FieldInvalid] = []
    given = check_object(fields, FIELDS, errors)
    for field in FIELDS[:3]:
        if field in given and not (field == "name" and given[field] == repo.name):
            errors.append(FieldInvalid(field, f"{field} cannot be changed"))
    settings = check_settings(given.get("settings", {}), repo.repo_type, errors)
    needed = NEEDED.get(repo.repo_type)
    if needed is not None and settings.get(needed, needed) is None:
        errors.append(FieldInvalid(f"settings.{needed}", f"a {repo.repo_type} repo needs {needed}"))
    if errors:
        raise FieldsInvalid(errors)
    return settings


def check_settings(settings: object, repo_type: object, errors: list[FieldInvalid]) -> dict[str, Any]:
    """`settings` if each is one of such a repo, and of its type; null means: not set."""
    if not isinstance(settings, dict):
        errors.append(FieldInvalid("settings", "settings must be a JSON object"))
        return {}
    mistakes = MISTAKES | OF_TYPE.get(str(repo_type), {})
    for key, value in settings.items():
        if key not in mistakes:
            errors.append(FieldInvalid(f"settings.{key[:100]}", f"unknown setting {key[:100]!r}"))
        elif value is not None and (mistake := mistakes[key](value)) is not None:
            errors.append(FieldInvalid(f"settings.{key}", mistake))
    return settings


async def require_others(transaction: Transaction, repo: Repo, changed: dict[str, Any]) -> None:
    """What a repo that was just written has to do with others is possible. Raises FieldsInvalid.

    Afterwards, since whoever writes a repo waits for all others that do: nothing can come between.
    """
    errors: list[FieldInvalid] = []
    if "members" in changed or "push_to" in changed:
        errors += await wrong_members(transaction, repo.settings, "members" in changed)
    for field in ("mirror_of", "hosts"):
        taken = await rows.claimed(transaction, repo, changed.get(field) or ())
        errors += [
            FieldInvalid(f"settings.{field}", f"repo {other!r} stands for {name!r} already")
            for name, other in sorted(taken.items())
        ]
    if errors:
        raise FieldsInvalid(errors)


async def wrong_members(transaction: Transaction, settings: dict[str, Any], new: bool) -> list[FieldInvalid]:
    """What is wrong: new members have to be there, and none is virtual; push_to is a local one."""
    names = [Member.parse(member).repo for member in settings.get("members", ())]
    types = {name: repo.repo_type for name in names if (repo := await rows.find(transaction, name)) is not None}
    errors = [
        FieldInvalid("settings.members", f"no repo {name!r} that is local or remote")
        for name in names
        if new and types.get(name) not in ("local", "remote")
    ]
    push_to = settings.get("push_to")
    if push_to is not None and types.get(push_to) != "local":
        errors.append(FieldInvalid("settings.push_to", f"{push_to!r} is no local member"))
    return errors


def read_only(name: str) -> Unsupported:
    """The error for a write to a repo that only shows what others have."""
    return Unsupported(f"repo {name!r} takes no writes: it shows what others have", {"name": name})


def unknown(name: str) -> NameUnknown:
    """The error for a repo that does not exist."""
    return NameUnknown(f"no repo {name[:100]!r}", {"name": name[:255]})
