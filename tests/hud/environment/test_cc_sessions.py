"""Sessions and the tasks that wait in them: rules CC-33 to CC-42 of the control-channel specification."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.hud.environment.channel import Channel, Peer, error_of, request, until
from tests.hud.environment.probe import Probe


def parked(channel: Channel, tag: str) -> str:
    """Start a task, disconnect, and give the id of the session it waits in."""
    peer = channel.connect()
    session_id = peer.session_id()
    peer.start("tagged", {"tag": tag})
    peer.close()
    channel.settled()
    return session_id


@pytest.mark.parametrize("leave", ["close", "half_close", "reset"])
def test_cc_33_a_disconnect_parks_the_task_and_a_plain_grade_adopts_it(channel: Channel, leave: str) -> None:
    owner = channel.connect()
    owner.start("add", {"a": 4})
    getattr(owner, leave)()
    until(lambda: channel.parked() == 1)
    peer = channel.connect()
    session_id = peer.session_id()
    assert peer.grade("6") == {"score": 1.0}
    assert peer.session_id() == session_id
    assert channel.parked() == 0


def test_cc_33_one_connection_may_adopt_again_and_again(channel: Channel, peer: Peer) -> None:
    for tag in "abc":
        parked(channel, tag)
        assert peer.grade("x")["tag"] == tag


def test_cc_33_an_own_task_comes_before_a_parked_one(channel: Channel, peer: Peer) -> None:
    parked(channel, "parked")
    peer.start("tagged", {"tag": "own"})
    assert peer.grade("x")["tag"] == "own"
    assert peer.grade("x")["tag"] == "parked"


def test_cc_33_cancel_never_adopts(channel: Channel, peer: Peer) -> None:
    parked(channel, "parked")
    assert peer.result("tasks.cancel") == {"cancelled": True}
    assert peer.grade("x")["tag"] == "parked"


def test_cc_34_the_task_of_a_live_session_is_neither_adopted_nor_resumed(channel: Channel, peer: Peer) -> None:
    owner = channel.connect()
    session_id = owner.session_id()
    owner.start("tagged", {"tag": "mine"})
    assert peer.error("tasks.grade", {"answer": "x"}) == (-32600, "no task in progress")
    assert peer.error("hello", {"session_id": session_id})[0] == -32600
    assert owner.grade("x")["tag"] == "mine"


def test_cc_35_resume_takes_exactly_that_task(channel: Channel, peer: Peer) -> None:
    ids = {tag: parked(channel, tag) for tag in "abc"}
    assert peer.result("hello", {"session_id": ids["b"]})["session_id"] == ids["b"]
    assert peer.grade("x")["tag"] == "b"
    assert channel.parked() == 2


def test_cc_35_resuming_over_an_own_task_parks_that_one_under_its_old_id(channel: Channel, peer: Peer) -> None:
    waiting = parked(channel, "waiting")
    own = peer.session_id()
    peer.start("tagged", {"tag": "own"})
    peer.result("hello", {"session_id": waiting})
    assert peer.grade("x")["tag"] == "waiting"
    assert peer.result("hello", {"session_id": own})["session_id"] == own
    assert peer.grade("x")["tag"] == "own"


def test_cc_35_a_resumed_session_parks_again_under_the_same_id(channel: Channel) -> None:
    session_id = parked(channel, "a")
    for _ in range(3):
        peer = channel.connect()
        assert peer.result("hello", {"session_id": session_id})["session_id"] == session_id
        peer.close()
        channel.settled()
    assert channel.connect().grade("x")["tag"] == "a"


@pytest.mark.parametrize("ending", ["graded", "cancelled"])
def test_cc_35_a_session_that_is_over_is_unknown(channel: Channel, ending: str) -> None:
    session_id = parked(channel, "a")
    owner = channel.connect()
    owner.result("hello", {"session_id": session_id})
    if ending == "graded":
        owner.grade("x")
    else:
        owner.result("tasks.cancel")
    owner.close()
    channel.settled()
    code, message = channel.connect().error("hello", {"session_id": session_id})
    assert (code, message) == (-32600, f"unknown session: '{session_id}'")


def test_cc_35_a_session_without_a_task_is_forgotten_with_its_connection(channel: Channel) -> None:
    owner = channel.connect()
    session_id = owner.session_id()
    owner.close()
    channel.settled()
    assert channel.connect().error("hello", {"session_id": session_id})[1] == f"unknown session: '{session_id}'"


def test_cc_36_concurrent_sessions_never_exchange_tasks(channel: Channel) -> None:
    peers = {f"tag-{number}": channel.connect() for number in range(50)}
    for tag, peer in peers.items():
        peer.send(request("tasks.start", {"id": "tagged", "args": {"tag": tag}}))
    for tag, peer in peers.items():
        assert peer.frame()["result"]["prompt"] == tag
    for tag, peer in reversed(peers.items()):
        peer.send(request("tasks.grade", {"answer": tag}))
    for tag, peer in peers.items():
        result = peer.frame()["result"]
        assert (result["tag"], result["answer"]) == (tag, tag)


@pytest.mark.parametrize("where", ["start", "grade"])
@pytest.mark.parametrize("method", ["hello", "tasks.list", "tasks.start", "tasks.grade", "tunnel.open", "nope", ""])
def test_cc_37_other_calls_are_refused_at_once_while_one_runs(
    channel: Channel, probe: Probe, peer: Peer, method: str, where: str
) -> None:
    if where == "grade":
        peer.start("gated", {"tag": "a", "where": where})
        peer.send(request("tasks.grade", {"answer": ""}, id=1))
    else:
        peer.send(request("tasks.start", {"id": "gated", "args": {"tag": "a", "where": where}}, id=1))
    peer.send(request(method, id=2))
    frame = peer.frame()
    assert frame["id"] == 2
    assert error_of(frame) == (-32600, f"{method}: a task call is still running")
    probe.open()
    frame = peer.frame()
    assert (frame["id"], "result" in frame) == (1, True)


def test_cc_37_a_running_call_does_not_stall_other_sessions(channel: Channel, peer: Peer) -> None:
    peer.send(request("tasks.start", {"id": "gated", "args": {"tag": "a", "where": "start"}}))
    other = channel.connect()
    other.start("add", {"a": 4})
    assert other.grade("6") == {"score": 1.0}


@pytest.mark.parametrize("where", ["start", "grade"])
@pytest.mark.parametrize("method", ["tasks.cancel", "bye"])
def test_cc_38_a_stop_is_answered_after_the_call_it_interrupts_and_its_cleanup(
    channel: Channel, probe: Probe, peer: Peer, method: str, where: str
) -> None:
    if where == "grade":
        peer.start("gated", {"tag": "a", "where": where})
        peer.send(request("tasks.grade", {"answer": ""}, id="call"))
    else:
        peer.send(request("tasks.start", {"id": "gated", "args": {"tag": "a", "where": where}}, id="call"))
    peer.send(request(method, id="stop"))
    first, second = peer.frame(), peer.frame()
    assert (first["id"], second["id"]) == ("call", "stop")
    assert error_of(first) == (-32000, f"{method} interrupted the task")
    assert second["result"] == ({"cancelled": True} if method == "tasks.cancel" else {"goodbye": True})
    assert probe.journal[-1] == "closed a"
    if method == "bye":
        assert peer.rest() == b""
    else:
        assert peer.error("tasks.grade", {"answer": ""}) == (-32600, "no task in progress")


def test_cc_38_frames_behind_a_stop_are_answered_after_it(channel: Channel, peer: Peer) -> None:
    peer.send(
        request("tasks.start", {"id": "gated", "args": {"tag": "a", "where": "start"}}, id=1),
        request("tasks.cancel", id=2),
        request("tasks.cancel", id=3),
        request("tasks.start", {"id": "add", "args": {"a": 4}}, id=4),
    )
    frames = [peer.frame() for _ in range(4)]
    assert [frame["id"] for frame in frames] == [1, 2, 3, 4]
    assert frames[3]["result"] == {"prompt": "What is 4+2?"}


def test_cc_39_a_disconnect_during_start_lets_it_finish_and_parks_it(
    channel: Channel, probe: Probe, peer: Peer
) -> None:
    session_id = peer.session_id()
    peer.send(request("tasks.start", {"id": "gated", "args": {"tag": "a", "where": "start"}}))
    until(lambda: probe.journal == ["started a"])
    peer.close()
    other = channel.connect()
    time.sleep(0.05)
    assert other.error("hello", {"session_id": session_id})[1] == f"session '{session_id}' has a live connection"
    assert other.error("tasks.grade", {"answer": ""}) == (-32600, "no task in progress")
    probe.open()
    until(lambda: channel.parked() == 1)
    assert other.result("hello", {"session_id": session_id})["session_id"] == session_id
    assert other.grade("x") == {"score": 1.0}


def test_cc_39_after_a_half_close_during_start_the_reply_still_comes(
    channel: Channel, probe: Probe, peer: Peer
) -> None:
    peer.send(request("tasks.start", {"id": "gated", "args": {"tag": "a", "where": "start"}}))
    peer.half_close()
    until(lambda: probe.journal == ["started a"])
    probe.open()
    assert peer.frame()["result"] == {"prompt": "a"}
    assert peer.rest() == b""
    until(lambda: channel.parked() == 1)


@pytest.mark.parametrize("leave", ["close", "half_close", "reset"])
def test_cc_40_a_disconnect_during_grade_runs_the_cleanup_and_parks_nothing(
    channel: Channel, probe: Probe, peer: Peer, leave: str
) -> None:
    peer.start("gated", {"tag": "a", "where": "grade"})
    peer.send(request("tasks.grade", {"answer": ""}))
    until(lambda: "graded a" in probe.journal)
    getattr(peer, leave)()
    until(lambda: probe.journal[-1] == "closed a")
    if leave == "half_close":
        assert peer.rest() == b""
    other = channel.connect()
    assert other.error("tasks.grade", {"answer": ""}) == (-32600, "no task in progress")
    assert channel.parked() == 0


def test_cc_41_cancel_and_bye_are_idempotent(channel: Channel, probe: Probe, peer: Peer) -> None:
    peer.start("tagged", {"tag": "a"})
    assert [peer.result("tasks.cancel") for _ in range(3)] == [{"cancelled": True}] * 3
    assert probe.journal == ["started a", "closed a"]
    assert peer.result("bye") == {"goodbye": True}
    assert peer.rest() == b""


def test_cc_41_bye_closes_the_task_it_leaves(channel: Channel, probe: Probe, peer: Peer) -> None:
    peer.start("tagged", {"tag": "a", "cleanup_s": 0.05})
    assert peer.result("bye") == {"goodbye": True}
    assert probe.journal == ["started a", "closed a"]
    assert channel.parked() == 0


@pytest.mark.parametrize("method", ["tasks.cancel", "bye"])
def test_cc_41_a_stop_affects_no_other_session(channel: Channel, peer: Peer, method: str) -> None:
    parked(channel, "parked")
    live = channel.connect()
    live.start("tagged", {"tag": "live"})
    peer.start("tagged", {"tag": "own"})
    peer.result(method)
    assert live.grade("x")["tag"] == "live"
    assert live.grade("x")["tag"] == "parked"


def test_cc_41_a_task_that_is_being_cancelled_is_not_parked_when_its_client_goes(
    channel: Channel, probe: Probe, peer: Peer
) -> None:
    peer.start("tagged", {"tag": "a", "cleanup_s": 0.1})
    peer.send(request("tasks.cancel"))
    peer.close()
    until(lambda: probe.journal[-1] == "closed a")
    channel.settled()
    assert channel.parked() == 0
    assert channel.server.served.users == 0


def test_cc_42_one_connection_runs_task_after_task(peer: Peer) -> None:
    for number in range(5):
        assert peer.start("add", {"a": number}) == f"What is {number}+2?"
        assert peer.grade(str(number + 2)) == {"score": 1.0}
    actor: Any = peer.start("tagged", {"tag": "actor"}) and peer.grade("x")
    peer.start("echo")
    assert peer.grade(actor)["answer"] == actor


def test_every_session_gives_back_its_use_of_the_environment(channel: Channel, probe: Probe) -> None:
    """The count decides when an environment that a reload replaced is stopped."""
    parked(channel, "adopted")
    resumed = parked(channel, "resumed")
    for script in (
        [request("hello")],
        [request("tasks.start", {"id": "tagged", "args": {"tag": "a"}}), request("bye")],
        [request("hello", {"session_id": resumed}), request("tasks.grade", {"answer": ""})],
        [request("tasks.grade", {"answer": ""})],
        [b"garbage\n"],
        [request("tunnel.open", {"capability": "none"})],
        [request("tasks.start", {"id": "gated", "args": {"tag": "b", "where": "start"}}), request("tasks.cancel")],
    ):
        peer = channel.connect()
        peer.send(*script)
        peer.half_close()
        peer.rest()
        peer.close()
    channel.settled()
    until(lambda: channel.server.served.users == channel.parked())


def test_a_grade_that_names_its_task_never_adopts_another(channel: Channel, peer: Peer) -> None:
    """Ours: the protocol has no such key, and a peer that does not send it adopts whatever is parked."""
    parked(channel, "a")
    parked(channel, "b")
    other = {"id": "add", "args": {"a": 1}, "answer": "x"}
    assert peer.error("tasks.grade", other) == (-32600, "no task in progress")
    assert peer.error("tasks.grade", {"id": "missing", "answer": "x"}) == (-32600, "no task in progress")
    assert peer.error("tasks.grade", {"id": "tagged", "answer": "x"})[1].startswith("2 parked sessions (")
    named = {"id": "tagged", "args": {"tag": "b"}, "answer": "x"}
    assert peer.result("tasks.grade", named)["tag"] == "b"
    assert peer.error("tasks.grade", named) == (-32600, "no task in progress")
    assert peer.grade("x")["tag"] == "a"


def test_a_grade_that_names_its_task_takes_the_own_one_first(channel: Channel, peer: Peer) -> None:
    parked(channel, "parked")
    peer.start("tagged", {"tag": "own"})
    assert peer.result("tasks.grade", {"id": "tagged", "args": {"tag": "own"}, "answer": "x"})["tag"] == "own"


def test_a_grade_that_names_a_row_adopts_what_was_started_as_that_row(channel: Channel, peer: Peer) -> None:
    for slug, tag in (("tagged-1", "a"), ("tagged-2", "b")):
        starter = channel.connect()
        starter.result("tasks.start", {"id": "tagged", "args": {"tag": tag}, "slug": slug})
        starter.close()
    channel.settled()

    other = {"id": "tagged", "slug": "tagged-3", "args": {"tag": "a"}, "answer": "x"}
    assert peer.error("tasks.grade", other) == (-32600, "no task in progress")
    overridden = {"id": "tagged", "slug": "tagged-2", "args": {"tag": "the row's own"}, "answer": "x"}
    assert peer.result("tasks.grade", overridden)["tag"] == "b"


def test_a_grade_that_does_not_wait_is_answered_to_a_peer_that_sends_no_more(peer: Peer) -> None:
    peer.start("add", {"a": 4})
    peer.send(request("tasks.grade", {"answer": "6"}, id=2).rstrip(b"\n"))
    peer.half_close()

    assert peer.frame()["result"] == {"score": 1.0}
