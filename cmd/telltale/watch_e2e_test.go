//go:build e2e && !small

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A tmuxSession is a terminal of its own, in which a person types.
type tmuxSession struct {
	t      *testing.T
	socket string
}

func startTmux(t *testing.T, width, height int, env []string, command string) *tmuxSession {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("skipped: tmux is not installed")
	}
	s := &tmuxSession{t, filepath.Join(t.TempDir(), "tmux")}
	c := exec.Command("tmux", "-f", "/dev/null", "-S", s.socket, "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), command)
	c.Env = append(os.Environ(), env...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v\n%s", err, out)
	}
	t.Cleanup(func() { exec.Command("tmux", "-S", s.socket, "kill-server").Run() })
	return s
}

func (s *tmuxSession) tmux(args ...string) string {
	s.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// keys types keys, in tmux's words.
func (s *tmuxSession) keys(keys ...string) { s.tmux(append([]string{"send-keys"}, keys...)...) }

// screen is what is to be seen; with colours as a terminal is told them.
func (s *tmuxSession) screen(colours bool) string {
	if colours {
		return s.tmux("capture-pane", "-p", "-e")
	}
	return s.tmux("capture-pane", "-p")
}

// shows waits until all of want is to be seen.
func (s *tmuxSession) shows(want ...string) {
	s.t.Helper()
	missing := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		missing = ""
		seen := s.screen(false)
		for _, w := range want {
			if not, ok := strings.CutPrefix(w, "!"); ok == strings.Contains(seen, not) || !ok && !strings.Contains(seen, w) {
				missing = w
			}
		}
		if missing == "" {
			return
		}
	}
	s.t.Fatalf("%q is not to be seen on\n%s", missing, s.screen(false))
}

// A person watches a server in a terminal, makes it narrow, and leaves: the terminal is as
// it was.
func TestE2EWatchInATerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "#@ vendor=Acme product=TV tier=telemetry source=https://example.org/\ntracker.example\n")
	p := startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0", "--upstreams", "127.0.0.1:1")
	ask := func(name string) {
		t.Helper()
		if err := p.ask(name); err != nil {
			t.Fatal(err)
		}
	}
	ask("first.tracker.example.")
	ask(`evil\027[41m.tracker.example.`)
	env := []string{asTelltale + "=1", "XDG_RUNTIME_DIR=" + dir, "LC_ALL=C.UTF-8"}
	s := startTmux(t, 100, 24, env, fmt.Sprintf("echo before; %s watch; echo ended $?; exec cat", os.Args[0]))
	s.shows("[Rows]", "first.tracker.example", `evil\027[41m`, "Acme", "? help")
	if seen := s.screen(true); !strings.Contains(seen, "\x1b[31m") && !strings.Contains(seen, "31m") || strings.Contains(seen, "\x1b[41m") {
		t.Errorf("a blocked row is not red, or a name coloured the screen:\n%q", seen)
	}
	ask("second.tracker.example.")
	s.shows("second.tracker.example")

	s.keys("/", "first", "Enter")
	s.shows("filter: first", "first.tracker.example", "!second.tracker.example")
	s.keys("Enter")
	s.shows("Recorded", "ads:2", "Answered NOERROR (policy)")
	s.keys("q")
	s.keys("a")
	s.shows("Allow for (e)veryone, (d)evice")
	s.keys("e")
	s.shows("allow first.tracker.example for everyone")
	own, err := os.ReadFile(filepath.Join(dir, "lists", "own.txt"))
	if err != nil || !strings.Contains(string(own), "@@first.tracker.example") {
		t.Errorf("own.txt: %v\n%s", err, own)
	}
	s.keys("Escape")
	s.shows("second.tracker.example")
	s.keys("Space")
	s.shows("paused")
	ask("third.tracker.example.")
	s.shows("paused, 1 new", "!third.tracker.example")
	s.keys("Space")
	s.shows("third.tracker.example", "!paused")
	s.keys("Tab")
	s.shows("[Devices]", "this-host")
	s.keys("Tab")
	s.shows("[Vendors]", "Acme")
	s.keys("Tab")
	s.shows("[Names]", "third.tracker.example")
	s.keys("1")
	s.tmux("resize-window", "-x", "40", "-y", "10")
	s.shows("[Row]", "ird.tracker.example", "!verdict")
	s.tmux("resize-window", "-x", "120", "-y", "30")
	s.shows("[Rows]", "verdict", "whose")
	s.keys("?")
	s.shows("Keys", "words that a row must have")
	s.keys("q", "q")
	s.shows("before", "ended 0", "![Rows]")

	s = startTmux(t, 80, 24, append(env, "NO_COLOR=1"), fmt.Sprintf("%s watch; echo ended $?; exec cat", os.Args[0]))
	s.shows("[Rows]", "third.tracker.example")
	if seen := s.screen(true); strings.Contains(seen, "31m") {
		t.Errorf("there are colours although NO_COLOR is set:\n%q", seen)
	}
	p.stop()
	s.shows("no server runs", "third.tracker.example")
	s.keys("C-c")
	s.shows("ended 0")
}

// Ended by a signal, it gives the terminal back.
func TestE2EWatchIsEndedByASignal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startProcess(t, dir, nil, "--listen-dns", "127.0.0.1:0", "--upstreams", "127.0.0.1:1")
	pid := filepath.Join(dir, "pid")
	s := startTmux(t, 80, 10, []string{asTelltale + "=1", "XDG_RUNTIME_DIR=" + dir},
		fmt.Sprintf("echo before; sh -c 'echo $$ > %s; exec %s watch'; echo ended $?; exec cat", pid, os.Args[0]))
	s.shows("Nobody asked yet")
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(number, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.shows("before", "ended 0")
	p.stop()
}
