"""An address beside /v2/: what it takes to use it, and who answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from klein import Response

from artifactapi.api.guard import Rule

Answer = Callable[..., Awaitable[Response]]
"""Takes the request, then the parts of its path by name."""
READS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`path` in Werkzeug's form; a part <repo> is the repo that `rule` is about. `name` is for logs and metrics."""

    path: str
    methods: tuple[str, ...]
    name: str
    rule: Rule
    answer: Answer

    @property
    def writes(self) -> bool:
        """Whether it goes on although its client hangs up."""
        return self.methods != READS

    def repo_of(self, parts: dict[str, Any]) -> str | None:
        """The repo it is about."""
        return str(parts["repo"]) if "repo" in parts else None
