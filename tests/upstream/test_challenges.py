"""WWW-Authenticate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactapi.upstream.challenge import Challenge, parse_challenges

BEARER = Challenge("bearer", "https://auth.example/token", "registry")


@pytest.mark.parametrize(
    "headers, challenges",
    [
        (['Bearer realm="https://auth.example/token",service="registry",scope="repository:a:pull,push"'], [BEARER]),
        (['bearer service = "registry" , REALM="https://auth.example/token"'], [BEARER]),
        (["Bearer realm=https://auth.example/token,service=registry"], [BEARER]),
        (['Basic realm="a \\"b\\", c"'], [Challenge("basic", 'a "b", c')]),
        (['Basic realm="x", Bearer realm="https://auth.example/token",service="registry"'],
         [Challenge("basic", "x"), BEARER]),
        (['Basic realm="x"', 'Bearer realm="https://auth.example/token",service="registry"'],
         [Challenge("basic", "x"), BEARER]),
        (["Negotiate", 'Basic realm="x"'], [Challenge("negotiate"), Challenge("basic", "x")]),
        (['Bearer realm="a",realm="b"'], [Challenge("bearer", "a")]),
        (['realm="x"', "", ", ,", '"'], []),
    ],
)  # fmt: skip
def test_challenges(headers: list[str], challenges: list[Challenge]):
    """All challenges of all headers are found, in order, quoted or not."""
    assert parse_challenges(headers) == challenges


@given(st.lists(st.text(alphabet='Bearl =",\\:/x', max_size=60), max_size=3))
def test_anything(headers: list[str]):
    """No header is too strange."""
    assert all(challenge.scheme for challenge in parse_challenges(headers))
