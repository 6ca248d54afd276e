"""The fields of a JSON body."""

from __future__ import annotations

import pytest

from artifactapi.oci.fields import Fields, FieldsInvalid


def is_text(value: object) -> bool:
    """Whether it is text."""
    return isinstance(value, str)


def mistakes(fields: Fields) -> list[tuple[object, str]]:
    """What `check` says."""
    with pytest.raises(FieldsInvalid) as refused:
        fields.check()
    return [(error.detail["field"], error.message) for error in refused.value.errors]


def test_good_fields():
    """What is there and right is given; null is as if it were not there."""
    fields = Fields({"a": "x", "b": None}, ("a", "b", "c"))
    assert fields.need("a", is_text, "text") == "x"
    assert fields.read("b", is_text, "text", "default") == "default"
    assert fields.read("c", is_text, "text") is None
    fields.check()


def test_all_mistakes_at_once():
    """Unknown, missing, wrong and refused fields are told together."""
    fields = Fields({"a": 1, "z": 2}, ("a", "b", "c"))
    fields.read("a", is_text, "text")
    fields.need("b", is_text, "text")
    fields.refuse("c", "c is not wanted")
    assert mistakes(fields) == [
        ("z", "unknown field 'z'"),
        ("a", "a must be text"),
        ("b", "b is required"),
        ("c", "c is not wanted"),
    ]


@pytest.mark.parametrize("given", [None, [], "x", 1, True])
def test_no_object(given):
    """A body that is no JSON object is refused at once."""
    with pytest.raises(FieldsInvalid, match="must be a JSON object"):
        Fields(given, ())
