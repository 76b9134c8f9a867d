"""Erasures as they are ordered and told: to the app's back end, and to who runs the node."""

from __future__ import annotations

from msgspec import Struct

from trunkline.catalog.vault import open_vault
from trunkline.kit.times import format_ms
from trunkline.model.snapshot import Snapshot
from trunkline.state.erasures import ErasureRow, open_erasures, person_digest
from trunkline.state.home import Home

ID_CHARACTERS_MAX = 100
PURPOSE = b"erasure"
STUCK_MS = 3_600_000  # a job that is open for so long is told of

_ALWAYS = (
    "Backups of this node: erase the person again after one was brought back.",
    "Files outside the node's home: what was imported, and the rejects beside it; what the node"
    " printed to its own log.",
    "Attempts older than the log keeps: a destination may have been sent events that nobody here"
    " remembers.",
)


class SentTo(Struct, frozen=True):
    """A destination that was sent events of the person: ask there for theirs to be erased."""

    destination: str
    kind: str
    events: int


class ErasureTold(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A job. `erased` counts what was removed; `step` and `problem` are there while it is open."""

    job: str
    app: str
    status: str
    ordered: str
    suppress: bool
    erased: dict[str, int]
    sent_to: list[SentTo]
    not_erased: list[str]
    done: str = ""
    step: str = ""
    problem: str = ""
    tries: int = 0


def order_erasure(
    home: Home, app: str, who: str, key: str, suppress: bool, now_ms: int
) -> ErasureRow:
    """Take an order, durably. `key` names who ordered. Raises `TooManyErasures`, `VaultError`."""
    secret = open_vault(home.key_file, may_create=False).derive(PURPOSE)
    with open_erasures(home) as erasures:
        digest = person_digest(secret, app, who)
        return erasures.order(app, who, digest, key, suppress, now_ms)


def tell_erasure(row: ErasureRow, snapshot: Snapshot | None) -> ErasureTold:
    """Return what is told of a job."""
    sent = [
        _sent_to(row.app, name, events, snapshot) for name, events in row.read_sent_to().items()
    ]
    return ErasureTold(
        row.id,
        row.app,
        row.state,
        format_ms(row.ordered_ms),
        row.suppress,
        row.read_counts(),
        sent,
        _not_erased(sent) if row.state == "done" else [],
        format_ms(row.done_ms) if row.done_ms else "",
        row.step,
        row.problem,
        row.tries,
    )


def _sent_to(app: str, name: str, events: int, snapshot: Snapshot | None) -> SentTo:
    found = snapshot.apps_by_id.get(app) if snapshot else None
    kinds = {each.id: each.kind for each in found.destinations} if found else {}
    return SentTo(name, kinds.get(name, ""), events)


def _not_erased(sent: list[SentTo]) -> list[str]:
    names = ", ".join(f"{each.destination} ({each.events})" for each in sent)
    first = [f"What these destinations were sent, and keep: {names}."] if names else []
    return [*first, *_ALWAYS]
