"""The confined process: `python -m dispatcher.confined.child MODULE MEMORY_BYTES PROCESSOR_S`.

`MODULE` has a function `answer(question: bytes) -> bytes`, which raises `Refused` for a question that has no answer. The process
reads questions from standard input and writes answers to standard output, each with its length in front. The first byte of an
answer says how the question ended. The process ends at the end of its input.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable
from typing import IO

from dispatcher.confined.frames import ANSWERED, NO_MEMORY, REFUSED, Refused, framed, read
from dispatcher.confined.process_limits import CAN_LIMIT, limit


def serve(
    answer: Callable[[bytes], bytes], processor_s: float, incoming: IO[bytes], outgoing: IO[bytes]
) -> None:
    """Answer questions until there are no more, each within `processor_s` of processor time."""
    while True:
        try:
            question = read(incoming, sys.maxsize)
        except EOFError:
            return
        except MemoryError:
            outgoing.write(framed(NO_MEMORY))
            outgoing.flush()
            return  # the rest of this question would be read as the next one
        outgoing.write(framed(_answered(answer, question, processor_s)))
        outgoing.flush()


def _answered(answer: Callable[[bytes], bytes], question: bytes, processor_s: float) -> bytes:
    _limit_time(processor_s)
    try:
        return ANSWERED + answer(question)
    except Refused as refused:
        return REFUSED + str(refused).encode("utf-8", "replace")
    except MemoryError:
        return NO_MEMORY
    finally:
        _limit_time(0)


def _limit_time(processor_s: float) -> None:
    """Let SIGPROF end this process once it has used this much more processor time; 0 removes the limit."""
    if CAN_LIMIT:
        signal.setitimer(signal.ITIMER_PROF, processor_s)


def main() -> int:
    """Serve the parent process."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl+C is meant for the server, but reaches this process too
    name, memory_bytes, processor_s = sys.argv[1:]
    module = importlib.import_module(name)
    limit(int(memory_bytes))
    serve(module.answer, float(processor_s), sys.stdin.buffer, sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
