//go:build e2e

package fleet_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"telltale/dnswire"
	"telltale/fleet"
	"telltale/fleet/clickhouse"
	"telltale/fleet/storetest"
	"telltale/querylog"
)

// For how long it kills, how many lookups a second each node has, of how many names, and one of how many acknowledgements is dropped.
const (
	killedFor  = "FLEET_KILL_SECONDS" // 8 unless set
	killedRate = "FLEET_KILL_RATE"    // 1,000 unless set
	killedOf   = "FLEET_KILL_NAMES"   // 300 of each kind unless set; of 20 devices
	killedDrop = "FLEET_KILL_DROP"    // 4 unless set: a short run has few
)

// runChild is a process of a test that kills: NODE NAME DIR URL RATE, or CENTRE STORE ADDRESS, where the store is a directory or
// clickhouse://..., and the address "-" is the listener that it is given.
func runChild(t *testing.T, args []string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if args[0] == "NODE" {
		rate, _ := strconv.Atoi(args[4])
		runNode(t, args[1], args[2], args[3], rate, stop)
		return
	}
	var l net.Listener
	var err error
	if args[2] == "-" {
		l, err = net.FileListener(os.NewFile(3, "listener"))
	} else {
		l, err = net.Listen("tcp", args[2])
	}
	if err != nil {
		t.Fatal(err)
	}
	store := openMerged(t, args[1])
	r := fleet.NewReceiver(fleet.ReceiverOptions{Store: store, Join: 20 * time.Millisecond, Logger: quiet})
	s := &http.Server{Handler: r}
	go s.Serve(l)
	<-stop
	s.Close()
	r.Close()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// openMerged opens what a centre has. Where ClickHouse does not answer, it is tried again for some minutes.
func openMerged(t *testing.T, store string) fleet.Store {
	t.Helper()
	if !strings.HasPrefix(store, clickhouse.Scheme) {
		return openSQLite(t, store, querylog.Retention{Listed: -1, Unlisted: -1, Totals: -1})
	}
	a, err := clickhouse.ParseAddress(store)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) { // as a service is started again
		s, err := clickhouse.Open(context.Background(), clickhouse.Options{Address: a})
		if err == nil {
			return s
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// runNode keeps a log and ships it; at rate 0 until all is shipped. It prints once a second how many lookups it has been asked.
func runNode(t *testing.T, name, dir, centre string, rate int, stop chan os.Signal) {
	l, err := querylog.Open(querylog.Options{Dir: dir, Node: name, Retention: querylog.Retention{Listed: -1, Unlisted: -1, Totals: -1}, Logger: quiet, Shipping: querylog.AllShipped})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := querylog.OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := fleet.NewShipper(fleet.ShipperOptions{Log: l, Reader: r, Centres: []string{centre}, Client: &http.Client{Timeout: 5 * time.Second}, Unlisted: true,
		Every: 20 * time.Millisecond, FirstWait: 20 * time.Millisecond, Logger: quiet})
	ctx, end := context.WithCancel(context.Background())
	defer end()
	go s.Run(ctx)
	policy := storetest.Policy(t)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	fmt.Println("open")
	names := setting(killedOf, 300)
	begun, asked, said, looked := time.Now(), 0, 0, time.Time{}
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			for since := now.Sub(begun); asked < int(since.Seconds()*float64(rate)); asked++ {
				text := fmt.Sprintf("n%d.shop.example", rand.N(names))
				if rand.N(3) > 0 {
					text = fmt.Sprintf("n%d.metrics.aurora.example", rand.N(names))
				}
				n, _ := dnswire.ParseName(text)
				b := storetest.Binding(1 + rand.N(20))
				l.Append([]querylog.Record{{Time: now, Client: b.Addr, Binding: b, Name: n.Wire(), Type: dnswire.TypeA, Source: querylog.FromPolicy, Transport: querylog.UDP, Verdict: policy.Decide(&n, dnswire.TypeA, 0)}})
			}
			if s := int(now.Sub(begun).Seconds()); rate > 0 && s > said {
				said = s
				fmt.Println("asked", asked, now.Sub(begun).Milliseconds())
			}
		}
		if rate > 0 || time.Since(looked) < 200*time.Millisecond { // it takes milliseconds where much waits
			continue
		}
		looked = time.Now()
		if state := s.State(ctx); isShipped(state) {
			fmt.Println("shipped", state.Shipped)
			return
		}
	}
}

// A process is one that is killed and begun again.
type process struct {
	t    *testing.T
	wrap []string // words before the command
	args []string
	file *os.File // the centre's listener
	cmd  *exec.Cmd
	out  *bufio.Scanner

	asked, millis int // lookups of a node, and within how many milliseconds, as far as it has said
	killedOpen    int // how often it was killed while its log was open
}

func (p *process) start(args ...string) {
	p.t.Helper()
	if len(args) > 0 {
		p.args = args
	}
	words := append(slices.Clone(p.wrap), os.Args[0], "-test.run=^TestE2ENothingIsLostOrDoubledWhereAllAreKilled$")
	p.cmd = exec.Command(words[0], words[1:]...)
	p.cmd.Env = append(os.Environ(), killedChild+"="+strings.Join(p.args, " "), "TMPDIR="+p.t.TempDir()) // who is killed deletes nothing
	p.cmd.Stderr = os.Stderr
	if p.file != nil {
		p.cmd.ExtraFiles = []*os.File{p.file}
	}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
}

func (p *process) kill(s syscall.Signal) {
	p.cmd.Process.Signal(s)
	asked, millis := 0, 0
	for p.out.Scan() {
		fmt.Sscanf(p.out.Text(), "asked %d %d", &asked, &millis)
		if s == syscall.SIGKILL && p.out.Text() == "open" {
			p.killedOpen++
		}
	}
	p.cmd.Wait()
	p.asked += asked
	p.millis += millis
}

func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// A site is where a centre and its nodes are killed.
type site struct {
	store   string                     // of the centre
	centre  *process                   // as it was started
	front   string                     // the URL by which nodes reach it
	wrap    func(name string) []string // what is before the command of a node
	more    []func()                   // kills something else, and begins it again
	settled func()                     // what was killed is there again; nil for nothing
	dropped *atomic.Int64              // acknowledgements
}

// Three nodes and a centre are killed at random, and some acknowledgements are dropped: at the end the centre has every row that a node
// stored, once, and nothing else.
func TestE2ENothingIsLostOrDoubledWhereAllAreKilled(t *testing.T) {
	if child := os.Getenv(killedChild); child != "" {
		runChild(t, strings.Fields(child))
		return
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s := site{store: t.TempDir(), centre: &process{t: t, file: file}, wrap: func(string) []string { return nil }}
	s.front, s.dropped = dropping(t, "127.0.0.1:0", l.Addr().String())
	s.centre.start("CENTRE", s.store, "-")
	s.killAll(t)
}

var nodeNames = []string{"attic", "cellar", "shed"}

// killAll kills for as long as is set, has the nodes ship what they have, and compares.
func (s *site) killAll(t *testing.T) {
	t.Helper()
	duration := time.Duration(setting(killedFor, 8)) * time.Second
	rate := strconv.Itoa(setting(killedRate, 1000))
	nodes, dirs, kills, others := map[string]*process{}, map[string]string{}, map[string]int{}, 0
	for _, name := range nodeNames {
		dirs[name] = t.TempDir()
		nodes[name] = &process{t: t, wrap: s.wrap(name)}
		nodes[name].start("NODE", name, dirs[name], s.front, rate)
	}
	for until := time.Now().Add(duration); time.Now().Before(until); {
		time.Sleep(time.Duration(200+rand.N(1800)) * time.Millisecond)
		victim, name := s.centre, "centre"
		if len(s.more) > 0 && rand.N(10) == 0 {
			s.more[rand.N(len(s.more))]()
			others++
			continue
		}
		if n := rand.N(4); n < len(nodeNames) {
			name = nodeNames[n]
			victim = nodes[name]
		}
		victim.kill(syscall.SIGKILL)
		victim.start()
		kills[name]++
	}
	last := time.Now().Truncate(time.Millisecond)
	for name, p := range nodes { // what is in their journals becomes windows, and travels
		p.kill(syscall.SIGTERM)
		if p.millis > 0 {
			t.Logf("%s: %d lookups, %d a second while it ran", name, p.asked, p.asked*1000/p.millis)
		}
		p.start("NODE", name, dirs[name], s.front, "0")
	}
	if s.settled != nil {
		s.settled()
	}
	begun := time.Now()
	var ended sync.WaitGroup
	for name, p := range nodes {
		ended.Go(func() {
			late := time.AfterFunc(3*time.Minute+duration, func() { p.cmd.Process.Kill() })
			defer late.Stop()
			shipped := false
			for p.out.Scan() {
				shipped = shipped || strings.HasPrefix(p.out.Text(), "shipped")
			}
			if err := p.cmd.Wait(); err != nil || !shipped {
				t.Errorf("%s has not shipped all: %v", name, err)
			}
		})
	}
	ended.Wait()
	s.centre.kill(syscall.SIGTERM)
	t.Logf("kills: %v and %d others; %d acknowledgements dropped; the last was shipped %.1f s after the end", kills, others, s.dropped.Load(), time.Since(begun).Seconds())
	compare(t, s.store, dirs, last, func(name string, crashes int) bool { // one may be killed just before it says that its log is open
		return crashes >= nodes[name].killedOpen && crashes <= kills[name]
	})
}

// dropping is a proxy before a centre that drops some answers.
func dropping(t *testing.T, address, centre string) (front string, dropped *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	dropped = &atomic.Int64{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: centre})
	one := setting(killedDrop, 4)
	proxy.ModifyResponse = func(*http.Response) error {
		if rand.N(one) == 0 {
			dropped.Add(1)
			return fmt.Errorf("dropped")
		}
		return nil
	}
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	s := httptest.NewUnstartedServer(proxy)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	return s.URL, dropped
}

// compare compares the rows of a centre with those of the nodes, by key and by content, and its ledger with theirs. The last process of a
// node, since last, ends when all rows have travelled: its own lines need not have.
func compare(t *testing.T, store string, dirs map[string]string, last time.Time, areKills func(name string, crashes int) bool) {
	t.Helper()
	merged := openMerged(t, store)
	defer merged.Close()
	isSQLite := !strings.HasPrefix(store, clickhouse.Scheme)
	ctx := context.Background()
	hash := func(r querylog.Row) [16]byte {
		if isSQLite { // those of its own store
			r.Store, r.ID, r.Binding = "", 0, 0
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%+v", r))
		return [16]byte(sum[:])
	}
	line := func(e querylog.Event) string { return fmt.Sprintf("%+v", e) }
	var got, want [][16]byte
	var gotKeys, wantKeys []fleet.Key
	gotLines, lookups, crashes := map[string]int{}, uint64(0), map[string]int{}
	reader, done, err := merged.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for row, err := range reader.Rows(ctx, querylog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, hash(row))
		lookups += row.Count
	}
	if err := merged.Keys(ctx, func(k fleet.Key) error { gotKeys = append(gotKeys, k); return nil }); err != nil {
		t.Fatal(err)
	}
	lines, err := reader.Ledger(ctx, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range lines {
		gotLines[line(e)]++
	}
	for name, dir := range dirs {
		r, err := querylog.OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		for row, err := range r.Rows(ctx, querylog.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, hash(row))
			wantKeys = append(wantKeys, fleet.Key{Store: row.Store, ID: row.ID})
		}
		lines, err := r.Ledger(ctx, time.Time{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range lines {
			if e.Kind == querylog.KindCrash {
				crashes[name]++
			}
			if gotLines[line(e)]--; gotLines[line(e)] < 0 && e.Time.Before(last) {
				t.Errorf("the centre has not a line of %s: %s", name, line(e))
			}
		}
		if !areKills(name, crashes[name]) {
			t.Errorf("the ledger of %s has %d gaps by crashes, which is not how often it was killed", name, crashes[name])
		}
	}
	for l, n := range gotLines {
		if n > 0 && !isSQLite {
			t.Errorf("the centre has a line that is no node's, or twice: %s", l)
		}
	}
	bytewise := func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) }
	slices.SortFunc(got, bytewise)
	slices.SortFunc(want, bytewise)
	byKey := func(a, b fleet.Key) int { return cmp.Or(strings.Compare(a.Store, b.Store), cmp.Compare(a.ID, b.ID)) }
	slices.SortFunc(gotKeys, byKey)
	slices.SortFunc(wantKeys, byKey)
	if len(want) == 0 {
		t.Fatal("the nodes have no rows")
	}
	if !slices.Equal(gotKeys, wantKeys) {
		t.Errorf("the centre has %d keys, %d of them different, and the nodes %d", len(gotKeys), len(slices.Compact(slices.Clone(gotKeys))), len(wantKeys))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the centre has %d rows and the nodes %d, or their content differs", len(got), len(want))
	}
	t.Logf("%d rows of %d lookups; gaps by crashes in the ledger: %v", len(got), lookups, crashes)
}
