package main

import (
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"

	"telltale/querylog"
)

// By how much of itself the heap may grow before the garbage collector runs, in
// percent. A start fills a heap that is nearly empty: collected at each third more,
// it takes more CPU, and collected late it takes more memory than is ever needed
// again: with the shipped lists alone the peak is 45 MB at 250, and 39 MB at 130, for
// 0.02 s. Afterwards nearly all that lives has no pointers, and answering leaves little
// behind: collecting often costs nothing that shows.
const (
	startGrowth = 120
	growth      = 30
)

// grow says how much the heap may grow, unless GOGC of the environment does.
func grow(env []string, percent int) {
	if !isSet(env, "GOGC") {
		debug.SetGCPercent(percent)
	}
}

// boundMemory makes the garbage collector work hardest before a small machine, or
// a small container, runs out of memory. A half of that is left to what Go does
// not count: mapped lists, the kernel's buffers, and others. GOMEMLIMIT of the
// environment is stronger.
func boundMemory(env []string, logger *slog.Logger) {
	if isSet(env, "GOMEMLIMIT") {
		return
	}
	const least = 24 << 20 // below it the collector would do nothing else
	if bound := memoryBound(); bound > 0 {
		debug.SetMemoryLimit(max(bound/2, least))
		logger.Debug("memory is bounded", "machine", bound, "limit", max(bound/2, least))
	}
}

// settle gives back what the start needed and nothing needs any more, and keeps
// the heap small from now on, unless GOGC of the environment says when to collect.
func settle(env []string) {
	if isSet(env, "GOGC") {
		return
	}
	grow(env, growth)
	debug.FreeOSMemory()
}

// logMemory returns how many bytes the log's rows may take until they are stored, on a
// machine with so much memory (0: not known). Rows with room wait for others that are
// alike, up to a minute: with 100,000 names asked again and again, 6 MB make windows of a
// second, 32 MB make windows of half a minute, and a tenth of the rows. A home fills
// neither, and what is not filled is not taken.
func logMemory(machine int64) int {
	const most = 32 << 20
	return int(min(max(machine/64, querylog.DefaultMaxMemory), most))
}

func isSet(env []string, name string) bool {
	return slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
}
