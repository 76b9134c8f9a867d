"""A node that has no such destination pays nothing for the client libraries of channels."""

from __future__ import annotations

import subprocess
import sys

LIBRARIES = ("confluent_kafka", "psycopg", "pika", "boto3", "pyarrow", "redis", "nats")
SCRIPT = f"""
import sys
import trunkline.node
print([name for name in {LIBRARIES!r} if name in sys.modules])
"""


def test_no_client_library_is_loaded_before_it_is_needed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
