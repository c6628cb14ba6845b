//go:build e2e

package fleet_test

import (
	"bufio"
	"context"
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
	"telltale/fleet/storetest"
	"telltale/querylog"
)

// For how long it kills, how many lookups a second each node has, and one of how many acknowledgements is dropped.
const (
	killedFor  = "FLEET_KILL_SECONDS" // 8 unless set
	killedRate = "FLEET_KILL_RATE"    // 1,000 unless set
	killedDrop = "FLEET_KILL_DROP"    // 4 unless set: a short run has few
)

// runChild is a process of TestE2ENothingIsLostOrDoubledWhereAllAreKilled: NODE NAME DIR URL RATE, or CENTRE DIR.
func runChild(t *testing.T, args []string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if args[0] == "CENTRE" {
		l, err := net.FileListener(os.NewFile(3, "listener"))
		if err != nil {
			t.Fatal(err)
		}
		store := openSQLite(t, args[1], querylog.Retention{Listed: -1, Unlisted: -1, Totals: -1})
		r := fleet.NewReceiver(fleet.ReceiverOptions{Store: store, Join: 20 * time.Millisecond, Logger: quiet})
		s := &http.Server{Handler: r}
		go s.Serve(l)
		<-stop
		s.Close()
		r.Close()
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		return
	}
	rate, _ := strconv.Atoi(args[4])
	runNode(t, args[1], args[2], args[3], rate, stop)
}

// runNode keeps a log and ships it; at rate 0 until all is shipped.
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
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			for range rate / 100 {
				text := fmt.Sprintf("n%d.shop.example", rand.N(300))
				if rand.N(3) > 0 {
					text = fmt.Sprintf("n%d.metrics.aurora.example", rand.N(300))
				}
				n, _ := dnswire.ParseName(text)
				b := storetest.Binding(1 + rand.N(20))
				l.Append([]querylog.Record{{Time: now, Client: b.Addr, Binding: b, Name: n.Wire(), Type: dnswire.TypeA, Source: querylog.FromPolicy, Transport: querylog.UDP, Verdict: policy.Decide(&n, dnswire.TypeA, 0)}})
			}
		}
		if rate > 0 {
			continue
		}
		if state := s.State(ctx); isShipped(state) {
			fmt.Println("shipped", state.Shipped)
			return
		}
	}
}

// A process is one that is killed and begun again.
type process struct {
	t    *testing.T
	args []string
	file *os.File // the centre's listener
	cmd  *exec.Cmd
	out  *bufio.Scanner
}

func (p *process) start(args ...string) {
	p.t.Helper()
	if len(args) > 0 {
		p.args = args
	}
	p.cmd = exec.Command(os.Args[0], "-test.run=^TestE2ENothingIsLostOrDoubledWhereAllAreKilled$")
	p.cmd.Env = append(os.Environ(), killedChild+"="+strings.Join(p.args, " "))
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
	for p.out.Scan() {
	}
	p.cmd.Wait()
}

func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
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
	front, dropped := dropping(t, l.Addr().String())
	centre := &process{t: t, file: file}
	dirs := map[string]string{"centre": t.TempDir()}
	centre.start("CENTRE", dirs["centre"])
	rate := strconv.Itoa(setting(killedRate, 1000))
	nodes := map[string]*process{}
	for _, name := range []string{"attic", "cellar", "shed"} {
		dirs[name] = t.TempDir()
		nodes[name] = &process{t: t}
		nodes[name].start("NODE", name, dirs[name], front, rate)
	}
	kills := 0
	for until := time.Now().Add(time.Duration(setting(killedFor, 8)) * time.Second); time.Now().Before(until); kills++ {
		time.Sleep(time.Duration(200+rand.N(1800)) * time.Millisecond)
		victim := centre
		if n := rand.N(4); n < 3 {
			victim = nodes[[]string{"attic", "cellar", "shed"}[n]]
		}
		victim.kill(syscall.SIGKILL)
		victim.start()
	}
	for name, p := range nodes { // what is in their journals becomes windows, and travels
		p.kill(syscall.SIGTERM)
		p.start("NODE", name, dirs[name], front, "0")
	}
	var ended sync.WaitGroup
	for name, p := range nodes {
		ended.Go(func() {
			late := time.AfterFunc(3*time.Minute, func() { p.cmd.Process.Kill() })
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
	centre.kill(syscall.SIGTERM)
	t.Logf("%d kills, %d acknowledgements dropped", kills, dropped.Load())
	compare(t, dirs)
}

// dropping is a proxy before a centre that drops some answers.
func dropping(t *testing.T, centre string) (front string, dropped *atomic.Int64) {
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
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	return s.URL, dropped
}

// compare compares the rows of a centre with those of the nodes, by key and by content. The last window of a node, which its last process has
// left, has no rows.
func compare(t *testing.T, dirs map[string]string) {
	t.Helper()
	var got, want, gotKeys, wantKeys []string
	text := func(r querylog.Row) string {
		r.Store, r.ID, r.Binding = "", 0, 0
		return fmt.Sprintf("%+v", r)
	}
	for name, dir := range dirs {
		r, err := querylog.OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		for row, err := range r.Rows(context.Background(), querylog.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if name == "centre" {
				got = append(got, text(row))
				continue
			}
			want = append(want, text(row))
			wantKeys = append(wantKeys, fmt.Sprint(row.Store, row.ID))
		}
		if name != "centre" {
			continue
		}
		err = r.ShippedKeys(context.Background(), func(store string, id int64) error {
			gotKeys = append(gotKeys, fmt.Sprint(store, id))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, all := range []*[]string{&got, &want, &gotKeys, &wantKeys} {
		slices.Sort(*all)
	}
	if len(want) == 0 {
		t.Fatal("the nodes have no rows")
	}
	if !slices.Equal(gotKeys, wantKeys) {
		t.Errorf("the centre has %d keys, %d of them different, and the nodes %d", len(gotKeys), len(slices.Compact(slices.Clone(gotKeys))), len(wantKeys))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the centre has %d rows and the nodes %d, or their content differs", len(got), len(want))
	}
	t.Logf("%d rows", len(got))
}
