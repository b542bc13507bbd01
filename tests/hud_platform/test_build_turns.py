"""Builds take turns: so many at once, one at a time of each environment, each in its order."""

from __future__ import annotations

import asyncio
import uuid

from hypothesis import given
from hypothesis import strategies as st

from hud_platform.builds.build_turns import Turns

ENVIRONMENTS = [uuid.uuid5(uuid.NAMESPACE_DNS, str(number)) for number in range(4)]
builds = st.lists(st.sampled_from(ENVIRONMENTS), min_size=1, max_size=12)


@given(environments=builds, at_once=st.integers(1, 4), data=st.data())
async def test_turns_come_in_order_and_never_too_many(
    environments: list[uuid.UUID], at_once: int, data: st.DataObject
) -> None:
    turns = Turns(at_once)
    places = {uuid.uuid4(): environment for environment in environments}
    for build_id, environment in places.items():
        turns.expect(build_id, environment)
    running: list[uuid.UUID] = []
    done: list[uuid.UUID] = []

    async def build(build_id: uuid.UUID) -> None:
        turns.arrive(build_id)
        await turns.wait(build_id)
        running.append(build_id)
        assert len(running) <= at_once
        assert len({places[one] for one in running}) == len(running)
        await asyncio.sleep(0)
        running.remove(build_id)
        done.append(build_id)
        turns.leave(build_id)

    await asyncio.gather(*(build(build_id) for build_id in data.draw(st.permutations(list(places)))))
    for environment in ENVIRONMENTS:
        of_it = [build_id for build_id in places if places[build_id] == environment]
        assert [build_id for build_id in done if build_id in of_it] == of_it


async def test_a_build_that_was_begun_earlier_is_waited_for_before_it_has_come_back() -> None:
    turns = Turns(2)
    first, second, other = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    for build_id, environment in ((first, 0), (second, 0), (other, 1)):
        turns.expect(build_id, ENVIRONMENTS[environment])
    assert not turns.arrive(second)
    assert turns.arrive(other)
    assert turns.arrive(first)
    turns.leave(first)
    await asyncio.wait_for(turns.wait(second), 1)


async def test_a_build_that_gives_up_waiting_lets_others_pass() -> None:
    turns = Turns(1)
    running, waiting, next_one = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    for build_id in (running, waiting, next_one):
        turns.expect(build_id, ENVIRONMENTS[0])
    assert [turns.arrive(build_id) for build_id in (running, waiting, next_one)] == [True, False, False]
    turns.leave(waiting)
    turns.leave(running)
    await asyncio.wait_for(turns.wait(next_one), 1)


def test_those_that_run_and_those_that_wait_are_counted() -> None:
    turns = Turns(1)
    first, second = uuid.uuid4(), uuid.uuid4()
    turns.expect(first, ENVIRONMENTS[0])
    turns.expect(second, ENVIRONMENTS[1])
    turns.arrive(first)
    turns.arrive(second)
    assert (turns.running, turns.waiting) == (1, 1)
    turns.leave(first)
    assert (turns.running, turns.waiting) == (1, 0)
