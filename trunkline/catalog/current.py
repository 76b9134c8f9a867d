"""The catalog as it is now, read once, for commands."""

from __future__ import annotations

from trunkline.catalog.database import read_session
from trunkline.catalog.keys import find_app
from trunkline.catalog.snapshots import EMPTY, build_snapshot
from trunkline.catalog.store import read_stored, version_row
from trunkline.catalog.vault import open_vault
from trunkline.kit.clock import Clock
from trunkline.model.snapshot import Snapshot
from trunkline.state.home import Home


def load_snapshot(home: Home) -> Snapshot:
    """Return the newest snapshot; the empty one where nothing was applied.

    Raises `CatalogError`, `VaultError`, or SQLAlchemy's errors where the database cannot be read.
    """
    with read_session(home) as session:
        if session is None:
            return EMPTY
        may_create = version_row(session).version == 0
        return build_snapshot(session, open_vault(home.key_file, may_create=may_create))


def reveal_key(home: Home, clock: Clock, app: str, name: str) -> str | None:
    """Return the secret of an app's API key in clear, or None where the catalog has none.

    Raises as `load_snapshot` does.
    """
    with read_session(home) as session:
        if session is None:
            return None
        vault = open_vault(home.key_file, may_create=False)
        spec = find_app(read_stored(session, vault, clock.now_ms()).workspace, app)
    found = next((key for key in spec.keys if key.name == name), None)
    return found.secret.text if found is not None and found.secret is not None else None
