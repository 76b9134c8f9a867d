"""HTTPS: a certificate that is not trusted holds the events; one that is lets them through."""

from __future__ import annotations

import ssl
from pathlib import Path

from trunkline_sdk import Limits, Rejected, Trunkline

from tests.support.scripted_node import ScriptedNode
from tests.support.tls_front import TlsFront

PATIENCE = 60.0


def test_events_go_only_to_a_node_whose_certificate_is_trusted(
    scripted: ScriptedNode, tmp_path: Path
) -> None:
    port = int(scripted.url.rpartition(":")[2])
    front = TlsFront(tmp_path, port, ("localhost",), lost_mark=b"nothing is lost here")
    url, limits = f"https://localhost:{front.port}", Limits(retry_seconds_max=0.1)
    told: list[Rejected] = []
    try:
        wary = Trunkline("tls_key", url, on_rejected=told.extend, limits=limits)
        wary.track("u", "Seen")
        assert not wary.flush(1.0) and not wary.close(0.0) and not scripted.asked
        assert [one.code for one in told] == ["not_sent"]
        trusting = ssl.create_default_context(cafile=str(front.certificate_file))
        with Trunkline("tls_key", url, ssl_context=trusting, limits=limits) as client:
            given = client.track("u", "Seen", message_id="m")
            assert client.flush(PATIENCE)
        assert [asked.message_ids for asked in scripted.asked] == [[given]]
    finally:
        front.close()
