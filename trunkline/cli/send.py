"""`trunkline send`: a sample event through the front door, and its trace as it goes."""

from __future__ import annotations

import base64
import re
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec

from trunkline.catalog.current import reveal_key
from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    read_boot,
    say,
    say_json,
)
from trunkline.cli._node import read_snapshot
from trunkline.cli.trace import find_stories, print_story
from trunkline.kit.clock import SystemClock
from trunkline.model.snapshot import App, Key, fold_name
from trunkline.reports.trace import Trace
from trunkline.state.home import Home, HomeLock

TIMEOUT_SECONDS = 10.0
SETTLED = frozenset({"delivered", "filtered", "dead"})


def command(
    app: str,
    event: str,
    *,
    set_: Annotated[
        list[str] | None,
        cyclopts.Parameter(name="--set", negative="", help="A property, k=v; v may be JSON."),
    ] = None,
    user: Annotated[str, cyclopts.Parameter(help="The userId to send.")] = "sample-user",
    wait: Annotated[float, cyclopts.Parameter(help="Seconds to wait for deliveries.")] = 5.0,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Send a sample event to a running node with the app's own key, and print its trace.

    Example: trunkline send zcmwmxbkmuodelu "Purchase Completed" --set revenue=53.7

    Parameters
    ----------
    app
        The app's id or name.
    event
        The event's name or slug.
    """
    place = open_home(home)
    found = _find_app(place, app)
    key = _pick_key(found)
    secret = reveal_key(place, SystemClock(), found.id, key.name)
    if secret is None:
        raise CommandError(f"the secret of key {key.name!r} is not in the catalog; rotate the key")
    name = next((d.name for d in found.events if event in (d.slug, d.name)), event)
    message_id = f"sample-{uuid.uuid4()}"
    body = {
        "type": "track",
        "event": name,
        "userId": user,
        "messageId": message_id,
        "properties": _properties(set_ or []),
    }
    answer = _post(_ingest_url(place), secret, msgspec.json.encode(body))
    if not json:
        say(answer)
    story = _follow(message_id, place, wait)
    if story is None:
        raise CommandError(
            f"{message_id} was answered yes and is stored; its trace is not there after {wait} s: "
            "is the worker running?"
        )
    if json:
        say_json(story)
    else:
        print_story(story)
    return 0


def _find_app(home: Home, name: str) -> App:
    apps = read_snapshot(home).apps
    found = [app for app in apps if app.id == name or fold_name(app.name) == fold_name(name)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{app.id} ({app.name})" for app in apps[:20]) or "none"
    raise CommandError(
        f"{name!r} names {'several apps' if found else 'no app'}; there are: {known}"
    )


def _pick_key(app: App) -> Key:
    keys = sorted(app.keys, key=lambda key: key.type != "server")
    if not keys:
        raise CommandError(
            f"app {app.id} has no API key; make one: trunkline key new {app.id} send"
        )
    return keys[0]


def _properties(pairs: list[str]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or not name:
            raise CommandError(f"--set {pair!r}: expected NAME=VALUE")
        try:
            properties[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            properties[name] = text
    return properties


def _ingest_url(home: Home) -> str:
    lock = HomeLock(home)
    if lock.try_take("trunkline send"):
        lock.release()
        raise CommandError(f"no node runs on {home.folder}; start one with `trunkline serve`")
    running = re.search(r"ingest (\S+)", lock.holder())
    return running[1] if running else f"http://{read_boot(home).gateway.listen}"


def _post(url: str, secret: str, body: bytes) -> str:
    credentials = base64.b64encode(f"{secret}:".encode()).decode()
    request = urllib.request.Request(
        f"{url}/v1/track",
        data=body,
        headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return f"{response.status} {response.read().decode()}"
    except urllib.error.HTTPError as error:
        text = error.read(2048).decode("utf-8", "replace")
        raise CommandError(f"the node refused it: HTTP {error.code} {text}") from error
    except OSError as error:
        raise CommandError(f"{url} cannot be reached ({error}); is the node up?") from error


def _follow(message_id: str, home: Home, wait_seconds: float) -> Trace | None:
    clock = SystemClock()
    deadline = clock.monotonic() + wait_seconds
    story: Trace | None = None
    while True:
        stories = find_stories(message_id, Path(home.folder))
        story = stories[0] if stories else story
        is_settled = story is not None and all(
            destination.outcome in SETTLED for destination in story.destinations.values()
        )
        if is_settled or clock.monotonic() > deadline:
            return story
        clock.pause(0.1)
