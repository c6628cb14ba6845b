package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// memoryBound returns how much memory this process may use, in bytes: the least
// of the limits of its control groups (v1 or v2) and the machine's RAM. 0 where
// nothing can be learned.
func memoryBound() int64 {
	bound := int64(0)
	consider := func(n int64) {
		if n > 0 && (bound == 0 || n < bound) {
			bound = n
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		consider(int64(info.Totalram) * int64(info.Unit))
	}
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for _, n := range groupLimits(string(groups), "/sys/fs/cgroup") {
		consider(n)
	}
	return bound
}

// groupLimits returns the memory limits that hold for a process in groups, as
// /proc/self/cgroup lists them, by the files below root. A limit holds for all
// groups below, so the parents are asked, too.
func groupLimits(groups, root string) (limits []int64) {
	for line := range strings.Lines(groups) {
		// ID:CONTROLLERS:PATH; v2 is 0::PATH (cgroups(7))
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		dir, file := root, "memory.max"
		switch {
		case parts[1] == "memory":
			dir, file = filepath.Join(root, "memory"), "memory.limit_in_bytes"
		case parts[0] != "0" || parts[1] != "":
			continue
		}
		for path := filepath.Clean("/" + parts[2]); ; path = filepath.Dir(path) {
			if n, ok := readLimit(filepath.Join(dir, path, file)); ok {
				limits = append(limits, n)
			}
			if path == "/" {
				break
			}
		}
	}
	return limits
}

// readLimit reads a limit; "max", and what v1 writes for no limit, are none.
func readLimit(file string) (int64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	const none = 1 << 60
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil && n > 0 && n < none
}
