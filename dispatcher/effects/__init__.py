"""What receivers do to the world outside: keep pictures, cut them, tell other systems, tell people.

They may run twice (a process can die between the doing and the remembering), so each is harmless when repeated, or
carries an id by which the other side can tell.
"""
