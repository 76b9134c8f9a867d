"""What the engines keep on disk beside the event log, as files that anyone can open.

An engine writes its own file and no other; reports and the command line read them. Whatever is
here can be made again from the event log, except what people decided (pauses, dropped letters).
"""
