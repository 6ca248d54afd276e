"""The fields of a JSON body, and all that is wrong with them, at once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeGuard

from artifactapi.oci.errors import OciError


class FieldInvalid(OciError):
    """One field that cannot be accepted; `detail` names it."""

    code = "FIELD_INVALID"
    status = 400

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message, {"field": field})


class FieldsInvalid(OciError):
    """All fields that cannot be accepted."""

    code = "FIELD_INVALID"
    status = 400

    def __init__(self, errors: list[FieldInvalid]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


def check_object(given: object, known: Collection[str], errors: list[FieldInvalid]) -> dict[str, Any]:
    """`given` if it is a JSON object; unknown fields are added to `errors`. Raises FieldsInvalid."""
    if not isinstance(given, dict):
        raise FieldsInvalid([FieldInvalid("", "the body must be a JSON object")])
    errors.extend(FieldInvalid(str(f)[:100], f"unknown field {str(f)[:100]!r}") for f in given if f not in known)
    return given


def is_whole(value: object, least: int, most: int) -> bool:
    """Whether it is a whole number between these; JSON's true is none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_list(value: object, each: Callable[[Any], bool], most: int, least: int = 0) -> TypeGuard[list[Any]]:
    """Whether it is a list of so many entries, each of which is right."""
    return isinstance(value, list) and least <= len(value) <= most and all(map(each, value))


class Fields:
    """The fields of a body, read one by one; `check` raises what was wrong with any of them."""

    def __init__(self, given: object, known: Collection[str]) -> None:
        self._errors: list[FieldInvalid] = []
        self._given = check_object(given, known, self._errors)

    def __contains__(self, field: str) -> bool:
        return field in self._given

    def read(self, field: str, valid: Callable[[Any], bool], form: str, default: Any = None) -> Any:
        """The field if it is `valid`, or the default if it is not there; `form` says what it must be."""
        value = self._given.get(field)
        if value is None:
            return default
        if not valid(value):
            self._errors.append(FieldInvalid(field, f"{field} must be {form}"))
            return default
        return value

    def need(self, field: str, valid: Callable[[Any], bool], form: str) -> Any:
        """The same of a field that must be there."""
        if self._given.get(field) is None:
            self._errors.append(FieldInvalid(field, f"{field} is required"))
        return self.read(field, valid, form)

    def refuse(self, field: str, message: str) -> None:
        """This field is wrong for another reason."""
        self._errors.append(FieldInvalid(field, message))

    def check(self) -> None:
        """Raises FieldsInvalid, if anything was wrong."""
        if self._errors:
            raise FieldsInvalid(self._errors)
