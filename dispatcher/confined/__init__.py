"""Processes strangers' input in a separate process with little memory and time, which is kept between questions.

Within a process, a runaway decoder or template cannot be stopped: C code holds the interpreter, and the memory that it takes is
missing everywhere else. So such work runs in a confined process, which gets no secrets and can at worst end itself.
"""
