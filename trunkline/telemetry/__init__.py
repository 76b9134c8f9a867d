"""What can be seen from outside: one named function for each thing worth telling.

A function here writes the log line and moves the metric together, so that the two never differ.
Metric names are `trunkline_<engine>_<noun>_<unit>[_total]`; labels come from closed sets, never an
id of an event or the text of an exception.
"""
