"""Rows as authors write them for the public SDK."""

from env import add, ask, judge, slow, typed, verify

from hud import Task, Taskset

easy = add(a=4)
easy.slug = "easy"
easy.columns = {"level": 1}

tasks = [
    easy,
    add(a=5, b=5),
    add(5, b=6),
    ask(form="turns"),
    ask("Grüße, 世界"),
    typed(3, tags=["a", "b"], table={"z": 1, "a": 2}, ratio=1e-7),
    judge(),
    Task(env="interop", id="long", args={"size": 1 << 20}, slug="long", agent_config={"max_steps": 3}),
]

more = Taskset("more", [slow(tag="x"), Task(env="interop", id="add", args={"a": 1}, verifier=verify(share=0.25))])
