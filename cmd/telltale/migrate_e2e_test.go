//go:build e2e && linux

package main

import (
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/ncruces/go-sqlite3"
)

// TestE2EAStoreOfVersion1IsCopiedUnderLoad copies a store of version 1 while
// lookups come, and kills the server on the way: every row is there once, and
// what was asked is answered and kept. MIGRATE_STORE names a store to copy
// instead of a made one (it is copied first), MIGRATE_RATE the lookups a second.
func TestE2EAStoreOfVersion1IsCopiedUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(data, "querylog.db")
	if from := os.Getenv("MIGRATE_STORE"); from != "" {
		copyFile(t, from, old)
	} else {
		makeVersion1(t, old, 600)
	}
	rate := 500
	if s := os.Getenv("MIGRATE_RATE"); s != "" {
		rate, _ = strconv.Atoi(s)
	}
	lastOld := one(t, old, `SELECT max((SELECT max(id) FROM listed), (SELECT max(id) FROM unlisted))`)
	want := sums(t, old, `listed`, `name`, lastOld) + " " + sums(t, old, `unlisted`, `name`, lastOld)
	t.Logf("the old store: %d bytes, %s", size(t, old), want)

	writeFile(t, filepath.Join(dir, "lists", "own.txt"), "blocked.example\n")
	start := func(args ...string) *process {
		return startProcess(t, dir, nil, append(args, "--upstreams", "127.0.0.1:1")...)
	}
	p := start("--listen-dns", "127.0.0.1:0")
	listen := p.addr.String()
	begun := time.Now()
	l := newLoad(t, listen, rate)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	kills, copied := 0, int64(0)
	var down time.Duration
	for deadline := time.Now().Add(40 * time.Minute); ; {
		rows, percent, runs := progress(p)
		if !runs && kills > 0 {
			break
		}
		copied = max(copied, rows)
		if kills < 3 && runs && percent > float64(20+25*kills)+10*rng.Float64() {
			l.pause()
			killed := time.Now()
			p.kill()
			p = start("--listen-dns", listen)
			l.resume()
			down += time.Since(killed)
			kills++
			t.Logf("killed at %.1f %% (%d rows), up again after %v", percent, rows, time.Since(killed).Round(time.Millisecond))
		}
		if time.Now().After(deadline) {
			t.Fatalf("not copied in time: %d rows, %.1f %%\n%s", rows, percent, p.errs.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
	took := time.Since(begun)
	l.stop()
	p.stop()
	if kills < 3 {
		t.Errorf("the server was killed %d times before the end, want 3", kills)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("the old store is still there")
	}
	store := filepath.Join(data, "lookups.db")
	got := sums(t, store, `listed`, `(SELECT m.name FROM listed_name m WHERE m.id = ((r.id >> 30) << 26) + r.name)`, lastOld) + " " +
		sums(t, store, `unlisted`, `(SELECT m.name FROM unlisted_name m WHERE m.id = ((r.id >> 30) << 26) + r.name)`, lastOld)
	if got != want {
		t.Errorf("got rows %s, want %s", got, want)
	}
	asked, answered, longest := l.asked.Load(), l.answered.Load(), time.Duration(l.longest.Load())
	dropped := l.dropped // answers that came, and that this process had no room for
	unread := l.unread   // queries that the server's sockets had no room for: it had no turn, or was slow
	kept := one(t, store, fmt.Sprintf(`SELECT coalesce((SELECT sum(count) FROM listed WHERE id > %[1]d), 0) + coalesce((SELECT sum(count) FROM unlisted WHERE id > %[1]d), 0)`, lastOld))
	t.Logf("copied in %v (%v of it down), %d bytes; %d lookups asked, %d answered (%d of that dropped here), %d dropped unread, longest answer %v, this process was late by up to %v; %d in rows",
		took.Round(time.Second), down.Round(time.Millisecond), size(t, store), asked, answered+dropped, dropped, unread, longest, l.late, kept)
	if answered+dropped+unread != asked {
		t.Errorf("got %d and %d answers of %d, %d of which were dropped unread", answered, dropped, asked, unread)
	}
	if lost := asked - unread - kept; lost < 0 || lost > int64(3*rate) { // at most a second for each kill
		t.Errorf("%d lookups are missing in rows, want at most the last second before each of %d kills", lost, kills)
	}
	if took > 10*time.Minute && longest > time.Second+2*l.late { // where even this process had turns
		t.Errorf("the longest answer took %v", longest)
	}
}

// sums tells the rows of a table up to a number from any others, of which a column last that is
// not above 0 is how long before it the first lookup came.
func sums(t *testing.T, path, table, name string, last int64) string {
	t.Helper()
	var s string
	query(t, path, fmt.Sprintf(`SELECT count(*), sum(id %% 1000003), sum(count), sum(first %% 1000003), sum(CASE WHEN last > 0 THEN last ELSE first - last END %% 1000003), sum(elapsed), sum(line),
		sum(length(%s)), sum(length(client)), sum(length(rule)), sum(binding), sum(verdict) FROM %s r WHERE id <= %d`, name, table, last), func(stmt *sqlite3.Stmt) {
		for i := range stmt.ColumnCount() {
			s += fmt.Sprint(stmt.ColumnInt64(i)) + ","
		}
	})
	return s
}

func one(t *testing.T, path, sql string) (n int64) {
	t.Helper()
	query(t, path, sql, func(stmt *sqlite3.Stmt) { n = stmt.ColumnInt64(0) })
	return n
}

func query(t *testing.T, path, sql string, each func(*sqlite3.Stmt)) {
	t.Helper()
	conn, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stmt, _, err := conn.Prepare(sql)
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Close()
	for stmt.Step() {
		each(stmt)
	}
	if err := stmt.Err(); err != nil {
		t.Fatal(err)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// makeVersion1 makes a store of version 1 of the one in querylog/testdata, whose
// rows it repeats.
func makeVersion1(t *testing.T, path string, times int) {
	t.Helper()
	f, err := os.Open(filepath.Join(tree, "querylog", "testdata", "store-1.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	conn, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sql := `BEGIN;`
	for _, table := range []string{"listed", "unlisted"} {
		sql += fmt.Sprintf(`INSERT INTO %s WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			SELECT id + ((n.i * 1024) << 20), node, first + n.i * 1024000, last + n.i * 1024000, count, binding, type, verdict, list, line,
			attr_list, attr_line, level, note, rcode, source, transport, ttl, elapsed, folded, client, name, alias, rule FROM n, %[1]s ORDER BY 1;`, table, times)
	}
	sql += fmt.Sprintf(`INSERT INTO window WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			SELECT id + n.i * 1024, first + n.i * 1024000, last + n.i * 1024000, rows, lookups FROM n, window ORDER BY 1;
		UPDATE meta SET value = (SELECT max(id) FROM window) WHERE key = 'position'; COMMIT;`, times)
	if err := conn.Exec(sql); err != nil {
		t.Fatal(err)
	}
}

// progress asks the server how far the copy is.
func progress(p *process) (rows int64, percent float64, runs bool) {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(p.dir, "data", "telltale.sock"))
	}}}
	res, err := c.Get("http://telltale/api/v1/status")
	if err != nil {
		return 0, 0, true
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	var s struct {
		Log struct {
			Migration *struct {
				Rows    int64   `json:"rows"`
				Percent float64 `json:"percent"`
			} `json:"migration"`
		} `json:"log"`
	}
	if json.Unmarshal(b, &s) != nil {
		return 0, 0, true
	}
	if m := s.Log.Migration; m != nil {
		return m.Rows, m.Percent, true
	}
	return 0, 100, false
}

// A load asks at a rate, each question once, and takes the answers.
type load struct {
	t                        testing.TB
	mu                       sync.Mutex // held while the server is down
	sent                     [1 << 16]atomic.Int64
	asked, answered, longest atomic.Int64
	dropped                  int64         // answers that its socket had no room for; set by stop
	unread                   int64         // queries that the sockets of servers that ended had no room for
	late                     time.Duration // the longest that this process came late to ask
	server                   int           // the port
	end                      chan struct{}
	running                  sync.WaitGroup
	conn                     *net.UDPConn
}

func newLoad(t testing.TB, addr string, rate int) *load {
	l := &load{t: t, end: make(chan struct{})}
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	l.conn = conn.(*net.UDPConn)
	l.server = l.conn.RemoteAddr().(*net.UDPAddr).Port
	l.running.Go(func() { l.ask(rate) })
	l.running.Go(l.take)
	return l
}

func (l *load) ask(rate int) {
	names := []string{"blocked.example.", "localhost.", "a.blocked.example.", "b.blocked.example."}
	var packets [][]byte
	for _, n := range names {
		b, err := new(dns.Msg).SetQuestion(n, dns.TypeA).Pack()
		if err != nil {
			panic(err)
		}
		packets = append(packets, b)
	}
	begun, n := time.Now(), 0
	for id := uint16(0); ; id++ {
		paused := !l.mu.TryLock()
		if paused {
			l.mu.Lock()
		}
		select {
		case <-l.end:
			l.mu.Unlock()
			return
		default:
		}
		b := packets[n%len(packets)]
		binary.BigEndian.PutUint16(b, id)
		l.sent[id].Store(time.Now().UnixNano())
		l.asked.Add(1)
		if _, err := l.conn.Write(b); err != nil { // an answer to what was sent before: the server was down
			l.conn.Write(b)
		}
		l.mu.Unlock()
		n++
		due := begun.Add(time.Duration(n) * time.Second / time.Duration(rate))
		if late := time.Since(due); late > 100*time.Millisecond { // the server was down, or this process had no turn
			begun = begun.Add(late)
			if !paused {
				l.late = max(l.late, late)
			}
		}
		time.Sleep(time.Until(due))
	}
}

func (l *load) take() {
	var b [512]byte
	for {
		n, err := l.conn.Read(b[:])
		if err != nil {
			select {
			case <-l.end:
				return
			default:
				continue // refused: the server is down
			}
		}
		if n < 12 {
			continue
		}
		if at := l.sent[binary.BigEndian.Uint16(b[:])].Swap(0); at != 0 {
			l.answered.Add(1)
			took := time.Now().UnixNano() - at
			if took > l.longest.Load() {
				l.longest.Store(took)
			}
		}
	}
}

// pause waits until all is answered or known to be dropped, and asks nothing until
// resume. The server is ended before that.
func (l *load) pause() {
	l.mu.Lock()
	here := l.conn.LocalAddr().(*net.UDPAddr).Port
	for until := time.Now().Add(5 * time.Second); l.answered.Load()+l.drops(here)+l.unread+l.drops(l.server) < l.asked.Load() && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	l.unread += l.drops(l.server)
}

// drops returns how many packets the sockets of a port had no room for.
func (l *load) drops(port int) (n int64) {
	b, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		l.t.Error(err)
	}
	local := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 12 && strings.HasSuffix(f[1], local) {
			dropped, _ := strconv.ParseInt(f[len(f)-1], 10, 64)
			n += dropped
		}
	}
	return n
}

func (l *load) resume() { l.mu.Unlock() }

func (l *load) stop() {
	l.pause()
	l.dropped = l.drops(l.conn.LocalAddr().(*net.UDPAddr).Port)
	close(l.end)
	l.resume()
	l.conn.Close()
	l.running.Wait()
}
