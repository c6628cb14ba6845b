package metrics

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// AddProcess adds what the process takes of its machine. What cannot be learned is left out.
func AddProcess(p *Page) {
	p.Add(&Goroutines, float64(runtime.NumGoroutine()))
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) == nil {
		p.Add(&CPUTime, time.Duration(used.Utime.Nano()+used.Stime.Nano()).Seconds())
	}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			if pages, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				p.Add(&ResidentBytes, float64(pages)*float64(os.Getpagesize()))
			}
		}
	}
	if dir, err := os.Open("/proc/self/fd"); err == nil {
		if names, err := dir.Readdirnames(-1); err == nil {
			p.Add(&OpenFiles, float64(len(names)-1)) // this one is closed at once
		}
		dir.Close()
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		p.Add(&FilesLimit, float64(limit.Cur))
	}
}
