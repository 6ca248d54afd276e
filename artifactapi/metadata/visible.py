"""What a caller may see, as a condition on images."""

from __future__ import annotations

from typing import Any

from artifactapi.oci.globs import regex

Visible = tuple[tuple[tuple[str | None, str], ...], ...]
"""Of each of these, one (repo, or None for all; pattern of images) must match; () is everything."""


def condition(visible: Visible, repo: str = "r.name") -> tuple[str, dict[str, Any]]:
    """SQL over repos r and images i, and its parameters; `repo`: SQL of the repo whose grants count."""
    params: dict[str, Any] = {}
    conditions = []
    for number, layer in enumerate(visible):
        params[f"repos{number}"] = [granted for granted, _ in layer]
        params[f"images{number}"] = [regex(images) for _, images in layer]
        conditions.append(
            f"EXISTS (SELECT FROM unnest(%(repos{number})s::text[], %(images{number})s::text[]) AS v (repo, images)"
            f" WHERE (v.repo IS NULL OR v.repo = {repo}) AND i.name ~ v.images)"
        )
    return " AND ".join(conditions) or "true", params
