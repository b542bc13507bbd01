"""The environment that every figure serves: one task that costs next to nothing. Both SDKs load it as it is."""

from hud import Environment

env = Environment("figures")


@env.template(description="Add two numbers.")
async def add(a: int, b: int = 2):
    answer = yield f"What is {a} + {b}?"
    yield 1.0 if str(answer) == str(a + b) else 0.0
