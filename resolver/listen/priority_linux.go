package listen

import (
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// niceDelta is how far the other threads' nice value stands above a reader's: by
// sched(7) a thread gets a tenth of what one 10 below it gets.
const niceDelta = 10

// LowerOtherThreads lowers the priority of every thread of the process but those
// that read UDP queries, also of those that come later, which inherit it. On a
// machine of one core a reader has to compete with the log's writer, a list
// being compiled and as many of the collector's workers as GOMAXPROCS allows; once it
// has used up an equal share it would wait for whole time slices of theirs. It
// needs no privilege, and what is not permitted is left as it is.
func (l *Listeners) LowerOtherThreads() {
	var readers []int
	for _, one := range l.all {
		for _, conn := range one.udp {
			select {
			case thread := <-conn.thread:
				readers = append(readers, thread)
			case <-l.stopped.Done():
				return
			}
		}
	}
	if len(readers) == 0 {
		return
	}
	ours, err := nice(readers[0])
	if err != nil {
		return
	}
	// A thread that was just being made by one not yet asked is found next time.
	for done := readers; ; {
		left := slices.DeleteFunc(threads(), func(id int) bool { return slices.Contains(done, id) })
		if len(left) == 0 {
			return
		}
		for _, id := range left {
			unix.Setpriority(unix.PRIO_PROCESS, id, min(ours+niceDelta, 19))
		}
		done = append(done, left...)
	}
}

// threads returns the ids of this process's threads.
func threads() (ids []int) {
	entries, _ := os.ReadDir("/proc/self/task")
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// nice returns a thread's nice value, -20 to 19.
func nice(thread int) (int, error) {
	priority, err := unix.Getpriority(unix.PRIO_PROCESS, thread)
	return 20 - priority, err // the system call's own scale: getpriority(2), C library/kernel differences
}
