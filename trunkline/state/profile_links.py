"""Who belongs to whom in the profile store, and what joins and parts profiles.

An identifier belongs to one other at most: to what the newest of its links says. So what several
people share (a browser, a phone) goes over to who used it last, and never makes one of them. Only
accounts are joined with each other, by an `alias` or by hand. A profile is what belongs to one
account in the end, with the accounts it is joined with.

Undoing is cutting a link: everything here follows from the links that are left.
"""

from __future__ import annotations

from typing import Any, cast

import apsw
from msgspec import Struct

from trunkline.kit.identifiers import RANKS

IDENTIFIERS_MAX = 100  # of a profile
MEMBERS_MAX = 10_000  # that are looked at at most
IDENTIFY, SEEN, ALIAS, BY_HAND = "identify", "seen together", "alias", "merged by hand"
BY_HAND_OFFSET = -1


class Claim(Struct, frozen=True):
    """That `child` belongs to `owner`, and which event says so."""

    child: int
    owner: int
    reason: str
    at_ms: int
    offset: int
    event: str


class Merge(Struct, frozen=True, rename="camel"):
    """What joined accounts, or was done by hand. `offset` -1 and no `event`: by hand."""

    id: int
    child: str
    owner: str
    reason: str
    at_ms: int
    event: str
    by: str
    why: str
    cut_ms: int | None
    cut_by: str
    cut_why: str


def add_claim(db: apsw.Connection, app: str, claim: Claim, is_join: bool = False) -> int:
    """Write a link down and return its id; one that is there stays as it is."""
    found = db.execute(
        "SELECT id FROM link WHERE child=? AND owner=? AND reason=?",
        (claim.child, claim.owner, claim.reason),
    ).fetchone()
    if found is not None:
        return cast("int", found[0])
    db.execute(
        "INSERT INTO link (app, child, owner, reason, is_join, first_ms, last_ms, offset, event)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            app, claim.child, claim.owner, claim.reason, is_join, claim.at_ms, claim.at_ms,
            claim.offset, claim.event,
        ),
    )  # fmt: skip
    return db.last_insert_rowid()


def settle_owner(db: apsw.Connection, child: int) -> bool:
    """Have an identifier belong to what the newest of its links says.

    False: that one's profile is full, so it belongs to nobody. To an owner before that it must not
    go back: its later events are not theirs.
    """
    newest = db.execute(
        "SELECT owner FROM link WHERE child=? AND NOT is_join AND cut_ms IS NULL"
        " ORDER BY last_ms DESC, offset DESC, id DESC LIMIT 1",
        (child,),
    ).fetchone()
    owner = None if newest is None else cast("int", newest[0])
    row = db.execute("SELECT owner FROM identifier WHERE id=?", (child,)).fetchone()
    if row is None or row[0] == owner:
        return True
    is_taken = owner is None or has_room(db, owner, child)
    db.execute("UPDATE identifier SET owner=? WHERE id=?", (owner if is_taken else None, child))
    return is_taken


def has_room(db: apsw.Connection, owner: int, child: int) -> bool:
    """Say whether the profile of `owner` can take what belongs to `child`, too."""
    direct = db.execute(
        "SELECT count(*) FROM (SELECT 1 FROM identifier WHERE owner=? LIMIT ?)",
        (owner, IDENTIFIERS_MAX),
    ).get
    if direct >= IDENTIFIERS_MAX:
        return False
    members = members_of(db, owner, IDENTIFIERS_MAX + 1)
    if child in members:
        return True
    return len(members | _below(db, child)) <= IDENTIFIERS_MAX


def root_of(db: apsw.Connection, identifier: int) -> int:
    """Return the identifier that one belongs to in the end; itself where it belongs to nobody."""
    seen = {identifier}
    while True:
        row = db.execute("SELECT owner FROM identifier WHERE id=?", (identifier,)).fetchone()
        if row is None or row[0] is None or row[0] in seen:
            return identifier
        identifier = cast("int", row[0])
        seen.add(identifier)


def members_of(db: apsw.Connection, identifier: int, members_max: int = MEMBERS_MAX) -> set[int]:
    """Return a profile: what belongs to one account, with the accounts it is joined with."""
    found: set[int] = set()
    waiting = [root_of(db, identifier)]
    while waiting and len(found) < members_max:
        member = waiting.pop()
        if member in found:
            continue
        found.add(member)
        waiting += _children(db, member)
        for joined in _joined(db, member):
            waiting.append(root_of(db, joined))
    return found


def join(db: apsw.Connection, app: str, claim: Claim) -> bool:
    """Join two accounts; False where the profile would be too large."""
    found = db.execute(
        "SELECT id FROM link WHERE child=? AND owner=? AND reason=?",
        (claim.child, claim.owner, claim.reason),
    ).fetchone()
    if found is not None:
        return True  # cut or not: who cut it does not want it back because it is said again
    if not _fits(db, claim.child, claim.owner):
        return False
    add_claim(db, app, claim, is_join=True)
    return True


def merge_by_hand(
    db: apsw.Connection, app: str, one: int, other: int, at_ms: int, by: str, why: str
) -> int:
    """Join the profiles of two identifiers and return the number of the merge.

    Accounts are joined; an anonymous profile comes to belong to the other one, until a later event
    says whose it is. Raises `ValueError` with a sentence where they are one already, or too large.
    """
    owner, child = root_of(db, one), root_of(db, other)
    if rank_of(db, owner) > rank_of(db, child):
        owner, child = child, owner
    if child in members_of(db, owner):
        raise ValueError("they are one profile already")
    if not _fits(db, child, owner):
        raise ValueError(f"together they would have more than {IDENTIFIERS_MAX} identifiers")
    is_join = rank_of(db, child) == 0
    db.execute(
        "INSERT INTO link (app, child, owner, reason, is_join, first_ms, last_ms, offset, event,"
        " by, why) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?)",
        (app, child, owner, BY_HAND, is_join, at_ms, at_ms, BY_HAND_OFFSET, by, why),
    )
    number = db.last_insert_rowid()
    if not is_join:
        settle_owner(db, child)
    return number


def cut(db: apsw.Connection, app: str, number: int, at_ms: int, by: str, why: str) -> bool:
    """Undo a merge: an alias, or one by hand. False where the app has none of this number."""
    found = db.execute(
        "SELECT child, reason, owner FROM link WHERE id=? AND app=? AND cut_ms IS NULL"
        " AND (is_join OR reason=?)",
        (number, app, BY_HAND),
    ).fetchone()
    if found is None:
        return False
    numbers = [number]
    if found[1] == ALIAS:  # it also brought the browser of that name
        numbers += _brought(db, cast("int", found[0]), cast("int", found[2]))
    for each in numbers:
        db.execute(
            "UPDATE link SET cut_ms=?, cut_by=?, cut_why=? WHERE id=?", (at_ms, by, why, each)
        )
        child = db.execute("SELECT child FROM link WHERE id=? AND NOT is_join", (each,)).fetchone()
        if child is not None:
            settle_owner(db, cast("int", child[0]))
    return True


def _brought(db: apsw.Connection, account: int, owner: int) -> list[int]:
    rows = db.execute(
        "SELECT l.id FROM link l JOIN identifier b ON b.id=l.child"
        " JOIN identifier a ON a.app=b.app AND a.value=b.value"
        " WHERE a.id=? AND l.owner=? AND l.reason=? AND NOT l.is_join AND l.cut_ms IS NULL",
        (account, owner, ALIAS),
    )
    return [cast("int", number) for (number,) in rows]


def list_merges(
    db: apsw.Connection, app: str, limit: int, members: set[int] | None = None
) -> list[Merge]:
    """Return an app's merges, the newest first; with `members` only those that touch them."""
    rows = cast(
        "list[tuple[Any, ...]]",
        list(
            db.execute(
                "SELECT l.id, l.child, l.owner, c.kind || ':' || c.value, o.kind || ':' || o.value,"
                " l.reason, l.last_ms, l.event, l.by, l.why, l.cut_ms, l.cut_by, l.cut_why"
                " FROM link l JOIN identifier c ON c.id=l.child JOIN identifier o ON o.id=l.owner"
                f" WHERE l.app=? AND (l.is_join OR l.reason='merged by hand') {_only(members)}"
                " ORDER BY l.id DESC LIMIT ?",
                (app, limit),
            )
        ),
    )
    return [Merge(row[0], *row[3:]) for row in rows]


def _only(members: set[int] | None) -> str:
    if members is None:
        return ""
    numbers = ",".join(str(int(member)) for member in members)
    return f"AND (l.child IN ({numbers}) OR l.owner IN ({numbers}))"


def rank_of(db: apsw.Connection, identifier: int) -> int:
    """Return how surely an identifier is known; 0 is an account."""
    row = db.execute("SELECT kind FROM identifier WHERE id=?", (identifier,)).fetchone()
    return RANKS.get(cast("str", row[0]), len(RANKS)) if row else len(RANKS)


def _fits(db: apsw.Connection, one: int, other: int) -> bool:
    members = members_of(db, one, IDENTIFIERS_MAX + 1) | members_of(db, other, IDENTIFIERS_MAX + 1)
    return len(members) <= IDENTIFIERS_MAX


def _below(db: apsw.Connection, identifier: int) -> set[int]:
    """Return what belongs to an identifier, with itself."""
    found: set[int] = set()
    waiting = [identifier]
    while waiting and len(found) <= IDENTIFIERS_MAX:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += _children(db, each)
    return found


def _children(db: apsw.Connection, owner: int) -> list[int]:
    rows = db.execute("SELECT id FROM identifier WHERE owner=?", (owner,))
    return [cast("int", number) for (number,) in rows]


def _joined(db: apsw.Connection, member: int) -> list[int]:
    rows = db.execute(
        "SELECT owner FROM link WHERE child=?1 AND is_join AND cut_ms IS NULL"
        " UNION SELECT child FROM link WHERE owner=?1 AND is_join AND cut_ms IS NULL",
        (member,),
    )
    return [cast("int", number) for (number,) in rows]
