"""Whatever code tries, it gains nothing, the node never stands still, the next event is fine."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.jail_attacks import ATTACKS, Attack
from tests.support.jail_stage import NOBODY, Outcome, attack_as_nobody, attack_here

IS_ROOT = os.getuid() == 0
STALL_SECONDS_MAX = 0.1
SECONDS_MAX = 5.0  # two deadlines and two starts, on a machine that has other things to do


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Outcome]]:
    """The attacks as the user that we are and, where that is root, as an ordinary one besides."""
    folder = tmp_path_factory.mktemp("homes")
    folder.parent.chmod(0o755)  # pytest's own: an ordinary user has to come through
    folder.parent.parent.chmod(0o755)
    folder.chmod(0o755)
    with ThreadPoolExecutor(1) as aside:
        asked = aside.submit(attack_as_nobody, make_secret(folder, NOBODY)) if IS_ROOT else None
        here = attack_here(make_secret(folder, os.getuid()))
        found = {"as we are": here, "as an ordinary user": asked.result() if asked else here}
    assert len(list(folder.rglob("*.*"))) == 1 + IS_ROOT, "something was written"
    return {user: {outcome.name: outcome for outcome in done} for user, done in found.items()}


def make_secret(folder: Path, user: int) -> str:
    """A home's secret, which belongs to the user of its node."""
    secret = folder / str(user) / "secret.key"
    secret.parent.mkdir()
    secret.write_bytes(os.urandom(32))
    secret.chmod(0o600)
    os.chown(secret.parent, user, -1)
    os.chown(secret, user, -1)
    return str(secret)


@pytest.fixture(params=["as we are", "as an ordinary user"])
def outcomes(
    request: pytest.FixtureRequest, both: dict[str, dict[str, Outcome]]
) -> dict[str, Outcome]:
    return both[request.param]


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_attack_gains_nothing(attack: Attack, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[attack.name]
    if attack.error:
        assert isinstance(outcome.answer, str), outcome.answer
        assert re.search(attack.error, outcome.answer), outcome.answer
    else:
        assert outcome.answer == [{"gain": attack.gain}]
    assert outcome.next_answer == [{"gain": "passed"}]
    assert outcome.seconds < SECONDS_MAX


def test_the_event_loop_never_stands_still(outcomes: dict[str, Outcome]) -> None:
    worst = max(outcomes.values(), key=lambda outcome: outcome.stall_seconds)
    assert worst.stall_seconds < STALL_SECONDS_MAX, worst


def test_there_are_as_many_attacks_as_the_study_had() -> None:
    assert len([attack for attack in ATTACKS if attack.lang == "python"]) >= 21
    assert len([attack for attack in ATTACKS if attack.lang == "javascript"]) >= 6
    assert Path("/etc/passwd").exists(), "what the attacks are after is not here"
