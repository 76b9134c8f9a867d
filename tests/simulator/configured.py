"""The catalog of a run: apps, destinations, how they change, and how late each process sees it."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from msgspec.structs import replace

from tests.support.forwarding import Post
from tests.support.pipeline_world import make_app
from trunkline.kit.clock import Clock
from trunkline.kit.destination import Channel, Destination
from trunkline.model.snapshot import Destination as Configured
from trunkline.model.snapshot import Filter, Plan, Snapshot

APPS = ("shop", "bank")
LATE_SECONDS = (0.0, 0.1, 0.7, 1.9)  # a change is everywhere within 2 s
DESTINATIONS_MAX = 5
_OUTPUTS = [{"inputKey": "messageId", "outputKey": "id"}]
_NO_IDENTIFY = {"stringEqual": {"inputPath": "type", "value": "identify"}}
PLAYBOOKS = (
    b"",
    msgspec.json.encode({"default": {"mappings": _OUTPUTS}}),
    msgspec.json.encode(
        {
            "global": {"filters": [{"byConditions": {"action": "deny", "when": _NO_IDENTIFY}}]},
            "default": {"mappings": _OUTPUTS},
        }
    ),
    b'{"defualt": {}}',  # of a newer version, say: it parks
)
KINDS: dict[str, type[Destination[Any]] | type[Channel[Any]]] = {"post": Post}


class Catalog:
    """What is configured, now and before. `roles` are the processes that look at it."""

    def __init__(self, dice: random.Random, clock: Clock, roles: tuple[str, ...]) -> None:
        self.all: dict[int, Configured] = {}  # every destination there ever was, by uid
        self.was_off: set[int] = set()  # destinations that were ever disabled
        self.batch_most: dict[int, int] = {}
        self.concurrency_most: dict[int, int] = {}
        self._dice = dice
        # Its own dice, so that the seeds of before go on telling the stories that they told.
        self._playbook_dice = random.Random(f"playbooks {dice.getstate()[1][0]}")
        self._pace_dice = random.Random(f"pace {dice.getstate()[1][0]}")
        self._clock = clock
        self._version = 0
        self._seen: dict[str, list[tuple[float, Snapshot]]] = {role: [] for role in roles}
        self._live: dict[int, Configured] = {}
        for app in (APPS[0], APPS[0], APPS[0], APPS[1]):
            self._make(app)
        self._publish(is_late=False)

    @property
    def live(self) -> dict[int, Configured]:
        """The destinations that exist, by uid."""
        return dict(self._live)

    def seen_by(self, role: str) -> Snapshot:
        """Return the newest snapshot that a process has."""
        now = self._clock.monotonic()
        seen = self._seen[role]
        while len(seen) > 1 and seen[1][0] <= now:
            seen.pop(0)
        return seen[0][1]

    def catch_up(self, role: str) -> None:
        """A process starts: it reads the newest."""
        self._seen[role] = self._seen[role][-1:]
        self._seen[role][0] = (0.0, self._seen[role][0][1])

    def change(self) -> str:
        """Change something, and say what."""
        uid = self._dice.choice(sorted(self._live))
        match self._dice.choice(("switch", "switch", "settings", "settings", "make", "remove")):
            case "switch":
                self._put(replace(self._live[uid], enabled=not self._live[uid].enabled))
                text = f"destination {uid} enabled={self._live[uid].enabled}"
            case "settings":
                self._put(replace(self._live[uid], settings=self._settings(uid)))
                text = f"destination {uid} settings={self._live[uid].settings.decode()}"
            case "make" if len(self._live) < DESTINATIONS_MAX:
                text = f"destination {self._make(self._dice.choice(APPS))} made"
            case _:
                text = self._remove(uid)
        text += self._perhaps_deploy()
        self._publish()
        return f"snapshot {self._version}: {text}"

    def _perhaps_deploy(self) -> str:
        dice = self._playbook_dice
        if dice.random() < 0.3:
            return ""
        uid = dice.choice(sorted(self._live))
        before = self._live[uid]
        playbook, shadow = dice.choice(PLAYBOOKS), dice.choice(PLAYBOOKS)
        changed = replace(before, playbook=playbook, shadow=shadow, revision=before.revision + 1)
        self._put(changed)
        return f", destination {uid} revision {changed.revision}: {playbook.decode()}"

    def mend(self) -> None:
        """Switch everything on, with playbooks that can be used, for the end of a run."""
        for config in self._live.values():
            playbook = b"" if config.playbook == PLAYBOOKS[-1] else config.playbook
            self._put(replace(config, enabled=True, playbook=playbook))
        self._publish()

    def _remove(self, uid: int) -> str:
        gone = self._live.pop(uid)
        if self._dice.random() < 0.5 or sum(d.app == gone.app for d in self._live.values()) == 0:
            return f"destination {uid} removed, made again as {self._make(gone.app, gone.id)}"
        return f"destination {uid} removed"

    def _make(self, app: str, id_: str = "") -> int:
        uid = len(self.all) + 1
        config = Configured(
            uid=uid,
            app=app,
            id=id_ or f"d{uid}",
            name=f"Destination {uid}",
            kind="post",
            enabled=self._dice.random() < 0.9,
            settings=self._settings(uid),
            filter=Filter(types=("track",)) if self._dice.random() < 0.25 else Filter(),
            order="none" if self._dice.random() < 0.25 else "user",
            consent=(),
            historical=False,
            since=self._version + 1,
            playbook=self._playbook_dice.choice(PLAYBOOKS[:3]),
            revision=1,
        )
        self._put(config)
        return uid

    def _put(self, config: Configured) -> None:
        self._live[config.uid] = self.all[config.uid] = config
        if not config.enabled:
            self.was_off.add(config.uid)

    def _settings(self, uid: int) -> bytes:
        batch = self._dice.choice((1, 1, 7, 30, 100))
        concurrency = self._dice.choice((1, 2, 8))
        self.batch_most[uid] = max(batch, self.batch_most.get(uid, 0))
        self.concurrency_most[uid] = max(concurrency, self.concurrency_most.get(uid, 0))
        return msgspec.json.encode(
            {
                "url": f"https://example/{uid}",
                "batch_events_max": batch,
                "batch_seconds_max": self._dice.choice((0.0, 0.0, 0.5)),
                "concurrency_max": concurrency,
                "timeout_seconds": self._dice.choice((1.0, 5.0)),
                "requests_per_second_max": self._pace_dice.choice((None, None, None, 200, 20)),
            }
        )

    def _publish(self, *, is_late: bool = True) -> None:
        self._version += 1
        apps = tuple(
            replace(
                make_app(app),
                destinations=tuple(d for d in self._live.values() if d.app == app),
            )
            for app in APPS
        )
        snapshot = Snapshot(self._version, "acme", Plan(), apps)
        now = self._clock.monotonic()
        for seen in self._seen.values():
            late = self._dice.choice(LATE_SECONDS) if is_late else 0.0
            seen.append((max([now + late, *(at for at, _ in seen)]), snapshot))
