"""Whether code of operators can run on this machine, asked once and only where there is some."""

from __future__ import annotations

import asyncio
from functools import cache

from trunkline.jail.workshop import why_no_jail
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import JailSettings


@cache
def why_no_code() -> str:
    """Return why a playbook that holds code cannot run here; empty where it can."""
    return asyncio.run(why_no_jail(JailSettings(), SystemClock()))
