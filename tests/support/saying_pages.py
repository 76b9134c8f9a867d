"""Pages that go on saying numbered events, one for each library and way that it sends.

A page gives `say(n)`, and `heard`, what its library told its user of failures. Each page is on a
host of its own, which passes what is not its own on to the node, so that it is known whose a
request is; the vendor's own SDK sends to hosts that are fixed in its code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.support.browser_stage import CLIENT_KEY, SCRIPT, page
from tests.support.library_pages import (
    JITSU,
    JITSU_KEY,
    JITSU_MODULE_FILE,
    RUDDER,
    RUDDER_FILE,
    RUDDER_OPTIONS,
    published,
    version_of,
)
from tests.support.shop_front import Page
from tests.support.whole_node import APP, SLUG

SITE = "shop.example"
SAID = "Said"
ANALYTICS = "@segment/analytics-next"
WEBSDK = "@metrixorg/websdk"
WEBSDK_FILE = "dist/metrix.umd-latest.js"
WEBSDK_HOSTS = ("entry.metrix.ir", "gateway.metrix.ir")
BATCHING = {"strategy": "batching", "config": {"size": 5, "timeout": 400}}


@dataclass(frozen=True)
class SayingPage:
    """One page: its library's package, and its name, which is its host's too."""

    name: str
    package: str

    @property
    def host(self) -> str:
        """The host that the page comes from."""
        return f"{self.name}.{SITE}"

    @property
    def sends_to(self) -> str:
        """The host that its events go to."""
        return WEBSDK_HOSTS[0] if self.package == WEBSDK else self.host

    @property
    def is_keeping(self) -> bool:
        """Whether its library sends again what it could not send."""
        return self.package != JITSU

    @property
    def version(self) -> str:
        """The version of its library."""
        return version_of(self.package)


PAGES = (
    SayingPage("analytics", ANALYTICS),
    SayingPage("analytics-batches", ANALYTICS),
    SayingPage("rudder", RUDDER),
    SayingPage("rudder-batches", RUDDER),
    SayingPage("jitsu", JITSU),
    SayingPage("websdk", WEBSDK),
)
HOSTS = (*(each.host for each in PAGES), *WEBSDK_HOSTS)


def saying_pages() -> dict[str, Page]:
    """Return what the hosts serve, by path: `/<name>.html` and their scripts."""
    return {
        "/rudder-library.js": published(RUDDER, RUDDER_FILE),
        "/jitsu-library.js": published(JITSU, JITSU_MODULE_FILE),
        "/websdk-library.js": published(WEBSDK, WEBSDK_FILE),
        "/batching.js": Page(
            "window.analytics = []\nwindow.analytics._loadOptions = "
            + json.dumps({"integrations": {"Segment.io": {"deliveryStrategy": BATCHING}}})
        ),
        "/analytics.js": Page(_saying("analytics", "analytics.track")),
        "/analytics.html": page(SCRIPT, "/analytics.js"),
        "/analytics-batches.js": Page(_saying("analytics-batches", "analytics.track")),
        "/analytics-batches.html": page("/batching.js", SCRIPT, "/analytics-batches.js"),
        "/rudder.js": _rudder("rudder", {}),
        "/rudder.html": page("/rudder-library.js", "/rudder.js"),
        "/rudder-batches.js": _rudder("rudder-batches", RUDDER_OPTIONS["batches"]),
        "/rudder-batches.html": page("/rudder-library.js", "/rudder-batches.js"),
        "/jitsu.js": _jitsu(),
        "/jitsu.html": page("/jitsu.js", given=' type="module"'),
        "/websdk.js": _websdk(),
        "/websdk.html": page("/websdk-library.js", "/websdk.js", hosts=WEBSDK_HOSTS),
    }


def _saying(name: str, call: str, event: str = SAID, number: str = "n") -> str:
    told = f"{{ page: {json.dumps(name)}, n: {number} }}"
    return f"window.say = (n) => {{ {call}({json.dumps(event)}, {told}) }}\n"


def _rudder(name: str, options: dict[str, object]) -> Page:
    host = f"https://{name}.{SITE}"
    told = json.dumps({"configUrl": host, **options})
    return Page(
        "window.sdk = new rudderanalytics.RudderAnalytics()\n"
        f"sdk.load('{CLIENT_KEY}', '{host}', {told})\n" + _saying(name, "sdk.track")
    )


def _jitsu() -> Page:
    told = json.dumps({"host": f"https://jitsu.{SITE}", "writeKey": JITSU_KEY})
    return Page(
        "import { jitsuAnalytics } from '/jitsu-library.js'\n"
        "window.heard = []\n"
        f"const sdk = jitsuAnalytics({{ ...{told}, errorPolicy: (said) => heard.push(said) }})\n"
        + _saying("jitsu", "sdk.track")
    )


def _websdk() -> Page:
    started = f"Metrix.init('{APP}', '{CLIENT_KEY}')\n"
    return Page(started + _saying("websdk", "Metrix.newEvent", SLUG, "String(n)"))
