"""The environment my-env: two small tasks with exact answers, to make your own.

A task asks with its first yield and says with its second what the answer is worth.
"""

from hud import Environment

env = Environment("my-env")


@env.template(description="Count how often a letter occurs in a sentence.")
async def count(sentence: str, letter: str):
    answer = yield (
        f"How often does the letter {letter!r} occur in {sentence!r}, small or capital? Answer with the number alone."
    )
    yield 1.0 if str(answer).strip() == str(sentence.lower().count(letter.lower())) else 0.0


@env.template(description="Mend the one wrong operator of a function.")
async def fix_bug(difficulty: int = 1):
    if difficulty not in BUGS:
        raise ValueError(f"difficulty is 1, 2 or 3, not {difficulty}")
    function, wrong, right = BUGS[difficulty]
    answer = yield (
        "One operator in this function is wrong. Answer with the mended line alone.\n\n" + function.replace("@", wrong)
    )
    mended_line = next(line for line in function.splitlines() if "@" in line)
    accepted = [without_space(text.replace("@", right)) for text in (mended_line, function)]
    yield 1.0 if without_space(str(answer).strip("`")) in accepted else 0.0


def without_space(text):
    return "".join(text.split())


# By difficulty: a function with @ in place of one operator, the wrong operator and the right one.
BUGS = {
    1: (
        '''\
def average(numbers):
    """Give the mean of the numbers; there is at least one."""
    return sum(numbers) @ len(numbers)
''',
        "*",
        "/",
    ),
    2: (
        '''\
def is_leap(year):
    """Say whether a year of the Gregorian calendar has 366 days."""
    return year % 4 == 0 and (year % 100 != 0 @ year % 400 == 0)
''',
        "and",
        "or",
    ),
    3: (
        '''\
def first_at_least(numbers, limit):
    """Give the index of the first of the ascending numbers that is not below the limit, or their count."""
    low, high = 0, len(numbers)
    while low < high:
        middle = (low + high) // 2
        if numbers[middle] @ limit:
            low = middle + 1
        else:
            high = middle
    return low
''',
        "<=",
        "<",
    ),
}
