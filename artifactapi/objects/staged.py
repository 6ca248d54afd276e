"""What an unfinished object in a bucket consists of: the state that S3Store keeps in the session's row."""

from __future__ import annotations

from dataclasses import dataclass, replace

from artifactapi.objects.interface import State

WINDOW = 4
"""Parts a writer may have sent beyond the last one that is recorded. Whoever takes over leaves out so many numbers:
what the writer before still sends can then never be among its own parts."""


@dataclass(frozen=True, slots=True)
class Staged:
    """`length` durable bytes: the `parts` of a multipart upload, then objects of their own (`tail`), less than a part.

    `ending` is the tail once more, as the part after the others: the last one, if nothing follows it.
    `object` is the key they are, or will be, found under once they are sealed. `spent` are keys of objects whose
    bytes are in a part by now, to be deleted once the row says so. `contended`: another writer may have left
    something that is not listed here.
    """

    length: int = 0
    upload: str | None = None
    parts: tuple[tuple[int, str], ...] = ()
    number: int = 1
    tail: tuple[tuple[str, int], ...] = ()
    ending: tuple[int, str] | None = None
    spent: tuple[str, ...] = ()
    object: str | None = None
    fence: int = 0
    settled: bool = True
    contended: bool = False

    @classmethod
    def parse(cls, state: State) -> Staged:
        """From the row."""
        lists = {
            "parts": tuple((number, etag) for number, etag in state.get("parts", ())),
            "tail": tuple((key, size) for key, size in state.get("tail", ())),
            "ending": tuple(state["ending"]) if "ending" in state else None,
            "spent": tuple(state.get("spent", ())),
        }
        return cls(**{**state, **lists})

    def to_state(self) -> State:
        """For the row: what is not the default."""
        default = Staged()
        fields = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: value for name, value in fields if value != getattr(default, name)}

    def claimed(self, fence: int) -> Staged:
        """As the writer `fence` goes on from it: past the numbers that writers before it may still send."""
        others = max(0, fence - self.fence - (1 if self.settled else 0))
        return replace(
            self,
            fence=fence,
            settled=False,
            number=self.number + WINDOW * others if self.upload else 1,
            ending=None if others else self.ending,  # others may have sent something else under its number
            contended=self.contended or others > 0,
        )

    def with_part(self, number: int, etag: str, size: int) -> Staged:
        """With one more part, of the tail and `size` bytes after it."""
        return replace(
            self,
            length=self.length + size,
            parts=(*self.parts, (number, etag)),
            number=number + 1,
            tail=(),
            ending=None,
            spent=(*self.spent, *(key for key, _ in self.tail)),
        )

    def with_object(self, key: str, size: int) -> Staged:
        """With `size` more bytes in an object of their own."""
        return replace(self, length=self.length + size, tail=(*self.tail, (key, size)), ending=None)
