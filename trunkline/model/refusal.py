"""Every error that a caller of the ingest port can see, in one table; REST's in `refusal_rest.py`.

The answers are made from these rows and the reference page is generated from them, so that neither
can say what the other does not. A `{word}` in a sentence or a hint is filled in by the protocol:
what came, where, and what was expected.
"""

from __future__ import annotations

from msgspec import Struct


class ErrorRow(Struct, frozen=True):
    """One error: its code on the wire, HTTP status, what is wrong, and how to mend it."""

    protocol: str
    code: str
    status: int
    sentence: str
    hint: str

    def say(self, **values: str) -> str:
        """Return the sentence and the hint as one text, with the values filled in."""
        return f"{self.sentence}; {self.hint}".format_map(values)


# S2S: the published types, whose names callers compare, and ours where every page is silent.
S2S_TOO_LARGE = ErrorRow(
    "s2s",
    "PAYLOAD_TOO_LARGE",
    413,
    "the body is larger than 64 KiB",
    "send one event a request and shorter values; the limit holds after decompression too",
)
S2S_KEY = ErrorRow(
    "s2s",
    "INVALID_PARAMETERS",
    403,
    "the app id in the path or the dev key in the Authorization header is wrong or missing",
    "copy the app id from App Info and the dev key from S2S Integration; send the bare key",
)
S2S_NOT_IN_PLAN = ErrorRow(
    "s2s",
    "S2S_FEATURE_NOT_AVAILABLE",
    403,
    "the organisation's plan does not include S2S events",
    "ask who runs this server to add s2s to the plan",
)
S2S_OFF = ErrorRow(
    "s2s",
    "S2S_FEATURE_NOT_AVAILABLE",
    403,
    "S2S events are switched off for this app",
    "enable them in the app's settings under S2S Integration",
)
S2S_ADDRESS = ErrorRow(
    "s2s",
    "INVALID_PARAMETERS",
    403,
    "the request came from the address {address}, which is not in the app's allowed list",
    "add the address or its range under S2S Integration, or send from an allowed one",
)
S2S_NOT_JSON = ErrorRow(
    "s2s",
    "MALFORMED_JSON",
    400,
    "the body cannot be taken: {problem}",
    "send one JSON object in UTF-8",
)
S2S_NOT_OBJECT = ErrorRow(
    "s2s",
    "MALFORMED_JSON",
    400,
    "the body is {came}, not a JSON object",
    "send one JSON object, with one event, a request",
)
S2S_NO_DEVICE = ErrorRow(
    "s2s",
    "IDFA_AND_ADVERTISING_ID_SHOULD_NOT_BE_NULL",
    400,
    "the event has no device id",
    "send exactly one of advertisingId (Android), idfa (iOS) and oaid (Huawei)",
)
S2S_MANY_DEVICES = ErrorRow(
    "s2s",
    "ONLY_ONE_OF_IDFA_AND_ADVERTISING_ID_SHOULD_BE_SET",
    400,
    "the event has more than one device id: {fields}",
    "send only the one of the device that the event happened on",
)
S2S_MISSING = ErrorRow(
    "s2s",
    "INVALID_PARAMETERS",
    403,
    "{field} is missing",
    "send {expected}",
)
S2S_FIELD = ErrorRow(
    "s2s",
    "INVALID_PARAMETERS",
    403,
    "{field} is {came}",
    "send {expected}",
)
S2S_NUMBER = ErrorRow(
    "s2s",
    "INVALID_PARAMETERS",
    403,
    "{field} holds a number that cannot be kept",
    "{problem}",
)
S2S_SLUG_UNKNOWN = ErrorRow(
    "s2s",
    "EVENT_TYPE_DOES_NOT_EXIST",
    404,
    "no event with the slug {slug} is defined for this app",
    "define the event and send the slug that it was given",
)
S2S_SLUG_ARCHIVED = ErrorRow(
    "s2s",
    "EVENT_TYPE_DOES_NOT_EXIST",
    404,
    "the event with the slug {slug} is archived",
    "restore it under Events, or send the slug of another event",
)
S2S_RATE = ErrorRow(
    "s2s",
    "TOO_MANY_REQUESTS",
    429,
    "the app sends faster than its rate limit allows",
    "wait the seconds that Retry-After names, then send the same request again",
)
S2S_UNAVAILABLE = ErrorRow(
    "s2s",
    "TEMPORARILY_UNAVAILABLE",
    503,
    "the event cannot be stored now, and nothing of it was stored",
    "wait the seconds that Retry-After names, then send the same request again",
)
S2S_METHOD = ErrorRow(
    "s2s",
    "METHOD_NOT_ALLOWED",
    405,
    "this path takes POST only",
    "send the event with POST",
)
S2S_PATH = ErrorRow(
    "s2s",
    "NOT_FOUND",
    404,
    "there is nothing at this path",
    "send events to /inappevent/<app id>",
)
S2S_BAD_PATH = ErrorRow(
    "s2s",
    "MALFORMED_PATH",
    400,
    "the path holds bytes that are no UTF-8",
    "send events to /inappevent/<app id>",
)
S2S_ENCODING = ErrorRow(
    "s2s",
    "MALFORMED_JSON",
    400,
    "the body cannot be decompressed as its Content-Encoding says",
    "send gzip, or no Content-Encoding",
)
S2S_ENCODING_UNKNOWN = ErrorRow(
    "s2s",
    "UNSUPPORTED_MEDIA_TYPE",
    415,
    "the Content-Encoding is not one that is understood here",
    "send gzip, or no Content-Encoding",
)
S2S_SLOW = ErrorRow(
    "s2s",
    "REQUEST_TIMEOUT",
    408,
    "the body did not arrive in time",
    "send the same request again",
)
S2S_INTERNAL = ErrorRow(
    "s2s",
    "INTERNAL_ERROR",
    503,
    "the server failed to handle this request, and nothing of it was stored",
    "send the same request again; tell who runs this server the X-Request-Id of the answer",
)

S2S_ERRORS: list[ErrorRow] = [
    S2S_TOO_LARGE,
    S2S_KEY,
    S2S_NOT_IN_PLAN,
    S2S_OFF,
    S2S_ADDRESS,
    S2S_NOT_JSON,
    S2S_NOT_OBJECT,
    S2S_NO_DEVICE,
    S2S_MANY_DEVICES,
    S2S_MISSING,
    S2S_FIELD,
    S2S_NUMBER,
    S2S_SLUG_UNKNOWN,
    S2S_SLUG_ARCHIVED,
    S2S_RATE,
    S2S_UNAVAILABLE,
    S2S_METHOD,
    S2S_PATH,
    S2S_BAD_PATH,
    S2S_ENCODING,
    S2S_ENCODING_UNKNOWN,
    S2S_SLOW,
    S2S_INTERNAL,
]

# Tracking: the codes that the contract names, and ours where it leaves them open. One event of a
# batch that fails is answered 200 with the code in `rejected`; the status is a single call's.
TRACKING_NOT_JSON = ErrorRow(
    "tracking",
    "malformed_json",
    400,
    "this cannot be read as JSON: {problem}",
    "send one JSON object in UTF-8, whatever the Content-Type",
)
TRACKING_TOO_DEEP = ErrorRow(
    "tracking",
    "too_deep",
    400,
    "objects and arrays are nested more than {limit} levels deep",
    "flatten the properties",
)
TRACKING_ENVELOPE = ErrorRow(
    "tracking",
    "invalid_envelope",
    400,
    "a batch was expected, and {came} came",
    "send an object whose batch is an array of events, or one event to the path of its type",
)
TRACKING_TOO_MANY = ErrorRow(
    "tracking",
    "too_many_events",
    413,
    "the batch holds {count} events, and at most {limit} are taken at a time",
    "send smaller batches",
)
TRACKING_TOO_LARGE = ErrorRow(
    "tracking",
    "too_large",
    413,
    "{what} has {size} bytes, and at most {limit} are taken",
    "leave out what nobody reads, or send a reference to it",
)
TRACKING_NO_KEY = ErrorRow(
    "tracking",
    "unknown_key",
    401,
    "no write key came with the request",
    "send it as the user of Basic authorization, as X-Write-Key, or as writeKey in the body",
)
TRACKING_KEY = ErrorRow(
    "tracking",
    "unknown_key",
    401,
    "the write key is not one of this server's, or its time is over",
    "copy it again from the app's API keys",
)
TRACKING_KEY_IN_BROWSER = ErrorRow(
    "tracking",
    "server_key_in_browser",
    403,
    "the Server key {key} came from a browser, where anyone can read it",
    "rotate that key now, and use a Client key in browsers and apps",
)
TRACKING_ADDRESS = ErrorRow(
    "tracking",
    "address_not_allowed",
    403,
    "the request came from the address {address}, which is not in the app's allowed list",
    "add the address or its range to the app's allowed IPs, or send from an allowed one",
)
TRACKING_ORIGIN = ErrorRow(
    "tracking",
    "origin_not_allowed",
    403,
    "the request came from the origin {origin}, which the Client key {key} does not allow",
    "add the origin to the key's allowed origins",
)
TRACKING_NOT_OBJECT = ErrorRow(
    "tracking",
    "invalid_event",
    400,
    "the event is {came}, not a JSON object",
    "send each event as one JSON object",
)
TRACKING_NUMBER = ErrorRow(
    "tracking",
    "invalid_number",
    400,
    "a number cannot be kept: {problem}",
    "send finite numbers that fit a double, or strings",
)
TRACKING_TYPE = ErrorRow(
    "tracking",
    "unknown_type",
    400,
    "type is {came}",
    "send one of {expected}",
)
TRACKING_FIELD = ErrorRow(
    "tracking",
    "invalid_field",
    400,
    "{field} is {came}",
    "send {expected}, or leave it out",
)
TRACKING_MESSAGE_ID = ErrorRow(
    "tracking",
    "invalid_message_id",
    400,
    "messageId is {came}",
    "send a string of at most {limit} characters, or leave it out to be given one",
)
TRACKING_NO_USER = ErrorRow(
    "tracking",
    "no_user_anon_id",
    400,
    "the event has neither a userId nor an anonymousId",
    "send at least one of them; null and empty strings count as absent",
)
TRACKING_NO_EVENT = ErrorRow(
    "tracking",
    "missing_event_name",
    400,
    "a track event has no event",
    "send the name of what happened as event, a string that is not empty",
)
TRACKING_NO_GROUP = ErrorRow(
    "tracking",
    "missing_group_id",
    400,
    "a group event has no groupId",
    "send the id of the group that the user belongs to",
)
TRACKING_NO_PREVIOUS = ErrorRow(
    "tracking",
    "missing_previous_id",
    400,
    "an alias event has no previousId",
    "send the id that the user had before as previousId",
)
TRACKING_NO_USER_ID = ErrorRow(
    "tracking",
    "missing_user_id",
    400,
    "an alias event has no userId",
    "send the id that the user has now as userId",
)
TRACKING_TIME = ErrorRow(
    "tracking",
    "invalid_timestamp",
    400,
    "{field} is {came}, which is no time",
    "send RFC 3339, say 2026-11-20T10:15:30.000Z, or Unix seconds or milliseconds",
)
TRACKING_SERVER_ONLY = ErrorRow(
    "tracking",
    "server_only_event",
    400,
    "the event {event} is taken from Server keys only, and {key} is a Client key",
    "send it from a back end, or let the event's definition accept any key",
)
TRACKING_PLAN = ErrorRow(
    "tracking",
    "blocked_by_tracking_plan",
    400,
    "the event {event} is not in the app's tracking plan, which blocks unknown events",
    "define the event, or correct its name",
)

TRACKING_ERRORS: list[ErrorRow] = [
    TRACKING_NOT_JSON,
    TRACKING_TOO_DEEP,
    TRACKING_ENVELOPE,
    TRACKING_TOO_MANY,
    TRACKING_TOO_LARGE,
    TRACKING_NO_KEY,
    TRACKING_KEY,
    TRACKING_KEY_IN_BROWSER,
    TRACKING_ADDRESS,
    TRACKING_ORIGIN,
    TRACKING_NOT_OBJECT,
    TRACKING_NUMBER,
    TRACKING_TYPE,
    TRACKING_FIELD,
    TRACKING_MESSAGE_ID,
    TRACKING_NO_USER,
    TRACKING_NO_EVENT,
    TRACKING_NO_GROUP,
    TRACKING_NO_PREVIOUS,
    TRACKING_NO_USER_ID,
    TRACKING_TIME,
    TRACKING_SERVER_ONLY,
    TRACKING_PLAN,
]

# Custom events: the rows of the tracking API, and those for the metadata that come with them.
CUSTOM_METADATA = ErrorRow(
    "custom_event",
    "invalid_metadata",
    400,
    "{where} is {came}",
    "send a JSON object with writeKey, eventName, and userID or anonymousID",
)
CUSTOM_NO_NAME = ErrorRow(
    "custom_event",
    "missing_event_name",
    400,
    "the metadata have no eventName",
    "send it in _metarouter of the body, in X-Event-Metadata, or in the query",
)
CUSTOM_NO_USER = ErrorRow(
    "custom_event",
    "no_user_anon_id",
    400,
    "the metadata have neither a userID nor an anonymousID",
    "send at least one of them, spelled like this, beside the eventName",
)

CUSTOM_ERRORS: list[ErrorRow] = [CUSTOM_METADATA, CUSTOM_NO_NAME, CUSTOM_NO_USER]

# The script for pages: said in a comment, for who opens its address or the browser's console.
SCRIPT_KEY = ErrorRow(
    "analytics_js",
    "unknown_key",
    404,
    "the write key in the address is not one of this server's, or its time is over",
    "copy the key again from the app's API keys",
)
SCRIPT_SERVER_KEY = ErrorRow(
    "analytics_js",
    "server_key_in_browser",
    403,
    "the Server key {key} stands in the address of a script, where anyone can read it",
    "rotate that key now, and use a Client key in pages",
)
SCRIPT_OFF = ErrorRow(
    "analytics_js",
    "analytics_js_off",
    404,
    "analytics.js is switched off for the app {app}",
    "set analytics_js.enabled in the workspace file",
)
SCRIPT_FILE = ErrorRow(
    "analytics_js",
    "not_found",
    404,
    "this server has no such file",
    "load the script again: its parts have other names in another version",
)

SCRIPT_ERRORS: list[ErrorRow] = [SCRIPT_KEY, SCRIPT_SERVER_KEY, SCRIPT_OFF, SCRIPT_FILE]

# The order is the reference page's. Each protocol's rows stand in the order of its checks.
ERRORS: list[ErrorRow] = [*S2S_ERRORS, *TRACKING_ERRORS, *CUSTOM_ERRORS, *SCRIPT_ERRORS]
