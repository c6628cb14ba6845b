package main

import (
	"log/slog"
	"runtime/debug"
)

// boundMemory makes the garbage collector work harder before a small machine, or
// a small container, runs out of memory. A half is left to what Go does not
// count: mapped lists, the kernel's buffers, and others. GOMEMLIMIT of the
// environment is stronger.
func boundMemory(env []string, logger *slog.Logger) {
	for _, v := range env {
		if len(v) > len("GOMEMLIMIT=") && v[:len("GOMEMLIMIT=")] == "GOMEMLIMIT=" {
			return
		}
	}
	const least = 24 << 20 // below it the collector would do nothing else
	if bound := memoryBound(); bound > 0 {
		debug.SetMemoryLimit(max(bound/2, least))
		logger.Debug("memory is bounded", "machine", bound, "limit", max(bound/2, least))
	}
}
