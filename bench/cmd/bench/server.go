package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

const (
	patience  = 2 * time.Minute // for a server to load its lists
	tick      = 10 * time.Millisecond
	upstreamA = "198.51.100.7" // what the upstream says of every name
)

// A server is a process on one core that answers on a port of 127.0.0.1.
type server struct {
	name  string
	port  int
	ready time.Duration // from exec to the first right answer

	cmd      *exec.Cmd
	finished chan struct{} // closed when the process has ended
	messages string        // the file of what it prints
}

// start runs words on the cores. The process ends with the bench, whatever
// happens to that.
func start(name string, port int, cores, dir string, words, env []string) (*server, error) {
	s := &server{name: name, port: port, finished: make(chan struct{}), messages: filepath.Join(dir, name+".messages")}
	out, err := os.Create(s.messages)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	s.cmd = exec.Command("taskset", append([]string{"-c", cores}, words...)...)
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Dir = dir
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		s.cmd.Wait()
		close(s.finished)
	}()
	return s, nil
}

func (s *server) pid() int { return s.cmd.Process.Pid }

func (s *server) alive() bool {
	select {
	case <-s.finished:
		return false
	default:
		return true
	}
}

// stop ends the process, in peace where possible.
func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.finished:
	case <-time.After(10 * time.Second):
		s.cmd.Process.Kill()
		<-s.finished
	}
}

// await waits until right says so, and keeps the time it took.
func (s *server) await(ctx context.Context, begun time.Time, right func() bool) error {
	for !right() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.finished:
			return fmt.Errorf("%s ended: %s", s.name, s.lastMessages())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Since(begun) > patience {
			return fmt.Errorf("%s has no right answer after %v: %s", s.name, patience, s.lastMessages())
		}
	}
	s.ready = time.Since(begun)
	return nil
}

func (s *server) lastMessages() string {
	text, _ := os.ReadFile(s.messages)
	return strings.TrimSpace(string(text[max(0, len(text)-600):]))
}

// cpu is the time the process has had so far, user and system.
func (s *server) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid()))
	if err != nil {
		return 0, err
	}
	// The name in brackets may contain spaces; the third field follows it.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err1 := strconv.Atoi(fields[14-3])
	system, err2 := strconv.Atoi(fields[15-3])
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// memory of a process, in bytes.
type memory struct{ RSS, PSS, Anon, Peak int64 }

func (s *server) memory() (memory, error) {
	m := memory{}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid()))
	if err != nil {
		return m, err
	}
	m.RSS, m.Anon, m.Peak = kilobytes(status, "VmRSS:"), kilobytes(status, "RssAnon:"), kilobytes(status, "VmHWM:")
	if rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", s.pid())); err == nil {
		m.PSS = kilobytes(rollup, "Pss:")
	}
	return m, nil
}

// resetPeak lets the peak begin anew at what is resident now.
func (s *server) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.pid()), []byte("5"), 0)
}

func kilobytes(text []byte, key string) int64 {
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// An answer as far as the bench looks at it.
type answer struct {
	rcode int
	a     string // the first address, or empty
}

func (a answer) blocked() bool {
	return a.a == "0.0.0.0" || a.a == "" && a.rcode == dns.RcodeNameError
}

func (a answer) passed() bool { return a.a == upstreamA }

// ask asks for the A records of name, once.
func ask(port int, name string, wait time.Duration) (answer, error) {
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	return askOn(conn, name, wait)
}

// askTLS asks one question on a stream, and waits for its answer.
func askTLS(conn net.Conn) error {
	on := &dns.Conn{Conn: conn}
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	defer conn.SetDeadline(time.Time{})
	if err := on.WriteMsg(new(dns.Msg).SetQuestion("idle.bench.", dns.TypeA)); err != nil {
		return err
	}
	_, err := on.ReadMsg()
	return err
}

func askOn(conn net.Conn, name string, wait time.Duration) (answer, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	packet, err := q.Pack()
	if err != nil {
		return answer{}, err
	}
	if _, err := conn.Write(packet); err != nil {
		return answer{}, err
	}
	conn.SetReadDeadline(time.Now().Add(wait))
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
		if err != nil {
			return answer{}, err
		}
		m := new(dns.Msg)
		if m.Unpack(buf[:n]) != nil || m.Id != q.Id {
			continue // of an earlier question
		}
		a := answer{rcode: m.Rcode}
		for _, rr := range m.Answer {
			if rr, ok := rr.(*dns.A); ok {
				a.a = rr.A.String()
				break
			}
		}
		return a, nil
	}
}

// freePort is one that is free for UDP and TCP on 127.0.0.1.
func freePort() (int, error) {
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		l.Close()
		if err == nil {
			u.Close()
			return port, nil
		}
	}
	return 0, errors.New("no port is free on 127.0.0.1")
}
