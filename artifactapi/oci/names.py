"""Names of images and repos, and references to manifests. All grammars take time linear in the text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from artifactapi.oci.digest import Digest
from artifactapi.oci.errors import NameInvalid, NameUnknown, TagInvalid, clip

MAX_NAME = 255
MAX_REPO_NAME = 100

_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_COMPONENT = re.compile(_PART)
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class ImageName:
    """The `name` of the distribution-spec: its first component is the repo, the others are the image."""

    repo: str
    image: str

    def __str__(self) -> str:
        return f"{self.repo}/{self.image}"

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """The name in the text. Raises NameInvalid, and NameUnknown for a repo without an image."""
        if len(text) > MAX_NAME:
            raise NameInvalid(f"a name has at most {MAX_NAME} bytes", {"name": clip(text)})
        if _NAME.fullmatch(text) is None:
            raise NameInvalid("a name is lower-case letters, digits and single separators", {"name": text})
        repo, _, image = text.partition("/")
        if not image:
            raise NameUnknown("names are <repo>/<image>", {"name": text})
        return cls(repo, image)


def parse_repo_name(text: str) -> str:
    """The name of a repo: one component, at most 100 bytes. Raises NameInvalid."""
    if len(text) > MAX_REPO_NAME:
        raise NameInvalid(f"a repo's name has at most {MAX_REPO_NAME} bytes", {"name": clip(text)})
    if _COMPONENT.fullmatch(text) is None:
        raise NameInvalid("a repo's name is lower-case letters, digits and single separators", {"name": text})
    return text


def is_repo_name(value: object) -> bool:
    """Whether it may be the name of a repo."""
    return isinstance(value, str) and len(value) <= MAX_REPO_NAME and _COMPONENT.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Tag:
    """A name that stands for a manifest of an image."""

    name: str

    def __str__(self) -> str:
        return self.name

    @classmethod
    def parse(cls, text: str) -> Tag:
        """The tag in the text. Raises TagInvalid."""
        if _TAG.fullmatch(text) is None:
            raise TagInvalid("a tag is 1 to 128 letters, digits and _.- not led by . or -", {"tag": clip(text, 200)})
        return cls(text)


def parse_reference(text: str) -> Digest | Tag:
    """What follows manifests/ in an address: with a colon a digest, else a tag. Raises DigestInvalid, TagInvalid."""
    return Digest.parse(text) if ":" in text else Tag.parse(text)
