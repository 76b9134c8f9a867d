"""The kit that `kits new` writes: everything a kit may say, small, with comments, fixtures too."""

from __future__ import annotations

from trunkline.kit.yaml_text import read_yaml
from trunkline.kits.kit import parse_kit

_TEXT = """\
# A kit: how one vendor is sent events. `trunkline kits import FILE` brings it in; a destination
# then says `kind: http_kit` and `settings: {kit: NAME, params: …}`. `trunkline kits test FILE` runs
# the fixtures at its end.
format: 1
name: NAME

metadata:
  name: NAME                       # for people
  category: analytics              # advertising | analytics | crm | attribution | push | messaging
  description: What the vendor does with events.
  docs: https://vendor.example/docs
  asOf: "2026-01-01"               # when the vendor's contract was read
  sources: [server, web, ios, android]
  deduplicates: by id, 24 hours    # or "no"
  notes: [What an operator must know before the first event.]
  releaseNotes:
    - {date: "2026-01-01", note: "Version: 0.1.0"}

connection:
  # What each destination fills in. Any text below may say $$API_TOKEN$$.
  params:
    - {name: BASE_URL, defaultValue: "https://eu.vendor.example", description: Of your region.}
    - {name: API_TOKEN, exampleValue: my-api-token, isSensitive: true}
    - {name: ACCOUNT, exampleValue: "1234567", pattern: "[0-9]{5,12}", expected: "digits alone"}
    - {name: VERSION, defaultValue: v2, choices: [v2, v1], goodUntil: {v1: "2027-12-31"}}
    - {name: TEST_CODE, isOptional: true}

  # The request that events make.
  default:
    endpoint: $$BASE_URL$$/$$VERSION$$/accounts/$$ACCOUNT$$/events
    method: POST                   # with GET the keys become query parameters
    batchSize: 100                 # 1 where it is left out
    requestsPerSecond: 50          # the default of the destination's requests_per_second_max
    encoding: json                 # json | form | query
    headers:
      - {key: Authorization, value: Bearer $$API_TOKEN$$}
      - {key: X-Forwarded-For, fromEventKey: context.ip}   # left out where the event has none
    body:                          # left out: the event, or with a batchSize the list of events
      events: $events              # what the playbook made; with batchSize 1 `$event` is the event
      test_code: $$TEST_CODE$$     # left out of the body where it is empty

  # Another request for some events. It stands alone: nothing is taken over from the one above.
  eventSpecific:
    identify:
      endpoint: $$BASE_URL$$/$$VERSION$$/people/{{userId}}   # a value of the event, encoded
      method: PUT
      headers:
        - {key: Authorization, value: Bearer $$API_TOKEN$$}

  # Another request for what the playbook made something of; asked before the names of events.
  # conditional:
  #   - name: visitors
  #     when: {inputPathExists: {inputPath: visitor_id}}
  #     request: {endpoint: $$BASE_URL$$/$$VERSION$$/visitors, method: POST}

  # What an answer means, where its status alone does not say it.
  answers:
    retry:
      - {status: 200, path: error.code, in: [busy, throttled]}
      - {status: 500, times: 3}    # three times more, then a dead letter
    blocked: [{path: error.code, equals: invalid_token}]
    reason: error.message          # where the vendor says why; shown with dead letters
    events: {path: error.events, index: position, reason: message}   # of a batch, those at fault
    count: {path: received, fewer: retry, times: 3}   # fewer than were sent is no delivery
    unknown: retry                 # the answer was lost: retry, or give_up

  # Where a vendor says only "received", and later what became of the events:
  # followUp:
  #   request: {method: GET, endpoint: "$$BASE_URL$$/status/{{request_id}}"}   # of its answer
  #   after: 30m
  #   every: 30m
  #   giveUp: 1d
  #   answers: {pending: [{path: state, equals: RUNNING}], success: [{path: state, equals: DONE}]}

# What the vendor takes, over what the playbook made. Checked in order, before anything is sent.
contract:
  - rule: needs_person
    anyOf: [user.id, user.email_sha256]   # one at least; `oneOf`: exactly one
    then: reject                   # reject | drop | cut | leave_out
    say: The vendor takes an event only with the id or the address of a user.
    page: https://vendor.example/docs/events
  - {rule: older_than_3_days, olderThan: 3d, then: drop}
  - {rule: in_the_future, ahead: 60s, clamp: {key: time, unit: seconds}}
  - {rule: currency, key: currency, pattern: "[A-Z]{3}", then: leave_out}

# How `trunkline destination test` proves the params without polluting the account.
test:
  proves: The token and the account are right; events with a test code are not counted.
  event: a purchase                # of the fixture of that name
  params: {TEST_CODE: trunkline}

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

# Events, and exactly what must come of them.
fixtures:
  - name: a purchase
    events:
      - messageId: m-1
        type: track
        event: Order Completed
        userId: u-42
        timestamp: "2026-11-20T10:15:30.000Z"
        properties: {total: 29.9, currency: euro}
    requests:
      - method: POST
        url: https://eu.vendor.example/v2/accounts/1234567/events
        headers: {Authorization: Bearer my-api-token}
        body: {events: [{id: m-1, user: {id: u-42}, time: 1795169730, name: purchase, value: 29.9}]}
    notes: ["currency: …"]
  - name: nobody
    events: [{messageId: m-2, type: track, event: Order Completed, anonymousId: a-1}]
    rejected: needs_person
  - name: too old
    now: 2026-12-24T00:00:00Z
    events:
      - messageId: m-3
        type: track
        event: Order Completed
        userId: u-42
        timestamp: "2026-11-20T10:15:30.000Z"
    dropped: older_than_3_days
  - name: not mapped
    events: [{messageId: m-4, type: page, userId: u-42}]
    filtered: true
"""


def skeleton(name: str) -> str:
    """Return the YAML of a kit to start from. Raises `KitError` for a name that no kit can have."""
    text = _TEXT.replace("NAME", name)
    parse_kit(read_yaml(text))
    return text
