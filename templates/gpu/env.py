"""The environment my-env: a model loaded once, on the GPU where there is one, and tasks that ask it."""

from model import CLASSES, INPUTS, Model, weights

from hud import Environment

env = Environment("my-env")
model = Model()


@env.initialize
async def load_model():
    import asyncio

    # Once for the life of the container: every task after it finds the model warm.
    await asyncio.to_thread(model.load)


@env.template(description="Find an input that the model on the device puts into a given class.")
async def steer(target: int = 0):
    if not 0 <= target < CLASSES:
        raise ValueError(f"target is 0 to {CLASSES - 1}, not {target}")
    rows = "\n".join(f"class {number}: {row}" for number, row in enumerate(weights()))
    answer = yield (
        f"A linear model scores {INPUTS} numbers with one row of weights a class; the largest score wins:\n\n{rows}\n\n"
        f"Answer with {INPUTS} numbers between -1 and 1, separated by commas, that it puts into class {target} "
        "by a margin of at least 4 over every other class."
    )
    numbers = parse(answer)
    if numbers is None:
        yield {"score": 0.0, "info": {"device": model.device, "failure": f"not {INPUTS} numbers between -1 and 1"}}
        return
    scores = await model.scores(numbers)
    margin = scores[target] - max(score for number, score in enumerate(scores) if number != target)
    yield {"score": 1.0 if margin >= 4 else 0.0, "info": {"device": model.device, "margin": margin}}


def parse(answer):
    """Give the numbers of an answer, or None when it is not what was asked for."""
    try:
        numbers = [float(part) for part in str(answer).strip().strip("[]").split(",")]
    except ValueError:
        return None
    return numbers if len(numbers) == INPUTS and all(-1 <= number <= 1 for number in numbers) else None
