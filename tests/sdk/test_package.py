"""`pip install ./sdks/python` gives a typed package that depends on nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import trunkline_sdk

from tests.support.python_sdk_stage import SOURCE

FOLDER = SOURCE.parent
STORY = """
from trunkline_sdk import TestClient
client = TestClient()
client.track("u", "Seen")
print(len(client.events))
"""


def test_the_version_is_said_alike_everywhere() -> None:
    told = f'version = "{trunkline_sdk.__version__}"'
    assert told in (FOLDER / "pyproject.toml").read_text("utf-8")
    user_agent = trunkline_sdk.transport.USER_AGENT
    assert user_agent == f"trunkline-sdk-python/{trunkline_sdk.__version__}"
    assert trunkline_sdk.calls.LIBRARY["version"] == trunkline_sdk.__version__


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pip_install_gives_a_typed_package_that_imports_in_a_bare_environment(
    tmp_path: Path,
) -> None:
    source, python = tmp_path / "source", tmp_path / "bare" / "bin" / "python"
    shutil.copytree(FOLDER, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    wheel = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check")
    done = run(*wheel, "-w", tmp_path, source)
    unreachable = "No matching distribution" in done.stderr or "Connection" in done.stderr
    if done.returncode and unreachable and os.environ.get("CI") != "true":
        pytest.skip(f"setuptools, which builds it, cannot be downloaded: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.glob("*.whl")  # itself alone: it depends on nothing
    listed = zipfile.ZipFile(made).namelist()
    assert "trunkline_sdk/py.typed" in listed
    metadata = zipfile.ZipFile(made).read(next(n for n in listed if n.endswith("METADATA")))
    assert b"Requires-Dist" not in metadata and b"Requires-Python: >=3.9" in metadata
    venv.create(tmp_path / "bare", with_pip=True)
    done = run(python, "-m", "pip", "install", "--quiet", "--no-index", made)
    assert done.returncode == 0, done.stderr
    done = run(python, "-I", "-c", STORY)
    assert (done.stdout, done.stderr) == ("1\n", "")
