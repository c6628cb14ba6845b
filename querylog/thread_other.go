//go:build !linux

package querylog

import "time"

var began = time.Now()

// threadTime is the time that has gone by, which is as near as one gets here to
// the processor time of a thread.
func threadTime() time.Duration { return time.Since(began) }
