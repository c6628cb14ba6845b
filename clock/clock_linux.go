package clock

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Synchronised asks the kernel whether something has synchronised its clock since
// boot. Where it will not say, the clock counts as synchronised.
func Synchronised() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err != nil || state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}

// Slept returns how long the machine has slept since boot.
func Slept() time.Duration {
	var boot, awake unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - awake.Nano()).Round(time.Millisecond)
}

// Read reads the clocks.
func Read() Reading {
	r := Reading{Wall: time.Now(), Synchronised: Synchronised()}
	var boot unix.Timespec
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err == nil && unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) == nil {
		r.Boot, r.SinceBoot = strings.TrimSpace(string(id)), time.Duration(boot.Nano())
	}
	return r
}
