"""Kits: what a vendor needs, as data: metadata, connection, playbook; and requests made of it.

    kit.py (a kit, checked) ── connection.py, params.py, auth_spec.py, answers.py: what it says
    filled.py (its params filled in) ── draft.py, request.py, auth.py, tokens.py: what is sent
    parcels.py, parcel_outcomes.py: a batch in several requests

Pure: `destinations/http_kit.py` sends what is made here, `catalog/kits.py` keeps kits.
"""
