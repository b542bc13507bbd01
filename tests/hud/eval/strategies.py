"""Rows of any shape, for properties that hold of all of them."""

from __future__ import annotations

from hypothesis import strategies as st

from hud import Task

names = st.text(min_size=1, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
objects = st.dictionaries(st.text(max_size=8), values, max_size=4)
configs = st.builds(
    lambda image, cpu, limit: {"image": image, "resources": {"cpu": cpu}, "limits": {"run_timeout_s": limit}},
    st.sampled_from(["a", "b:1"]), st.floats(0.1, 64), st.floats(1, 1e6),
)  # fmt: skip


def tasks_of(verifiers: bool) -> st.SearchStrategy[Task]:
    return st.builds(
        Task, names, names, objects,
        slug=st.none() | names, validation=st.none() | st.lists(objects, max_size=2),
        agent_config=st.none() | objects, columns=st.none() | objects, runtime_config=st.none() | configs,
        verifier=st.none() | tasks_of(verifiers=False) if verifiers else st.none(),
    )  # fmt: skip


_FIELDS = ["env", "id", "args", "slug", "validation", "agent_config", "columns", "runtime_config", "verifier", "x"]

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=6),
    max_leaves=12,
)
"""JSON that looks like a row here and there."""
