"""The reference page of a kind is made of the kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta

from trunkline.kit.describe import describe_kind
from trunkline.kit.destination import (
    Attempt,
    Destination,
    Example,
    Mapped,
    Request,
    SecretText,
    Settings,
)


class CarrierSettings(Settings, frozen=True, kw_only=True):
    """Settings of the test's own kind."""

    address: Annotated[str, Meta(description="Where | to.")]
    key: Annotated[SecretText | None, Meta(description="The key.")] = None
    speed: Annotated[Literal["slow", "fast"], Meta(description="How fast.")] = "slow"


class Carrier(Destination[CarrierSettings]):
    """`carrier`: by pigeon."""

    kind = "carrier"
    title = "Carrier"
    settings_type = CarrierSettings
    examples = (
        Example(
            "One",
            settings={"address": "roof"},
            events=({"messageId": "m"},),
            request=Request("POST", "http://roof/", (("A", "b"),), b"\xff\xfe"),
        ),
    )

    def build(self, events: Sequence[Mapped], attempt: Attempt) -> Request:
        raise NotImplementedError


def test_a_page_shows_settings_with_bounds_and_defaults_and_the_examples() -> None:
    page = describe_kind(Carrier)
    own, _, rest = page.partition("Every destination also has:")
    assert own.split("## Settings")[1] == (
        """\


| setting | values | default | |
|---|---|---|---|
| `address` | text | required | Where \\| to. |
| `key` | text, secret or null |  | The key. |
| `speed` | `slow`, `fast` | `"slow"` | How fast. |

"""
    )
    assert (
        "| `batch_events_max` | whole number, at least 1, at most 1,000 | `100` | How many" in rest
    )
    assert rest.split("## Examples")[1] == (
        """\


### One

Settings of a destination with `kind: carrier`:

```json
{
  "address": "roof"
}
```

The event:

```json
{
  "messageId": "m"
}
```

The request:

```http
POST http://roof/
A: b

(2 bytes, compressed)
```
"""
    )
