package querylog

import "golang.org/x/sys/unix"

// clockSynchronised asks the kernel whether something has synchronised its
// clock since boot. Where it will not say, the clock counts as synchronised.
func clockSynchronised() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err != nil || state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}
