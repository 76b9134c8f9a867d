"""Answers that are no JSON: judged by their text."""

from __future__ import annotations

import pytest

from trunkline.kit.destination import Response
from trunkline.kits.answers_spec import read_answers
from trunkline.model.outcome import Blocked, Rejected
from trunkline.playbook.nodes import Node

RULES = {
    "blocked": [{"status": 400, "path": "$text", "contains": "Failed to Authenticate"}],
    "reason": "$text",
}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"Failed to Authenticate", Blocked),
        (b"eventName is a mandatory field", Rejected),
        (b'{"message": "Failed to Authenticate"}', Rejected),
        (b"\xff", Rejected),
        (b"", Rejected),
    ],
)
def test_a_body_that_is_no_json_is_judged_as_text(body: bytes, kind: type) -> None:
    answers = read_answers(Node(RULES, "", []))
    (outcome,) = answers.judge(Response(400, {}, body), [{}], 0)
    assert isinstance(outcome, kind)
    if body.startswith(b"eventName"):
        assert "eventName is a mandatory field" in outcome.reason  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
