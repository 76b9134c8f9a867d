"""A whole node that delivers everything to one receiver, for our own Python library."""

from __future__ import annotations

from pathlib import Path

from tests.support.keeping_receiver import KeepingReceiver
from tests.support.whole_node import WholeNode, webhook, workspace

SOURCE = Path(__file__).parent.parent.parent / "sdks" / "python" / "src"
SHELF = "/all"


class SdkStage(WholeNode):
    """A node and a receiver, which keeps what came."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.receiver = KeepingReceiver()
        self.shelf = self.receiver.shelf(SHELF)
        self.apply(workspace(webhook("receiver", f"{self.receiver.url}{SHELF}")))

    def until_arrived(self, message_ids: set[str], seconds: float = 60.0) -> None:
        """Wait until all of these have come to the receiver."""
        came = self.receiver.wait(lambda: message_ids <= set(self.shelf.events), seconds)
        missing = message_ids - set(self.shelf.events)
        assert came, f"{len(missing)} are missing, {sorted(missing)[:3]}\n{self.log()[-2000:]}"

    def close(self) -> None:
        super().close()
        self.receiver.close()
