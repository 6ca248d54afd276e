"""Scopes of Docker's token flow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactapi.oci.scopes import MOST, Scope, parse_scopes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("repository:r/app:pull,push", Scope("repository", "r/app", frozenset({"pull", "push"}))),
        ("repository:host:5000/r/app:pull", Scope("repository", "host:5000/r/app", frozenset({"pull"}))),
        ("repository(plugin):r/app:pull", Scope("repository", "r/app", frozenset({"pull"}))),
        ("registry:catalog:*", Scope("registry", "catalog", frozenset({"*"}))),
        ("repository:r/app:", Scope("repository", "r/app", frozenset())),
        ("repository:r/app:,pull,,", Scope("repository", "r/app", frozenset({"pull"}))),
        ("repository:a::pull", Scope("repository", "a:", frozenset({"pull"}))),
        ("", None),
        (":", None),
        ("::", None),
        ("repository", None),
        ("repository:pull", None),
        ("Repository:r/app:pull", None),
        ("repository(:r/app:pull", None),
        (":r/app:pull", None),
    ],
)
def test_table(text, expected):
    """Both ends are cut off, and what is between them is the name."""
    assert Scope.parse(text) == expected


def test_several():
    """Between spaces, in several parameters, in order; what is none is left out."""
    found = parse_scopes(["repository:a/b:pull repository:c/d:push", "nonsense", "registry:catalog:*"])
    assert [scope.name for scope in found] == ["a/b", "c/d", "catalog"]


def test_too_many():
    """Thousands give no more than a client could need."""
    assert len(parse_scopes(["repository:a/b:pull " * 5000] * 3)) == MOST


@given(st.lists(st.text(), max_size=5))
def test_anything(texts):
    """Whatever is sent, there is no error."""
    parse_scopes(texts)
