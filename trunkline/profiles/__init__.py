"""EVENTS → the profile store: who is who, and what is known of them."""
