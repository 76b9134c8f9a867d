"""What decides which records the rows of a file of history make: its terms; and the fields of rows.

The fields are those of an event, or of a user as the REST API names them. A column may fill one of
the row's own fields (`userId`, `email`) or a path in one of its objects (`properties.revenue`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from trunkline.kit.rest_checks import USER_TEXTS
from trunkline.kit.tracking_checks import OBJECT_FIELDS

ImportKind = Literal["events", "users"]
ImportFormat = Literal["ndjson", "csv", "parquet"]
SKIP = "-"  # a column that is left out
TEXT_MARK = ":text"  # behind a field: a text that looks like a number stays a text
_DEPTH_MAX = 8


class MappingError(Exception):
    """The mapping does not fit; the message is one sentence that says how it would."""


class ImportTerms(Struct, omit_defaults=True):
    """What decides which records the rows make. `mapping` is column → field, as it was said.

    As JSON it is what an import is compared by, so a field that is new has a default, and a
    default is left out.
    """

    format: ImportFormat
    historical: bool
    mapping: dict[str, str]
    constants: dict[str, str]
    kind: ImportKind = "events"


class RowFields(Struct, frozen=True):
    """The fields that the columns of a kind of row can fill.

    `known` has folded names of columns as exports have them, by the field they fill: the first
    found wins a field. A column that no field is known by goes into the object `others`.
    """

    noun: str
    own: tuple[str, ...]
    objects: tuple[str, ...]
    known: Mapping[str, tuple[str, ...]]
    others: str

    def read_path(self, field: str) -> tuple[str, ...]:
        """Return the path of a field. Raises `MappingError` for one that is none."""
        path = tuple(field.split("."))
        is_own = len(path) == 1 and field in (*self.own, *self.objects)
        is_inside = 1 < len(path) <= _DEPTH_MAX and path[0] in self.objects and all(path)
        if not is_own and not is_inside:
            own = ", ".join(self.own)
            objects = ", ".join(f"{name}.NAME" for name in self.objects)
            raise MappingError(
                f"{field!r} is no field of {self.noun}; expected {own}, {objects}, or {SKIP}"
            )
        return path

    def guess_path(self, column: str) -> tuple[str, ...]:
        """Return where a column goes that no field is known by: its own path, or the others."""
        path = tuple(column.split("."))
        is_path = len(path) <= _DEPTH_MAX and path[0] in self.objects and all(path)
        return path if is_path else (self.others, column)


EVENT_FIELDS = RowFields(
    "an event",
    (
        "messageId", "type", "event", "name", "category", "userId", "anonymousId", "groupId",
        "previousId", "timestamp",
    ),
    OBJECT_FIELDS,
    {
        "messageId": ("messageid", "insertid", "$insertid", "eventid", "uuid"),
        "type": ("type", "eventtype", "calltype"),
        "event": ("event", "eventname", "eventtext", "action"),
        "userId": ("userid", "customuserid", "customerid", "distinctid", "uid", "user"),
        "anonymousId": ("anonymousid", "deviceid", "metrixuserid", "visitorid", "anonid"),
        "groupId": ("groupid", "companyid", "accountid"),
        "previousId": ("previousid",),
        "timestamp": (
            "timestamp", "originaltimestamp", "eventtime", "occurredat", "time", "datetime",
            "eventtimestamp", "createdat", "date", "ts",
        ),
        "context.ip": ("ip", "contextip", "ipaddress"),
        "context.userAgent": ("useragent", "contextuseragent"),
    },
    "properties",
)  # fmt: skip

USER_IDS = ("customUserId", "metrixUserId", "automationUserId")
USER_TRAITS = (*(name for name in USER_TEXTS if name not in ("phone", "customId")), "birthday")
USER_FIELDS = RowFields(
    "a user",
    (*USER_IDS, *USER_TRAITS, "time"),
    ("customAttributes",),
    {
        "customUserId": ("customuserid", "userid", "customerid", "distinctid", "uid", "id", "user"),
        "metrixUserId": ("metrixuserid", "anonymousid", "visitorid", "anonid"),
        "automationUserId": ("automationuserid",),
        "firstName": ("firstname", "givenname", "forename"),
        "lastName": ("lastname", "familyname", "surname"),
        "phoneNumber": ("phonenumber", "phone", "mobile", "mobilenumber", "msisdn"),
        "hashedPhoneNumber": ("hashedphonenumber", "hashedphone"),
        "email": ("email", "emailaddress", "mail"),
        "hashedEmail": ("hashedemail",),
        "country": ("country",),
        "city": ("city",),
        "region": ("region", "state", "province"),
        "locality": ("locality",),
        "gender": ("gender", "sex"),
        "birthday": ("birthday", "birthdate", "dateofbirth", "dob"),
        "time": ("time", "updatedat", "modifiedat", "timestamp"),
    },
    "customAttributes",
)

FIELDS: Mapping[ImportKind, RowFields] = {"events": EVENT_FIELDS, "users": USER_FIELDS}


def check_said(kind: ImportKind, mapping: Mapping[str, str], constants: Mapping[str, str]) -> None:
    """Judge what was said of columns before any is known. Raises `MappingError`."""
    fields = FIELDS[kind]
    for field in constants:
        fields.read_path(field)
    for field in mapping.values():
        if field != SKIP:
            fields.read_path(field.removesuffix(TEXT_MARK))
