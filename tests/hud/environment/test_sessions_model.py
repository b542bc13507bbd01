"""Random conversations over several connections, held against a model of section 6 of the protocol specification."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.hud.environment.channel import Channel, Peer, error_of, request, until
from tests.hud.environment.probe import Probe


@dataclass
class Connected:
    """What the model knows of a connection."""

    peer: Peer
    session_id: str
    tag: str | None = None


@dataclass
class Model:
    """The sessions as they should be, and the moves that take them from one state to the next."""

    channel: Channel
    choice: random.Random
    live: list[Connected] = field(default_factory=list)
    parked: dict[str, str] = field(default_factory=dict)
    consumed: list[str] = field(default_factory=list)
    started: int = 0

    def connect(self) -> None:
        if len(self.live) < 5:
            peer = self.channel.connect()
            self.live.append(Connected(peer, peer.session_id()))

    def start(self, one: Connected) -> None:
        self.started += 1
        tag = f"t{self.started}"
        assert one.peer.start("tagged", {"tag": tag}) == tag
        one.tag = tag

    def start_wrongly(self, one: Connected) -> None:
        params = self.choice.choice([{"id": "missing"}, {"id": "tagged", "args": {"nope": 1}}, {"id": 5}, {}])
        assert one.peer.error("tasks.start", params)[0] in (-32602, -32000)

    def grade(self, one: Connected) -> None:
        frame = one.peer.call("tasks.grade", {"answer": one.session_id})
        if one.tag is None and len(self.parked) != 1:
            code, message = error_of(frame)
            assert code == -32600
            if not self.parked:
                assert message == "no task in progress"
            else:
                shown = ", ".join(sorted(self.parked))
                assert message.startswith(f"{len(self.parked)} parked sessions ({shown});")
            return
        if one.tag is None:
            session_id, tag = self.parked.popitem()
            self.consumed.append(session_id)
        else:
            tag, one.tag = one.tag, None
        assert frame["result"] == {"score": 0.25, "tag": tag, "answer": one.session_id}

    def grade_by_name(self, one: Connected) -> None:
        if one.tag is not None or not self.parked:
            return
        session_id, tag = self.choice.choice(list(self.parked.items()))
        params = {"answer": "x", "id": "tagged", "args": {"tag": tag}}
        assert one.peer.result("tasks.grade", params)["tag"] == tag
        del self.parked[session_id]
        self.consumed.append(session_id)

    def cancel(self, one: Connected) -> None:
        assert one.peer.result("tasks.cancel") == {"cancelled": True}
        one.tag = None

    def resume(self, one: Connected) -> None:
        if not self.parked:
            return
        session_id, tag = self.choice.choice(list(self.parked.items()))
        assert one.peer.result("hello", {"session_id": session_id})["session_id"] == session_id
        del self.parked[session_id]
        if one.tag is not None:
            self.parked[one.session_id] = one.tag
        else:
            self.consumed.append(one.session_id)
        one.session_id, one.tag = session_id, tag

    def resume_wrongly(self, one: Connected) -> None:
        others = [other.session_id for other in self.live if other is not one]
        wanted = self.choice.choice([*others, *self.consumed, "sess-none"])
        code, message = one.peer.error("hello", {"session_id": wanted})
        reason = f"session '{wanted}' has a live connection" if wanted in others else f"unknown session: '{wanted}'"
        assert (code, message) == (-32600, reason)

    def greet(self, one: Connected) -> None:
        assert one.peer.session_id() == one.session_id

    def disconnect(self, one: Connected) -> None:
        self.live.remove(one)
        how = self.choice.choice(["close", "reset", "half_close", "bye", "garbage"])
        if how == "bye":
            assert one.peer.result("bye") == {"goodbye": True}
            one.tag = None
        elif how == "garbage":
            one.peer.send(b"garbage\n")
            one.peer.half_close()
            one.peer.rest()
        else:
            getattr(one.peer, how)()
        if how in ("bye", "half_close"):
            one.peer.rest()
        one.peer.close()
        if one.tag is not None:
            self.parked[one.session_id] = one.tag
        else:
            self.consumed.append(one.session_id)
        until(lambda: len(self.channel.server.sessions) == len(self.live))

    def step(self) -> None:
        self.connect()
        moves: list[Callable[[Connected], None]] = [
            *(self.start, self.start, self.start_wrongly, self.grade, self.grade, self.grade_by_name, self.cancel),
            *(self.resume, self.resume_wrongly, self.greet, self.disconnect),
        ]
        self.choice.choice(moves)(self.choice.choice(self.live))


@pytest.mark.parametrize("seed", range(6))
def test_a_random_conversation_goes_as_the_specification_says(channel: Channel, probe: Probe, seed: int) -> None:
    model = Model(channel, random.Random(seed))
    for _ in range(150):
        model.step()
        assert channel.parked() == len(model.parked)
    held = {one.tag for one in model.live if one.tag is not None} | set(model.parked.values())
    entries = [entry.split() for entry in probe.journal]
    started = [tag for what, tag in entries if what == "started"]
    closed = Counter(tag for what, tag in entries if what == "closed")
    assert len(started) == model.started
    assert {tag for tag in started if not closed[tag]} == held
    assert max(closed.values(), default=1) == 1
    assert channel.server.served.users == len(model.live) + len(model.parked)


def test_whatever_many_clients_do_at_once_every_task_is_closed_once(channel: Channel, probe: Probe) -> None:
    def converse(number: int) -> None:
        choice = random.Random(number)
        for round_number in range(6):
            peer = channel.connect()
            tag = f"c{number}r{round_number}"
            gated = {"tag": tag, "where": choice.choice(["start", "grade", "nowhere"])}
            task = ("gated", gated) if choice.random() < 0.5 else ("tagged", {"tag": tag})
            frames = [request("tasks.start", {"id": task[0], "args": task[1]}, id=1)]
            frames += choice.choice(
                [[], [request("tasks.cancel", id=2)], [request("bye", id=3)], [request("tasks.list", id=4)], [b"]\n"]]
            )
            if choice.random() < 0.5:
                frames.append(request("tasks.grade", {"answer": ""}, id=5))
            peer.send(*frames)
            if choice.random() < 0.5:
                peer.socket.settimeout(0.02)
                try:
                    peer.rest()
                except TimeoutError:
                    pass
            choice.choice([peer.close, peer.reset])()

    threads = [threading.Thread(target=converse, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: not channel.server.sessions or all(session.call for session in channel.server.sessions))
    probe.open()
    channel.settled()
    until(lambda: channel.server.served.users == channel.parked())
    channel.run(channel.server.close())
    entries = [entry.split() for entry in probe.journal]
    started = Counter(tag for what, tag in entries if what == "started")
    closed = Counter(tag for what, tag in entries if what == "closed")
    assert started == closed
    assert set(started.values()) == {1}
