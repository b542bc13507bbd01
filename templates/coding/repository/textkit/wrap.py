"""Line breaking."""


def wrap(text: str, width: int) -> list[str]:
    """Break `text` at white space into lines of at most `width` characters, each as full as can be.

    A word longer than `width` stands alone on its line. Text without a word gives no line.

    Raises:
        ValueError: `width` is below 1.
    """
    if width < 1:
        raise ValueError(f"a line is at least 1 wide, not {width}")
    lines = []
    line = ""
    for word in text.split():
        if len(line) + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    lines.append(line)
    return lines
