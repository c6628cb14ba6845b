package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Also behind threads that were made later.
func TestAllOtherThreadsStepBackBehindThoseThatReadQueries(t *testing.T) {
	ours, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours = 20 - ours // as the system call has it
	if ours > 9 {
		t.Skipf("the nice value of this test is %d: there is no room behind it", ours)
	}
	p := startProcess(t, t.TempDir(), nil, "--listen-dns", "127.0.0.1:0", "--upstreams", "127.0.0.1:9")
	for i := range 50 { // to be logged, and asked of an upstream
		p.ask(fmt.Sprintf("name-%d.example.", i))
	}
	got, all := map[string]int{}, 0
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		_, fields, _ := strings.Cut(string(stat), ") ")
		got[strings.Fields(fields)[16]]++ // the nice value: proc_pid_stat(5)
		all++
	}
	readers := runtime.NumCPU()
	want := map[string]int{fmt.Sprint(ours): readers, fmt.Sprint(ours + 10): all - readers}
	if !maps.Equal(got, want) {
		t.Errorf("threads by nice value are %v, want %v", got, want)
	}
}
