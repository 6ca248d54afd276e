"""What is remembered of an upstream, and for how long."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from artifactapi.oci.names import ImageName
from artifactapi.registry import source as module
from artifactapi.registry.source import Misses, Source, TagLists, told
from artifactapi.upstream.errors import Broken, Denied, Limited, NotThere, UpstreamError
from tests.upstream.reading import begin


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(clock) -> Source:
    settings = SimpleNamespace(negative_ttl=30, backoff=10)
    return Source(SimpleNamespace(name="hub"), settings, None, None, clock)  # type: ignore[arg-type]


def fails(error: UpstreamError):
    """A request that fails with that."""

    async def ask() -> None:
        raise error

    return ask


async def answers() -> str:
    """One that does not."""
    return "answer"


@pytest.mark.parametrize("said, seconds", [(3000, 3000), (None, module.LIMITED)])
async def test_limited(source: Source, clock: Clock, said: int | None, seconds: int):
    """Until then nothing is asked, and a client is told how long that is from now on, not from then on."""
    with pytest.raises(Limited):
        await source.ask(fails(Limited(said)))
    clock.advance(5.5)
    with pytest.raises(Limited) as raised:
        await source.ask(answers)
    assert raised.value.retry_after == seconds - 5
    assert told(Limited(said)).headers == {"Retry-After": str(seconds)}
    clock.advance(seconds)
    assert await source.ask(answers) == "answer"


@pytest.mark.parametrize("error", [Broken("reset"), Limited(60)])
async def test_what_is_remembered_does_not_grow(source: Source, error: UpstreamError):
    """An error that is raised again and again holds nothing of those who were told before."""
    depths = []
    for _ in range(5):
        with pytest.raises(type(error)) as raised:
            await source.once("question", lambda: source.ask(fails(error)))
        assert (str(raised.value), raised.value.status) == (str(error), error.status)
        depths.append(len(raised.traceback))
    assert depths[1:] == [depths[1]] * 4


async def test_a_question_that_has_failed_does_not_grow(source: Source):
    """So with what one question failed with."""
    depths = []
    for _ in range(5):
        with pytest.raises(NotThere) as raised:
            await source.once("question", fails(NotThere("no", 404)))
        depths.append(len(raised.traceback))
    assert depths[1:] == [depths[1]] * 4


async def test_an_answer_that_was_under_way(source: Source, clock: Clock):
    """It does not make up for what failed since."""
    going: Deferred[str] = Deferred()
    under_way = begin(source.ask(lambda: going))
    with pytest.raises(Broken):
        await source.ask(fails(Broken("reset")))
    going.callback("late")
    assert await under_way == "late"
    with pytest.raises(Broken):
        await source.ask(answers)
    clock.advance(10)
    assert await source.ask(answers) == "answer"


async def test_refusals(source: Source, lines: list[str]):
    """Each reason is logged once, and no more than some of them: they are the upstream's own words."""
    for number in range(2 * module.MOST_REFUSALS):
        for _ in range(2):
            with pytest.raises(Denied):
                await source.ask(fails(Denied(f"refusal {number}.")))
    found = [line for line in lines if "refusal" in line]
    assert len(found) == module.MOST_REFUSALS
    assert len([line for line in found if "refusal 0." in line]) == 1


def test_misses(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    """They are forgotten when they are too many: whoever asks for what is not there takes no memory for good."""
    monkeypatch.setattr(module, "MOST_MISSES", 3)
    misses = Misses(clock)
    for number in range(10):
        misses.add(number, NotThere(str(number)), 10)
        assert len(misses._failed) <= 3
    with pytest.raises(NotThere):
        misses.check(9)
    clock.advance(10)
    misses.check(9)


def test_tag_lists(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    """A list is known for a while; the oldest ones go when all have too many tags, and a newer one replaces its own."""
    monkeypatch.setattr(module, "MOST_TAGS", 5)
    lists, names = TagLists(clock), [ImageName("hub", image) for image in "abc"]
    for _ in range(3):
        lists.put(names[0], ["1", "2"], 10)
    lists.put(names[1], ["1"], 20)
    assert [lists.get(name) for name in names] == [["1", "2"], ["1"], None]
    lists.put(names[2], ["1", "2"], 20)
    assert [lists.get(name) for name in names] == [None, ["1"], ["1", "2"]]
    clock.advance(20)
    assert [lists.get(name) for name in names] == [None] * 3
