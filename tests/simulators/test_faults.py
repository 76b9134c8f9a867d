"""Scripts of faults: what goes wrong with which request."""

from __future__ import annotations

import pytest

from trunkline.simulators.faults import Fault, Script, ScriptError, serve
from trunkline.simulators.simulator import Ask, Reply, Simulator

ASK = Ask("POST", "/events", {}, {}, b"", 0)


class Plain(Simulator):
    """A vendor that takes everything."""

    vendor = "plain"
    title = "Plain"
    docs = "https://example.com"
    credentials = {}
    own_faults = {"half": "takes half"}

    def answer(self, ask: Ask) -> Reply:
        self.take("", ask.path, None)
        return Reply(200, {"ok": True})

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        return Reply(207, {"fault": fault, "path": ask.path})


def names_of(script: Script, requests: int) -> list[str]:
    return [one.name if (one := script.next()) else "" for _ in range(requests)]


def test_steps_come_in_order_and_then_all_is_well() -> None:
    script = Script("throttled*2, reset,good*2  unavailable")
    expected = ["throttled", "throttled", "reset", "", "", "unavailable", "", ""]
    assert names_of(script, 8) == expected
    assert script.left == 0


def test_an_every_comes_each_nth_time_once_the_steps_are_used_up() -> None:
    script = Script("reset*2,every:3=unavailable")
    assert names_of(script, 7) == ["reset", "reset", "unavailable", "", "", "unavailable", ""]


def test_a_number_says_how_long_to_wait() -> None:
    vendor = Plain()
    assert serve(vendor, ASK, Fault("throttled", 5)).reply.headers == {"Retry-After": "5"}
    assert serve(vendor, ASK, Fault("throttled")).reply.headers == {"Retry-After": "1"}
    assert serve(vendor, ASK, Fault("throttled_bare")).reply.headers == {}
    assert Script("throttled:5").next() == Fault("throttled", 5)


@pytest.mark.parametrize("name", ["drip", "reset", "hang", "cut"])
def test_where_the_answer_is_lost_the_events_are_taken(name: str) -> None:
    vendor = Plain()
    served = serve(vendor, ASK, Fault(name))
    assert (served.manner, len(vendor.taken)) == (name, 1)


@pytest.mark.parametrize("name", ["throttled", "throttled_bare", "unavailable"])
def test_where_the_vendor_says_no_nothing_is_taken(name: str) -> None:
    vendor = Plain()
    served = serve(vendor, ASK, Fault(name))
    assert (served.manner, vendor.taken) == ("whole", [])
    assert served.reply.status in (429, 503)


def test_the_vendors_own_faults_are_the_vendors_to_answer() -> None:
    vendor = Plain()
    fault = Script("half", vendor.own_faults).next()
    assert fault is not None
    assert serve(vendor, ASK, fault).reply == Reply(207, {"fault": "half", "path": "/events"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("throtled", "did you mean 'throttled'?"),
        ("half", "there is no fault 'half'"),
        ("throttled**2", "expected NAME, NAME:SECONDS, NAME\\*TIMES"),
        ("every:3=", "is no step of a script"),
        ("reset*99999", "99999 steps; 1 to 10000"),
        ("reset*0", "0 steps; 1 to 10000"),
        ("every:2=reset*0", "0 steps; 1 to 10000"),
        ("reset*9999,reset*9999", "19998 steps; at most 10000"),
    ],
)
def test_a_script_with_a_mistake_is_told(text: str, sentence: str) -> None:
    with pytest.raises(ScriptError, match=sentence):
        Script(text)
