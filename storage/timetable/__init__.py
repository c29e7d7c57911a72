"""The timetable: when each rule that runs by the clock is due next, and up to when its times are decided."""
