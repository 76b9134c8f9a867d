"""The contracts: what an engine knows of a component, and what a component may count on.

An engine imports a contract from here; `node` looks the component up on its shelf by kind.
"""
