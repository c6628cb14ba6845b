package main

import (
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
)

// boundMemory makes the garbage collector work harder: it lets the heap grow by a
// half, not to its double, which costs little where so little is allocated; and
// hardest before a small machine, or a small container, runs out of memory. A
// half of that is left to what Go does not count: mapped lists, the kernel's
// buffers, and others. GOGC and GOMEMLIMIT of the environment are stronger.
func boundMemory(env []string, logger *slog.Logger) {
	const growth = 50 // percent
	if !isSet(env, "GOGC") {
		debug.SetGCPercent(growth)
	}
	if isSet(env, "GOMEMLIMIT") {
		return
	}
	const least = 24 << 20 // below it the collector would do nothing else
	if bound := memoryBound(); bound > 0 {
		debug.SetMemoryLimit(max(bound/2, least))
		logger.Debug("memory is bounded", "machine", bound, "limit", max(bound/2, least))
	}
}

func isSet(env []string, name string) bool {
	return slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
}
