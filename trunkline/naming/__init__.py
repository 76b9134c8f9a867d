"""EVENTS → the catalog: events that senders named before anybody had defined them."""
