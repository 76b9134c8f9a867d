"""One S3 server over a folder, with a key that owns it and one that owns nothing."""

from __future__ import annotations

import subprocess
from typing import Any

import boto3
from botocore.config import Config

from tests.support.servers.child import Child
from tests.support.servers.install_go import versity_program

KEY, SECRET = "TRUNKLINE", "hunter2-of-s3"
STRANGER, STRANGERS_SECRET = "STRANGER", "hunter2-of-a-stranger"


class S3Server(Child):
    """A server. `TRUNKLINE` may all, `STRANGER` nothing."""

    scheme = "http"

    @property
    def address(self) -> str:
        """Its URL."""
        return f"{self.scheme}://localhost:{self.port}"

    @property
    def options(self) -> list[str]:
        """What is set otherwise."""
        return []

    def prepare(self) -> None:
        self.make_certificate()
        for name in ("data", "users"):
            (self.folder / name).mkdir()

    def spawn(self) -> None:
        command = [str(versity_program()), "--access", KEY, "--secret", SECRET]
        command += ["--port", f"127.0.0.1:{self.port}", "--quiet", *self.options]
        self.launch([*command, "--iam-dir", str(self.folder / "users"), "posix", "data"])

    def is_ready(self) -> bool:
        self.connect().list_buckets()
        return True

    def connect(self) -> Any:
        """Return a client that may all."""
        return boto3.session.Session().client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.address,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            verify=str(self.authorities),
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        self.connect().create_bucket(Bucket=name)

    def make_stranger(self) -> None:
        """Give somebody a key, and no bucket."""
        command = [str(versity_program()), "admin", "--access", KEY, "--secret", SECRET]
        command += ["--endpoint-url", self.address, "create-user", "--role", "user"]
        command += ["--access", STRANGER, "--secret", STRANGERS_SECRET]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def read(self, bucket: str) -> dict[str, bytes]:
        """Return all objects of a bucket, key to bytes, by key."""
        client = self.connect()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


class SealedS3Server(S3Server):
    """A server with TLS, as `localhost`."""

    scheme = "https"

    @property
    def options(self) -> list[str]:
        pem = str(self.folder / "localhost.pem")
        return ["--cert", pem, "--key", pem]
