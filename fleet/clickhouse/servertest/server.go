// Package servertest is beside tests: ClickHouse servers of this machine, each in a directory of its own and on
// loopback alone.
package servertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Server is one that runs.
type Server struct {
	Host string // host:port of the HTTP interface

	t    testing.TB
	o    Options
	dir  string
	exe  string
	cmd  *exec.Cmd
	out  *strings.Builder // of cmd
	over chan struct{}    // closed when cmd is
}

// Options are what a server is to know of others.
type Options struct {
	Keeper    string // host:port of ZooKeeper; "" for none
	Namespace string // of the network, in which it runs; "" for that of the test
	Address   string // of IPv4, at which it answers; "" for loopback
}

// command returns one that runs in the namespace. Its process is the server's.
func (o *Options) command(words ...string) *exec.Cmd {
	if o.Namespace != "" {
		words = append([]string{"ip", "netns", "exec", o.Namespace}, words...)
	}
	return exec.Command(words[0], words[1:]...)
}

func (o *Options) address() string { return cmp.Or(o.Address, "127.0.0.1") }

// Start starts a server, and ends it with the test. Where there is no ClickHouse, the test is skipped, or fails with CI set.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	exe, err := find()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := &Server{t: t, o: o, dir: t.TempDir(), exe: exe}
	for range 5 { // the port may be taken before the server has it
		s.configure(freePort(t), freePort(t), freePort(t))
		if err = s.run(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// answersWithin is how long a server may take to start, on a machine with far too much else to do.
const answersWithin = 5 * time.Minute

func find() (string, error) {
	for _, name := range []string{"clickhouse-server", "/usr/sbin/clickhouse-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no clickhouse-server (Debian: clickhouse-server)")
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

const users = `<yandex><profiles><default><max_memory_usage>8000000000</max_memory_usage></default>
<readonly><readonly>1</readonly></readonly></profiles>
<users><default><password></password><networks><ip>NETWORK</ip></networks><profile>default</profile><quota>default</quota></default>
<reader><password>secret</password><networks><ip>NETWORK</ip></networks><profile>default</profile><quota>default</quota></reader></users>
<quotas><default><interval><duration>3600</duration><queries>0</queries><errors>0</errors><result_rows>0</result_rows><read_rows>0</read_rows><execution_time>0</execution_time></interval></default></quotas></yandex>
`

func (s *Server) configure(port, native, between int) { // replicas are named by the native port
	s.t.Helper()
	keeper := ""
	if s.o.Keeper != "" {
		host, p, _ := net.SplitHostPort(s.o.Keeper)
		keeper = fmt.Sprintf(`<zookeeper><node><host>%s</host><port>%s</port></node><session_timeout_ms>5000</session_timeout_ms></zookeeper>`, host, p)
	}
	network := "127.0.0.1"
	if s.o.Address != "" {
		network = s.o.Address + "/24"
	}
	config := fmt.Sprintf(`<yandex><logger><level>warning</level><log>%[1]s/log</log><errorlog>%[1]s/err</errorlog></logger>
<listen_host>%[6]s</listen_host><http_port>%[2]d</http_port><tcp_port>%[5]d</tcp_port><interserver_http_port>%[3]d</interserver_http_port><interserver_http_host>%[6]s</interserver_http_host>
<path>%[1]s/data/</path><tmp_path>%[1]s/tmp/</tmp_path><user_files_path>%[1]s/files/</user_files_path>
<users_config>users.xml</users_config><default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>268435456</mark_cache_size><max_concurrent_queries>100</max_concurrent_queries>%[4]s</yandex>
`, s.dir, port, between, keeper, native, s.o.address())
	for name, text := range map[string]string{"config.xml": config, "users.xml": strings.ReplaceAll(users, "NETWORK", network)} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	s.Host = net.JoinHostPort(s.o.address(), strconv.Itoa(port))
}

// run starts the server and waits until it answers.
func (s *Server) run() error {
	if err := s.begin(); err != nil {
		return err
	}
	return s.await()
}

func (s *Server) begin() error {
	s.cmd = s.o.command(s.exe, "--config-file="+filepath.Join(s.dir, "config.xml"))
	s.cmd.Dir = s.dir
	s.out = &strings.Builder{}
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		return err
	}
	over := make(chan struct{})
	s.over = over
	go func(cmd *exec.Cmd) {
		cmd.Wait()
		close(over)
	}(s.cmd)
	return nil
}

func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), answersWithin)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Host+"/", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			return nil
		}
		select { // nothing tells that a port is listened on
		case <-s.over:
			said, _ := os.ReadFile(filepath.Join(s.dir, "err"))
			return fmt.Errorf("the server has ended: %s%s", s.out.String(), said)
		case <-ctx.Done():
			s.Kill()
			return errors.New("the server does not answer")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Kill ends the server as a power cut would.
func (s *Server) Kill() {
	if s.over == nil {
		return
	}
	s.cmd.Process.Kill()
	<-s.over
	s.over = nil
}

// Restart starts a server that was killed, with what it has.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.run(); err != nil {
		s.t.Fatal(err)
	}
}

// Begin starts a server that was killed, and waits for nothing: Answers does.
func (s *Server) Begin() {
	s.t.Helper()
	s.Kill()
	if err := s.begin(); err != nil {
		s.t.Fatal(err)
	}
}

// Answers waits until a server that was begun answers.
func (s *Server) Answers() {
	s.t.Helper()
	if err := s.await(); err != nil {
		s.t.Fatal(err)
	}
}

// CPU returns the processor time that the server has used since it was started.
func (s *Server) CPU() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	var user, system int64
	fields := strings.Fields(rest)
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}
