"""Kits: what a vendor needs, as data: metadata, connection, playbook; and requests made of it.

    kit.py (a kit, checked) ── connection.py, params.py, auth_spec.py, answers.py: what it says
    contract.py, test_spec.py, fixture_spec.py: what it says of the vendor's rules, and of itself
    filled.py (its params filled in) ── envelope.py, endpoint.py, contract_check.py: ready to run
    exchange.py (a batch on its way) ── parcels.py, parcel_outcomes.py, draft.py, request.py,
        auth.py, tokens.py: what is sent
    fixtures.py, test_request.py: a kit tried out ── shipped.py, vendors/: those that come along

Pure: `destinations/http_kit.py` sends what is made here, `catalog/kits.py` keeps kits.
"""
