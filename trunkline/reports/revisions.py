"""The playbook of a revision that may not be deployed any more, for what is rendered again."""

from __future__ import annotations

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from trunkline.catalog.database import CatalogError
from trunkline.catalog.revision_reports import read_revision
from trunkline.model.snapshot import Destination
from trunkline.reports.rendering import FindPlaybook
from trunkline.state.home import Home


def finder(home: Home) -> FindPlaybook:
    """Return what finds the JSON of a destination's revision: empty for the kind's own form."""

    def find(destination: Destination, revision: int) -> bytes | None:
        if revision == destination.revision:
            return destination.playbook
        if revision == destination.shadow_revision:
            return destination.shadow
        try:
            found = read_revision(home, destination.app, destination.id, revision)
        except (CatalogError, SQLAlchemyError):
            return None
        return b"" if found.playbook is None else msgspec.json.encode(found.playbook)

    return find
