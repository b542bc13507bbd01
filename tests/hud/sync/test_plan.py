"""Which rows a sync creates, updates and leaves alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import hud
from hud.sync.plan import SyncPlan

SIDES = st.dictionaries(st.text(max_size=3), st.sampled_from([b"1", b"2"]), max_size=12)


def test_each_row_is_created_updated_or_left_alone_by_its_digest() -> None:
    plan = SyncPlan.between({"c": b"1", "b": b"2", "a": b"3"}, {"a": b"3", "b": b"1", "d": b"4"})
    assert plan == SyncPlan(create=("c",), update=("b",), unchanged=("a",), remote_only=("d",))
    assert plan.sent == ("c", "b")
    assert plan.counts() == {"create": 1, "update": 1, "unchanged": 1, "remote_only": 1, "remove": 0}


def test_what_the_platform_alone_has_is_no_reason_to_sync() -> None:
    assert SyncPlan.between({"a": b"1"}, {"a": b"1", "b": b"2"}).is_up_to_date
    assert not SyncPlan.between({"a": b"1"}, {"a": b"1", "b": b"2"}, prune=True).is_up_to_date


def test_force_updates_what_is_equal() -> None:
    plan = SyncPlan.between({"a": b"1", "b": b"2"}, {"a": b"1"}, force=True)
    assert plan == SyncPlan(create=("b",), update=("a",))


def test_rows_that_are_left_out_are_not_pruned_either() -> None:
    plan = SyncPlan.between({"a": b"1", "b": b"2"}, {"b": b"1", "c": b"1", "d": b"1"}, leave={"b", "c"}, prune=True)
    assert plan == SyncPlan(create=("a",), remove=("d",))


@given(SIDES, SIDES, st.booleans(), st.booleans())
def test_every_slug_is_in_one_sorted_list(
    local: dict[str, bytes], remote: dict[str, bytes], force: bool, prune: bool
) -> None:
    plan = SyncPlan.between(local, remote, force=force, prune=prune)
    lists = [plan.create, plan.update, plan.unchanged, plan.remote_only, plan.remove]
    assert sorted(slug for slugs in lists for slug in slugs) == sorted(local.keys() | remote.keys())
    assert all(list(slugs) == sorted(slugs) for slugs in lists)


@given(SIDES, SIDES)
def test_carrying_a_plan_out_leaves_nothing_to_do(local: dict[str, bytes], remote: dict[str, bytes]) -> None:
    plan = SyncPlan.between(local, remote, prune=True)
    after = {slug: digest for slug, digest in remote.items() if slug not in plan.remove}
    after |= {slug: local[slug] for slug in plan.sent}
    assert SyncPlan.between(local, after, prune=True).is_up_to_date


def test_the_plan_is_exported() -> None:
    assert hud.SyncPlan is SyncPlan
