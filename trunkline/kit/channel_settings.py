"""Settings that several channels have, said once: what they mean must not differ by kind."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

UseTls = Annotated[bool, Meta(description="Connect over TLS, and check the certificate.")]
Authorities = Annotated[
    str | None,
    Meta(description="A PEM file of the authorities to trust. Left out: the machine's."),
]
