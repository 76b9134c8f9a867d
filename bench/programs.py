"""The programs that the benchmark starts beside the node: wrk, nginx, and Python of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec
from msgspec import Struct

from trunkline.kit.addresses import free_port, is_listening

T = TypeVar("T")

HERE = Path(__file__).parent
START_SECONDS = 10.0
MORE_SECONDS = 20.0  # a program that was told how long to run gets this much more

# One program, two jobs: a receiver of webhooks, and the yardstick that does nothing at all.
_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    keepalive_requests 100000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ default_type application/json; return 200 '{{"status":"success"}}'; }}
    }}
}}
"""


class NotThere(Exception):
    """A program that the workload needs is not installed; the message says how to get it."""


class Load(Struct, frozen=True):
    """What wrk counted."""

    requests: int
    micros: int
    refused: int
    broken: int
    p50_micros: int
    p99_micros: int

    @property
    def rate(self) -> float:
        """Requests a second that were answered well."""
        return (self.requests - self.refused) / (self.micros / 1e6)


def find(program: str) -> str | None:
    """Return where a program is, or None. nginx lies where only root looks."""
    path = os.environ.get("BENCH_PROGRAMS", f"{os.environ.get('PATH', '')}:/usr/sbin")
    return shutil.which(program, path=path)


def need(program: str) -> str:
    """Return where a program is. Raises `NotThere`."""
    found = find(program)
    if found is None:
        raise NotThere(f"{program} is not installed; `apt-get install -y {program}`")
    return found


def run_wrk(
    url: str, arguments: tuple[str, ...], seconds: float, connections: int, script: str = "load.lua"
) -> Load:
    """Load a server, with as many requests under way as there are connections."""
    done = subprocess.run(
        [
            need("wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s",
            "-s", str(HERE / script), url, "--", *arguments,
        ],
        capture_output=True, text=True, timeout=seconds + MORE_SECONDS, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"wrk failed: {(done.stderr or done.stdout).strip()[-500:]}")
    load = msgspec.json.decode(lines[-1], type=Load)
    if load.refused or load.broken:
        raise RuntimeError(
            f"{url}: {load.refused} requests refused, {load.broken} broken; no figure"
        )
    return load


class Program:
    """A server of its own process, from `with` to its end; stopped by its process id."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command = command
        self._port = port
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Program:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=HERE.parent
            )
        deadline = time.monotonic() + START_SECONDS
        while not is_listening("127.0.0.1", self._port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                said = self._log.read_text("utf-8", "replace")[-500:]
                raise RuntimeError(f"{self._command[0]} does not listen: {said}")
            time.sleep(0.02)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def nginx(folder: Path) -> Program:
    """Return an nginx that reads what it is sent and answers 200."""
    place = folder / "nginx"
    place.mkdir(parents=True, exist_ok=True)
    port = free_port("127.0.0.1")
    config = place / "nginx.conf"
    config.write_text(_NGINX.format(folder=place, port=port), "utf-8")
    command = [need("nginx"), "-p", str(place), "-e", str(place / "nginx.log"), "-c", str(config)]
    return Program(command, port, place / "said.log")


def server(job: str, folder: Path) -> Program:
    """Return one of the servers of `bench/servers.py`."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "bench.servers", job, str(port)]
    return Program(command, port, folder / f"{job}.log")


def granian(folder: Path) -> Program:
    """Return Granian with `answer_rsgi` of `bench/servers.py`, one process with uvloop."""
    port = free_port("127.0.0.1")
    options = f"--interface rsgi --loop uvloop --http 1 --no-ws --log-level error --port {port}"
    command = [sys.executable, "-m", "granian", *options.split(), "bench.servers:answer_rsgi"]
    return Program(command, port, folder / "granian.log")


def run_sender(job: str, answer: type[T], *arguments: object) -> T:
    """Run one of the senders of `bench/senders.py` to its end and return what it counted."""
    return answer_of(start_sender(job, *arguments), answer)


def start_sender(job: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start one of the senders; its answer is a line of JSON."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench.senders", job, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        cwd=HERE.parent,
    )  # fmt: skip


def answer_of(sender: subprocess.Popen[bytes], answer: type[T]) -> T:
    """Wait for a sender's end and return what it counted. Raises `RuntimeError`."""
    said, complaint = sender.communicate()
    if sender.returncode:
        raise RuntimeError(f"a sender failed: {complaint.decode()[-800:]}")
    return msgspec.json.decode(said, type=answer)


def fetch(url: str) -> bytes:
    """Return what a server of ours answers to GET."""
    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\nHost: bench\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    return answer.partition(b"\r\n\r\n")[2]
