"""Simulators: what vendors demand of requests and how they answer, on good days and bad.

Each is written from the vendor's own contract, so that a kit is held against the vendor and not
against itself. Pure: `server.py` gives them HTTP.
"""
