package querylog

import (
	"time"

	"golang.org/x/sys/unix"
)

// clockSynchronised asks the kernel whether something has synchronised its
// clock since boot. Where it will not say, the clock counts as synchronised.
func clockSynchronised() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err != nil || state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}

// suspended returns how long the machine has slept since boot.
func suspended() time.Duration {
	var boot, awake unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - awake.Nano()).Round(time.Millisecond)
}
