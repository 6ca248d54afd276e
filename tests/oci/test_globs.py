"""Patterns of tags and images."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactapi.oci.globs import is_image_glob, is_tag_glob, matches

texts = st.text("ab./", max_size=12)
globs = st.text("ab.*?/", min_size=1, max_size=10)


@given(globs, texts)
def test_as_the_shell_does(glob, text):
    """A pattern matches what the shell's would, where * takes / as well."""
    assert matches(glob, text) == fnmatchcase(text, glob)


@pytest.mark.parametrize(
    ("glob", "text", "expected"),
    [
        ("*", "", True),
        ("team/*", "team/app", True),
        ("team/*", "team/a/b", True),
        ("team/*", "teams/app", False),
        ("team/*", "team", False),
        ("v?", "v1", True),
        ("v?", "v10", False),
        ("v1.0", "v1x0", False),
        ("app", "app\n", False),
        ("a*a", "a", False),
        ("a**b", "ab", True),
    ],
)
def test_table(glob, text, expected):
    """The whole text, and only * and ? are special."""
    assert matches(glob, text) is expected


def test_a_pattern_of_an_enemy():
    """A hundred stars against a text that almost matches do not make it try every way."""
    assert not matches("*a" * 100 + "b", "a" * 250)  # else this would not end


@pytest.mark.parametrize("glob", ["", "a b", "ä", "a\n", "x" * 129, None, 1, ["a"], "a/b"])
def test_no_pattern_of_tags(glob):
    """What no tag can have in it, or is too long, is refused."""
    assert not is_tag_glob(glob)


@pytest.mark.parametrize("glob", ["", "A", "a:b", "a\0", "x" * 256, None, 1, {}])
def test_no_pattern_of_images(glob):
    """What no image can have in it, or is too long, is refused."""
    assert not is_image_glob(glob)


def test_patterns():
    """Those that can match are taken."""
    assert is_tag_glob("V1.*-?_x")
    assert is_image_glob("team/*")
