"""What every Python library is asked to send, and what of each call a destination must see.

A story is told through the library's own calls. Beside each call it writes down the part of the
canonical event that has to come out at the other end; the test compares. Stories: `calls` (every
kind of call, awkward values, then more events than a batch holds), `few` (one of each kind),
`poisoned` (one event that is no JSON among good ones), `endless` (until the stop file appears).
"""

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

MANY = 250  # a batch holds 100
USERS = 10
ENDLESS_MAX = 9000  # the libraries' queues hold 10,000
PAUSE_SECONDS = 0.02
TEHRAN = timezone(timedelta(hours=3, minutes=30))
FIELDS = {
    "user_id": "userId",
    "anonymous_id": "anonymousId",
    "group_id": "groupId",
    "previous_id": "previousId",
}


class Story:
    """Tells a story and remembers each call, and what the library reported as failed."""

    def __init__(self, package: str) -> None:
        self.write_key = os.environ["STORY_KEY"]
        self.host = os.environ["STORY_HOST"]
        self._version = version(package)
        self._calls: list[dict[str, Any]] = []
        self._failed: list[str] = []
        self._errors: list[dict[str, Any]] = []
        self._client: Any = None

    def on_error(self, error: Exception, batch: list[dict[str, Any]]) -> None:
        """What a user hands to the library to hear of failures: once for each batch."""
        self._errors.append({"status": getattr(error, "status", None), "message": str(error)})
        self._failed += [event["messageId"] for event in batch]

    def tell(self, client: Any) -> None:
        """Tell the story that the test asked for."""
        self._client = client
        stories: dict[str, Callable[[], None]] = {
            "calls": self._tell_calls,
            "few": self._tell_each_kind,
            "poisoned": self._tell_poisoned,
            "endless": self._tell_endless,
        }
        stories[os.environ["STORY"]]()

    def report(self) -> None:
        """Leave what was called, and what failed, where the test finds it."""
        report = {
            "version": self._version,
            "calls": self._calls,
            "failed": self._failed,
            "errors": self._errors,
            "requests": len(self._errors),
        }
        Path(os.environ["STORY_REPORT"]).write_text(json.dumps(report))

    def call(self, kind: str, must_see: dict[str, Any] | None = None, **said: Any) -> None:
        """Call the library, and write down what a destination must see of it.

        That is what was said, under its canonical name, unless `must_see` says otherwise.
        """
        message_id = str(uuid4())
        seen = {FIELDS.get(name, name): value for name, value in said.items()}
        call = {"type": kind, **seen, "messageId": message_id, **(must_see or {})}
        # Written out before the library sees it: some add to what they are given.
        self._calls.append(json.loads(json.dumps(call, default=write_value)))
        getattr(self._client, kind)(message_id=message_id, **said)

    def _tell_calls(self) -> None:
        self._tell_each_kind()
        self._tell_awkward_values()
        self._tell_awkward_text()
        self._tell_where_and_when()
        for number in range(MANY):
            self._track_number(number)

    def _tell_each_kind(self) -> None:
        self.call("identify", user_id="u-1", traits={"name": "مریم احمدی", "plan": "🚀", "age": 42})
        self.call("track", user_id="u-1", event="Order Completed", properties={"revenue": 49.9})
        self.call("track", anonymous_id="anon-1", event="Cart Viewed", properties={"items": 3})
        self.call(
            "page", user_id="u-1", category="Docs", name="Start", properties={"url": "https://a.b/"}
        )
        self.call(
            "screen", user_id="u-1", category="Wallet", name="Balance", properties={"dark": True}
        )
        self.call("group", user_id="u-1", group_id="g-1", traits={"name": "Acme", "seats": 12})
        self.call("alias", previous_id="anon-1", user_id="u-1")

    def _tell_awkward_values(self) -> None:
        self.call(
            "track",
            user_id="u-2",
            event="Values",
            properties={
                "none": None,
                "empty": "",
                "empty_list": [],
                "empty_object": {},
                "true": True,
                "false": False,
                "zero": 0,
                "negative": -7,
                "above_double": 2**53 + 1,
                "above_int64": 2**63,
                "above_uint64": 10**25 + 1,
                "float": 0.1,
                "tiny": 5e-324,
                "huge": 1.7976931348623157e308,
                "decimal": Decimal("12.50"),
                "moment": datetime(2026, 3, 21, 1, 2, 3, 456789, tzinfo=UTC),
                "day": date(2026, 3, 21),
                "nested": {"a": [{"b": [None, {"c": {"d": [1, [2, [3]]]}}]}]},
            },
        )
        self.call("track", {"userId": "12345"}, user_id=12345, event="A number as id")
        self.call("track", user_id="u-2", event="Nothing said", properties={})

    def _tell_awkward_text(self) -> None:
        self.call(
            "track",
            user_id="کاربر-۱",
            event="خرید انجام شد 🎉",
            properties={
                "متن": "نیم\u200cفاصله، «گیومه» و ‏راست‌به‌چپ",
                "emoji": "👩🏽\u200d💻🏴󠁧󠁢󠁳󠁣󠁴󠁿",
                "controls": "\x00\x01\t\n\r\x7f\u2028\u2029",
                "quotes": "\"'\\/<script>&amp;",
                "with.dot and space": "€",
            },
        )
        # Half an emoji, as a careless cut leaves it, becomes the replacement character.
        cut = {"text": "cut \ud83d"}
        must_see = {"properties": {"text": "cut \ufffd"}}
        self.call("track", must_see, user_id="u-3", event="Cut", properties=cut)
        # Six bytes a character on the wire: just under the 32,768 that one event may have.
        self.call("track", user_id="u-3", event="Long", properties={"text": "س" * 5300})

    def _tell_where_and_when(self) -> None:
        self.call(
            "track",
            user_id="u-4",
            event="Context",
            context={"ip": "203.0.113.9", "campaign": {"name": "نوروز"}},
            integrations={"All": True, "Elsewhere": False},
        )
        past = datetime.now(UTC) - timedelta(days=2)
        self.call("track", user_id="u-4", event="The day before yesterday", timestamp=past)
        self.call("track", user_id="u-4", event="In Tehran", timestamp=past.astimezone(TEHRAN))
        naive = past.replace(tzinfo=None)
        self.call("track", {"timestamp": past}, user_id="u-4", event="Naive", timestamp=naive)

    def _tell_poisoned(self) -> None:
        for number in range(20):
            self._track_number(number)
            if number == 10:
                # The library writes NaN, which is no JSON; the call is left out of what must come.
                self.call("track", user_id="u-5", event="Bad", properties={"rate": float("nan")})
                self._calls.pop()

    def _tell_endless(self) -> None:
        stop = Path(os.environ["STORY_STOP"])
        for number in range(ENDLESS_MAX):
            self._track_number(number)
            time.sleep(PAUSE_SECONDS)
            if stop.exists():
                return

    def _track_number(self, number: int) -> None:
        self.call(
            "track",
            user_id=f"user-{number % USERS}",
            event="Numbered",
            properties={"number": number, "text": "سفارش"},
        )


def write_value(value: Any) -> Any:
    """Write a value as JSON has it: moments in RFC 3339."""
    return float(value) if isinstance(value, Decimal) else value.isoformat()
