"""Runs a page of documentation: its blocks in order, in one shell, as a reader would type them.

Each page gets a folder with what a checkout has, the ports it names replaced by free ones, and this
Python and `trunkline` first in the PATH. What is left running ends with the session.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType

from tests.support.pages import ROOT, Block, Page, fits
from trunkline.kit.addresses import free_port

BLOCK_SECONDS = 180.0
EVENTUALLY_SECONDS = 90.0
STOP_SECONDS = 20.0
_PORT = re.compile(r"((?<=127\.0\.0\.1)(?::|\", |\", port: )|(?<=--)port )(\d{4,5})\b")
# -o: the virtual environment is the one this test runs in; make does not have to look after it.
PREAMBLE = 'make() { command make -o .venv/.ready "$@"; }; export -f make; set -E; FAILED=0\n'


class PageError(AssertionError):
    """A block did not do what the page says."""


class Background:
    """A block that is left running in a process group of its own."""

    def __init__(self, text: str, folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / f".background-{uuid.uuid4().hex}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", PREAMBLE + text], cwd=folder, env=environment, stdout=log,
                stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def stop(self) -> None:
        for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(seconds)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


class Session:
    """One shell for one page."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._ports: dict[str, str] = {}
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("TRUNKLINE_", "DEMO_"))},
            **environment,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TRUNKLINE_GATEWAY__LISTEN": f"127.0.0.1:{self._port('8080')}",
            "TRUNKLINE_CONSOLE__LISTEN": f"127.0.0.1:{self._port('8081')}",
            "DEMO_PORTS": ",".join(self._port(port) for port in ("8080", "8081", "8090")),
        }
        # Some machines forbid it; then every `trunkline` of a page would compile itself again.
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._backgrounds: list[Background] = []
        for entry in ROOT.iterdir():
            if not entry.name.startswith(".") and not entry.name.endswith(".egg-info"):
                (folder / entry.name).symlink_to(entry)
        (folder / ".venv").symlink_to(sys.prefix)

    def __enter__(self) -> Session:
        self._shell = subprocess.Popen(
            ["bash"], cwd=self._folder, env=self._environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self._tell(PREAMBLE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for background in reversed(self._backgrounds):
            background.stop()
        try:
            os.killpg(self._shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._shell.wait()
        for pipe in (self._shell.stdin, self._shell.stdout):
            if pipe is not None:
                pipe.close()

    def run(self, page: Page) -> None:
        """Run a page. Raises `PageError` with the line of the block that failed."""
        if page.beside:
            self._leave_running(page.beside, "A demo sender sends")
        output = ""
        for block, after in zip(page.blocks, (*page.blocks[1:], None), strict=True):
            expected = self._with_ports(after.text) if after and after.role == "output" else None
            try:
                output = self._play(block, output, expected)
            except PageError as error:
                raise PageError(f"{page.path.name}:{block.line}: {error}") from None

    def _play(self, block: Block, before: str, expected: str | None) -> str:
        text = self._with_ports(block.text)
        if block.role == "file":
            (self._here() / block.argument).write_text(text + "\n", "utf-8")
        elif block.role == "background":
            return self._leave_running(text, block.argument)
        elif block.role == "eventually":
            return self._run_until(text, expected or "")
        elif block.role in ("run", "fails"):
            return self._run(text, must_fail=block.role == "fails")
        elif block.role == "output" and not fits(text, before):
            raise PageError(f"it printed\n{before}\nbut the page says\n{text}")
        return before

    def _run_until(self, text: str, expected: str) -> str:
        deadline = time.monotonic() + EVENTUALLY_SECONDS
        while True:
            output, failed = self._try(text)
            if (fits(expected, output) and not failed) or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        if failed:
            raise PageError(f"`{text}` ended with {failed}:\n{output}")
        return output

    def _leave_running(self, text: str, until: str) -> str:
        background = Background(text, self._here(), self._environment)
        self._backgrounds.append(background)
        deadline = time.monotonic() + BLOCK_SECONDS
        while until not in background.output():
            if background.process.poll() is not None or time.monotonic() > deadline:
                raise PageError(f"{text!r} did not print {until!r}:\n{background.output()}")
            time.sleep(0.1)
        return background.output()

    def _run(self, text: str, *, must_fail: bool) -> str:
        output, failed = self._try(text)
        if (failed != 0) != must_fail:
            raise PageError(f"`{text}` ended with {failed}:\n{output}")
        return output

    def _try(self, text: str) -> tuple[str, int]:
        mark = uuid.uuid4().hex
        self._tell(f"trap 'FAILED=$?' ERR; FAILED=0\n{text}\n")
        return self._until_mark(mark)

    def _here(self) -> Path:
        mark = uuid.uuid4().hex
        self._tell("pwd\n")
        return Path(self._until_mark(mark)[0].strip())

    def _until_mark(self, mark: str) -> tuple[str, int]:
        assert self._shell.stdout is not None
        self._tell(f"echo; echo {mark} $FAILED\n")
        killer = threading.Timer(BLOCK_SECONDS, self._shell.kill)
        killer.start()
        lines: list[str] = []
        try:
            for line in self._shell.stdout:
                if line.startswith(mark):
                    return "".join(lines).removesuffix("\n"), int(line.split()[1] or 0)
                lines.append(line)
        finally:
            killer.cancel()
        raise PageError(f"the shell ended, or took over {BLOCK_SECONDS:.0f} s:\n{''.join(lines)}")

    def _tell(self, text: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(text)
        self._shell.stdin.flush()

    def _with_ports(self, text: str) -> str:
        return _PORT.sub(lambda found: found[1] + self._port(found[2]), text)

    def _port(self, named: str) -> str:
        if named not in self._ports:
            self._ports[named] = str(free_port("127.0.0.1"))
        return self._ports[named]
