//go:build e2e

package querylog

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestE2EASuspendedProcessSaysSo stops a process that keeps a log, and continues
// it: the ledger has the interval.
func TestE2EASuspendedProcessSaysSo(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "QUERYLOG_TEST_CHILD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	first := make(chan bool, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			select {
			case first <- true:
			default:
			}
		}
	}()
	<-first
	time.Sleep(time.Second)
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	time.Sleep(pauseNoted + 2*time.Second)
	continued := time.Now()
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		for _, e := range events(t, dir) {
			if e.Kind != KindSuspended {
				continue
			}
			if e.Since.After(stopped.Add(time.Second)) || e.Until.Before(continued.Add(-time.Second)) {
				t.Errorf("got %v to %v, want all of %v to %v", e.Since, e.Until, stopped, continued)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got ledger %v, want a line about the interval", events(t, dir))
		}
		time.Sleep(100 * time.Millisecond)
	}
}
