"""Pages of the shop that use RudderStack's and Jitsu's own libraries, as published in npm packages.

Each library is one file of its package, served by the shop's web server. RudderStack's is the
build that holds its plugins; Jitsu's are the script that a tag loads, which sends to where it came
from, and the module that a build takes in.
"""

from __future__ import annotations

import json

from tests.support.browser_stage import CLIENT_KEY, EVENTS, SHOP, page
from tests.support.client_libraries import NODE_FOLDER
from tests.support.shop_front import Page

RUDDER = "@rudderstack/analytics-js"
RUDDER_FILE = "dist/npm/modern/bundled/umd/index.js"
JITSU = "@jitsu/js"
JITSU_TAG_FILE = "dist/web/p.js.txt"
JITSU_MODULE_FILE = "dist/jitsu.es.js"
JITSU_KEY = f"page:{CLIENT_KEY}"  # Jitsu's library takes a key with its name only

# What RudderStack's library is told beside its host, by the name of the page.
RUDDER_OPTIONS: dict[str, dict[str, object]] = {
    "calls": {},
    "batches": {"queueOptions": {"batch": {"enabled": True, "maxItems": 3, "flushInterval": 500}}},
    "beacons": {"useBeacon": True},
}

SAID = """
page('Docs', 'Start', { n: 1 })
sdk.identify('u-web', { name: 'مریم', plan: '🚀' })
sdk.track('Cart Viewed', { items: 3, text: 'نیم\\u200cفاصله', nested: { a: [1, { b: 2 }] } })
sdk.group('g-1', { seats: 12 })
"""


def published(package: str, name: str) -> Page:
    """Return a file of an installed package."""
    return Page((NODE_FOLDER / "node_modules" / package / name).read_text("utf-8"))


def version_of(package: str) -> str:
    """Return the version of an installed package."""
    return str(json.loads(published(package, "package.json").text)["version"])


def rudder_calls(host: str, options: dict[str, object]) -> Page:
    """Return what a page says with RudderStack's library."""
    told = json.dumps({"configUrl": f"https://{host}", **options})
    return Page(f"""
window.sdk = new rudderanalytics.RudderAnalytics()
sdk.load('{CLIENT_KEY}', 'https://{host}', {told})
const page = (category, name, more) => sdk.page(category, name, more)
{SAID}
sdk.alias('u-new', 'u-web')
""")


def jitsu_module_calls(host: str) -> Page:
    """Return what a page says with Jitsu's library as a module of its own."""
    told = json.dumps({"host": f"https://{host}", "writeKey": JITSU_KEY})
    return Page(f"""
import {{ jitsuAnalytics }} from '/jitsu.js'
const heard = []
const sdk = jitsuAnalytics({{ ...{told}, errorPolicy: (said) => heard.push(said) }})
Object.assign(window, {{ sdk, heard }})
const page = (category, name, more) => sdk.page(name, {{ category, ...more }})
{SAID}
""")


def library_pages() -> dict[str, Page]:
    """Return what the shop serves, by path: `/<library>-<what>[-near].html` and their scripts.

    A page whose name ends in `-near` sends to its own host, the others to another one of the site.
    """
    pages = {
        "/rudder.js": published(RUDDER, RUDDER_FILE),
        "/jitsu.js": published(JITSU, JITSU_MODULE_FILE),
        "/p.js": published(JITSU, JITSU_TAG_FILE),
        "/jitsu-tag-calls.js": Page(
            "const sdk = window.jitsu\n"
            "const page = (category, name, more) => sdk.page(name, { category, ...more })\n" + SAID
        ),
    }
    for near, host in (("", EVENTS), ("-near", SHOP)):
        for what, options in RUDDER_OPTIONS.items():
            script = f"/rudder-{what}{near}.js"
            pages[script] = rudder_calls(host, options)
            pages[f"/rudder-{what}{near}.html"] = page("/rudder.js", script, hosts=(host,))
        script = f"/jitsu-calls{near}.js"
        pages[script] = jitsu_module_calls(host)
        pages[f"/jitsu-calls{near}.html"] = page(script, given=' type="module"', hosts=(host,))
    tag = f'https://{EVENTS}/p.js" data-write-key="{JITSU_KEY}'
    pages["/jitsu-tag.html"] = page(tag, "/jitsu-tag-calls.js", hosts=(EVENTS,))
    return pages
