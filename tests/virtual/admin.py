"""Whoever makes and changes repos."""

from __future__ import annotations

from typing import Any

from tests.access.people import Person
from tests.client import Answer


class Admin(Person):
    """Makes repos, changes and deletes them."""

    async def create(self, name: str, repo_type: str, **settings: Any) -> None:
        """A new repo."""
        answer = await self.try_to_create(name, repo_type, **settings)
        assert answer.status == 201, answer.body

    async def try_to_create(self, name: str, repo_type: str, **settings: Any) -> Answer:
        """What is said to that."""
        return await self.call(
            "POST", "/repos", name=name, package_type="docker", repo_type=repo_type, settings=settings
        )

    async def change(self, name: str, **settings: Any) -> None:
        """Other settings."""
        answer = await self.try_to_change(name, **settings)
        assert answer.status == 200, answer.body

    async def try_to_change(self, name: str, **settings: Any) -> Answer:
        """What is said to that."""
        return await self.call("PATCH", f"/repos/{name}", settings=settings)

    async def delete(self, name: str) -> None:
        """The repo and all it holds."""
        assert (await self.request("DELETE", f"/api/v1/repos/{name}?force=true")).status == 204


def fields_of(answer: Answer) -> dict[str, str]:
    """The messages of a validation error by field."""
    assert answer.status == 400, answer.body
    return {entry["detail"]["field"]: entry["message"] for entry in answer.json["errors"]}
