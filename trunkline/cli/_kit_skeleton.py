"""The kit that `kits new` writes: everything a kit may say, small, with comments."""

from __future__ import annotations

from trunkline.catalog.yaml_text import read_yaml
from trunkline.kits.kit import parse_kit

_TEXT = """\
# A kit: how one vendor is sent events. `trunkline kits import FILE` brings it in; a destination
# then says `kind: http_kit` and `settings: {kit: NAME, params: …}`.
format: 1
name: NAME

metadata:
  name: NAME                       # for people
  description: What the vendor does with events.
  docs: https://vendor.example/docs
  sources: [server, web, ios, android]
  releaseNotes:
    - {date: "2026-01-01", note: "Version: 0.1.0"}

connection:
  # What each destination fills in. Any text below may say $$API_TOKEN$$.
  params:
    - {name: API_TOKEN, exampleValue: my-api-token, isSensitive: true}
    - {name: REGION, defaultValue: eu, description: Where the account lies.}

  # The request that events make.
  default:
    endpoint: https://$$REGION$$.vendor.example/v1/events
    method: POST                   # with GET the keys become query parameters
    batchSize: 1                   # more: the body is a JSON array
    encoding: json                 # json | form | query
    headers:
      - {key: Authorization, value: Bearer $$API_TOKEN$$}
      - {key: X-Forwarded-For, fromEventKey: context.ip}   # left out where the event has none

  # Another request for some events. It stands alone: nothing is taken over from the one above.
  eventSpecific:
    identify:
      endpoint: https://$$REGION$$.vendor.example/v1/people
      method: PUT
      headers:
        - {key: Authorization, value: Bearer $$API_TOKEN$$}

  # What an answer means, where its status alone does not say it.
  answers:
    success: [{status: 2xx, path: status, equals: ok}]
    retry: [{status: 200, path: error.code, in: [busy, throttled]}]
    blocked: [{path: error.code, equals: invalid_token}]

# What the vendor is sent. See the guide to playbooks.
playbook:
  version: "1"
  global:
    mappings:
      - {inputKey: messageId, outputKey: id}
      - {inputKey: userId, outputKey: user.id}
      - {inputKey: timestamp, outputKey: time, transforms: [{toTimestamp: inSeconds}]}
  eventSpecific:
    order_completed:
      enrichments:
        - {outputKey: name, staticString: purchase}
      mappings:
        - {inputKey: properties.total, outputKey: value, transforms: [{toScalar: float}]}
        - {inputKey: properties.currency, outputKey: currency, defaultString: USD}
    identify:
      mappings:
        - inputKey: traits.email
          outputKey: user.email_sha256
          transforms: [{modifyString: trim}, {modifyString: lowercase}, {toHash: sha256}]
  default:
    # Every event without a section of its own is dropped.
    filters:
      - byEventNames: {action: allow, events: [""]}
"""


def skeleton(name: str) -> str:
    """Return the YAML of a kit to start from. Raises `KitError` for a name that no kit can have."""
    text = _TEXT.replace("NAME", name)
    parse_kit(read_yaml(text))
    return text
