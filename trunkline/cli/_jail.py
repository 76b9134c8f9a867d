"""Loading the code of a playbook before it is kept, in the same jail that will run it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from trunkline.jail.workshop import JailWorkshop
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import JailSettings
from trunkline.kit.shaping import CodeHeld, Work
from trunkline.playbook.program import PlaybookError, Problem


def load_code(playbook: bytes, params: Mapping[str, str]) -> Sequence[Problem]:
    """Load a playbook that holds code in a jail; return what is wrong with it, or with the jail."""
    return asyncio.run(_load(Work("check", playbook, params)))


async def _load(work: Work) -> Sequence[Problem]:
    workshop = JailWorkshop(JailSettings(), SystemClock())
    try:
        shaper = await workshop.open(work)
        await shaper.close()
    except PlaybookError as error:
        return error.problems
    except CodeHeld as held:
        return (Problem("", f"holds code, which cannot run here: {held}"),)
    finally:
        await workshop.close()
    return ()
