"""Flow control that pauses reading while a request waits for its turn."""

from __future__ import annotations

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """uvicorn's flow control, except that reading stays paused while bytes wait for their turn (`is_held`)."""

    is_held = False

    def resume_reading(self) -> None:
        """Resume reading unless bytes wait for their turn."""
        if self.read_paused and not self.is_held:
            self.read_paused = False
            self._transport.resume_reading()
