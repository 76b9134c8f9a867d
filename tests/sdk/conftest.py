"""The library stands beside the project, as a user's would; here it is imported from its source."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.support.python_sdk_stage import SOURCE, SdkStage
from tests.support.scripted_node import ScriptedNode

if str(SOURCE) not in sys.path:
    sys.path.insert(0, str(SOURCE))


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkStage]:
    stage = SdkStage(tmp_path_factory.mktemp("sdk") / "home")
    try:
        stage.node.start()
        yield stage
    finally:
        stage.close()


@pytest.fixture
def scripted() -> Iterator[ScriptedNode]:
    node = ScriptedNode()
    try:
        yield node
    finally:
        node.close()
