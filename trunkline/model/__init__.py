"""The words of Trunkline as types: events, records, outcomes, refusals, the catalog's snapshot.

Pure data. Nothing here reads a clock, a file or a socket, and nothing here imports another room.
"""
