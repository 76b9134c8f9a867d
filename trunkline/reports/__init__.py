"""What became of events, read from what the engines wrote, while a node runs or not.

Nothing here writes, and nothing here is asked on the path of an event.
"""
