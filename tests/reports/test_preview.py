"""Fix and replay: what was made of an event then, beside what would be sent now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tests.support.forwarding import APP, Rig, event, run, snapshot
from tests.support.shaped import Keep, Transforming, lua, marked, playbook, rig_with, shaped
from tests.support.unjailed import Unjailed
from trunkline.kit.destination import Attempt, Mapped, delivery_id
from trunkline.model import snapshot as model
from trunkline.model.outcome import Rejected
from trunkline.reports.letters import LetterFilter, read_letters
from trunkline.reports.preview import Preview, preview_all
from trunkline.reports.rendering import HIDDEN, Renderer

PRICE = "if input.properties.price == nil then\n  error('no price')\nend\nreturn {price = 1}"
FIXED = "return {price = input.properties.price or 0}"


def renderer(*revisions: model.Destination, jail: bool = True) -> Renderer:
    """A renderer that knows these revisions of a destination."""
    contents = {each.revision: each.playbook for each in revisions}
    return Renderer(
        {kind.kind: kind for kind in (Keep, Transforming)},
        lambda _, revision: contents.get(revision, b"" if revision == 0 else None),
        Unjailed if jail else None,
    )


def previews(rig: Rig, with_: Renderer) -> list[Preview]:
    letters = read_letters(rig.home, LetterFilter())
    return [each for each in preview_all(letters, rig.snapshot_now, with_) if each]


def story_of(folder: Path, then: model.Destination, now: model.Destination, check: Any) -> None:
    """Bury one event under `then`, deploy `now`, and check."""

    async def story() -> None:
        rig = rig_with(folder, then, workshop=Unjailed())
        rig.receiver.answer = lambda sent: Rejected("wrong form")
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        rig.snapshot = snapshot(2, now)
        await rig.run_for(0.5)
        await rig.stop()
        rigs.append(rig)

    rigs: list[Rig] = []
    run(story)
    check(rigs[0])


def test_a_rejected_payload_is_shown_as_it_was_sent_and_as_it_would_be(tmp_path: Path) -> None:
    then, now = shaped(revision=1), shaped(revision=2, playbook=marked("r2"))

    def check(rig: Rig) -> None:
        sent = dict(Keep.kept)["m0"]
        (found,) = previews(rig, renderer(then, now))
        assert found.then.payload == [msgspec.json.decode(sent)]
        assert (found.then.revision, found.now.revision) == (1, 2)
        assert found.now.payload == [{"first": "r2", "last": "r2", "id": "m0"}]
        assert found.changes == ["first: 'r1' → 'r2'", "last: 'r1' → 'r2'"]
        assert found.delivery_id == rig.receiver.requests[0].key == delivery_id(f"{APP}/d1", ["m0"])
        assert found.request is not None
        assert found.request.headers["Idempotency-Key"] == found.delivery_id

    story_of(tmp_path, then, now, check)


def test_a_failure_shows_line_input_and_partial_and_the_fix_beside_it(tmp_path: Path) -> None:
    start = {"enrichments": [{"outputKey": "a", "staticInt": 1}]}
    code = {"expressions": [{"lang": "lua", "name": "price", "body": PRICE}]}
    then = shaped(revision=1, playbook=playbook(default={**start, **code}))
    now = shaped(revision=2, playbook=lua(FIXED))

    def check(rig: Rig) -> None:
        (letter,) = read_letters(rig.home, LetterFilter())
        assert letter.failure is not None
        assert (letter.failure.line, letter.failure.partial) == (2, {"a": 1})
        assert "no price" in letter.failure.message
        assert "m0" in letter.failure.input
        assert letter.failure.path.startswith("default.expressions[0]")
        (found,) = previews(rig, renderer(then, now))
        assert (found.then.line, found.then.partial) == (2, {"a": 1})
        assert found.now.payload == [{"price": 0}]

    story_of(tmp_path, then, now, check)


def test_a_letter_that_still_cannot_be_shaped_says_so(tmp_path: Path) -> None:
    then = shaped(revision=1, playbook=lua(PRICE))

    def check(rig: Rig) -> None:
        (found,) = previews(rig, renderer(then))
        assert not found.now.is_sent
        assert "no price" in found.now.failure
        (found,) = previews(rig, renderer(then, jail=False))
        assert "needs the jail" in found.now.note
        assert "no price" in found.then.failure, "what happened then is kept, not run again"

    story_of(tmp_path, then, then, check)


def test_a_revision_that_is_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    then, now = shaped(revision=1), shaped(revision=2, playbook=marked("r2"))

    def check(rig: Rig) -> None:
        (found,) = previews(rig, renderer(now))
        assert "revision 1 is not in the catalog any more" in found.then.note
        assert found.now.is_sent

    story_of(tmp_path, then, now, check)


def test_a_letter_that_would_now_be_dropped_names_the_filter(tmp_path: Path) -> None:
    drops = {"filters": [{"byEventNames": {"action": "deny", "events": ["bought"]}}]}
    then, now = shaped(revision=1), shaped(revision=2, playbook=playbook(**{"global": drops}))

    def check(rig: Rig) -> None:
        (found,) = previews(rig, renderer(then, now))
        assert (found.now.filtered, found.now.is_sent) == ("global.filters[0]", False)
        assert found.request is None

    story_of(tmp_path, then, now, check)


def test_a_letter_of_a_destination_that_is_gone_has_no_preview(tmp_path: Path) -> None:
    then = shaped(revision=1)

    def check(rig: Rig) -> None:
        letters = read_letters(rig.home, LetterFilter())
        assert preview_all(letters, snapshot(3), renderer(then)) == [None]

    story_of(tmp_path, then, then, check)


def test_secrets_among_the_params_do_not_show(tmp_path: Path) -> None:
    settings = {
        "url": "https://example/hook?t=s3cr%2Fet-value",
        "params": {"API_TOKEN": "s3cr/et-value", "COUNTRY": "Netherlands"},
    }
    config = shaped(settings=settings)
    mapped = Mapped("m0", APP, "", "track", "B", b'{"messageId": "m0"}')
    made = renderer(config).request(config, [mapped], Attempt(0, 1, "a/d", "key"))
    assert made.request is not None
    assert made.request.url == f"https://example/hook?t={HIDDEN}"


def test_a_transform_of_the_connection_is_run_in_the_jail_or_said_to_need_it() -> None:
    config = shaped(kind="transforming", settings={"body": "return request"})
    mapped = Mapped("m0", APP, "", "track", "B", b'{"messageId": "m0"}')
    attempt = Attempt(0, 1, "a/d", "key")
    without = renderer(config, jail=False).request(config, [mapped], attempt)
    assert "needs the jail" in without.note
    Transforming.built = []
    renderer(config).request(config, [mapped], attempt)
    assert Transforming.built == [{"url": "u"}], "its code was run"
