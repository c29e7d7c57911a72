"""Effects: archive pictures, cut grids, forward events to other systems, notify people.

An effect may run twice, since a process can die after the effect and before it is recorded. So each is harmless when repeated, or
carries an id by which the other side can recognise the repetition.
"""
