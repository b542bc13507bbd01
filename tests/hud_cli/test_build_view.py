"""What is shown of a build's log, line by line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hud.platform.records import BuildFrame
from hud_cli.build_view import BuildView, shown

PARTS = st.sampled_from(["\x1b", "[", "]", "0;1", "m", "\x07", "\\", "\x9b", "\x80", "a", "é", "\r", "\x00", "\t"])


def lines_of(*frames: BuildFrame) -> list[str]:
    lines: list[str] = []
    with BuildView(say=lines.append) as view:
        for frame in frames:
            view.show(frame)
    return lines


@given(st.lists(PARTS).map("".join) | st.text())
def test_nothing_that_a_build_prints_moves_a_cursor(text: str) -> None:
    assert all(character in "\t\n" or ord(character) >= 32 for character in shown(text))
    assert not any("\x7f" <= character <= "\x9f" for character in shown(text))


def test_a_step_is_named_before_its_lines_whenever_another_came_between() -> None:
    one, two = "[1/2] RUN a", "[2/2] RUN b"
    lines = lines_of(
        BuildFrame(type="log", step=one, message=f"{one}\nfirst"),
        BuildFrame(type="log", step=two, message=two),
        BuildFrame(type="log", step=one, message="second\nDONE 0.1s", ended=True),
    )
    assert lines == [one, "  first", two, one, "  second", "  DONE 0.1s"]


def test_what_a_step_prints_is_no_end_of_it() -> None:
    step = "[1/1] RUN echo DONE"
    lines = lines_of(BuildFrame(type="log", step=step, message=f"{step}\nDONE 1.0s\nCACHED"))
    assert lines == [step, "  DONE 1.0s", "  CACHED"]


def test_frames_without_words_show_nothing() -> None:
    kinds = ("log", "status", "complete", "error", "status_update", "news")
    assert lines_of(*(BuildFrame(type=kind) for kind in kinds)) == []
    assert lines_of(BuildFrame(type="log", message="  \n")) in ([], [""])
