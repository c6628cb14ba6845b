package fleet_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telltale/fleet"
	"telltale/fleet/storetest"
	"telltale/querylog"
)

var quiet = slog.New(slog.DiscardHandler)

// A faulty answers in place of a centre, or lets the centre answer, as a function says that is called before.
type faulty struct {
	http.Handler
	mu     sync.Mutex
	before func(http.ResponseWriter, *http.Request) (answered bool)
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	if before == nil || !before(w, r) {
		f.Handler.ServeHTTP(w, r)
	}
}

func (f *faulty) set(before func(http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = before
}

// A centre is one with SQLite on loopback.
type centre struct {
	store fleet.Store
	front *faulty
	url   string
}

func newCentre(t *testing.T, store fleet.Store) *centre {
	t.Helper()
	if store == nil {
		store = openSQLite(t, t.TempDir(), querylog.Retention{Listed: -1, Unlisted: -1, Totals: -1})
	}
	r := fleet.NewReceiver(fleet.ReceiverOptions{Store: store, Join: time.Millisecond, Logger: quiet})
	front := &faulty{Handler: r}
	s := httptest.NewServer(front)
	t.Cleanup(func() {
		s.Close()
		r.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &centre{store, front, s.URL}
}

func (c *centre) keys(t *testing.T) (all []fleet.Key) {
	t.Helper()
	if err := c.store.Keys(context.Background(), func(k fleet.Key) error { all = append(all, k); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// ship has a node ship to a centre until a condition holds.
func ship(t *testing.T, n *storetest.Node, url string, until func(fleet.ShipperState) bool) fleet.ShipperState {
	t.Helper()
	return shipBy(t, n, fleet.ShipperOptions{Centres: []string{url}}, until)
}

func shipBy(t *testing.T, n *storetest.Node, o fleet.ShipperOptions, until func(fleet.ShipperState) bool) fleet.ShipperState {
	t.Helper()
	l, err := querylog.Open(querylog.Options{Dir: n.Dir, Node: n.Name, Retention: n.Keep, Logger: quiet, Shipping: querylog.ListedShipped})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := querylog.OpenReader(n.Dir)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	o.Log, o.Reader, o.Client, o.Every, o.FirstWait, o.Logger = l, r, client, 5*time.Millisecond, 5*time.Millisecond, quiet
	s := fleet.NewShipper(o)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	defer func() { stop(); <-ended }()
	deadline := time.Now().Add(30 * time.Second)
	for {
		state := s.State(context.Background())
		if until(state) {
			return state
		}
		if time.Now().After(deadline) {
			t.Fatalf("not reached: %+v", state)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func isShipped(s fleet.ShipperState) bool { return s.Waiting == 0 && s.Shipped > 0 && s.Error == "" }

// wantListed compares what a centre has of nodes with what they have of listed names.
func wantListed(t *testing.T, c *centre, nodes ...*storetest.Node) {
	t.Helper()
	got := map[fleet.Key]int{}
	for _, k := range c.keys(t) {
		got[k]++
	}
	want := 0
	for _, n := range nodes {
		for _, r := range n.Rows(querylog.Filter{Listed: true}) {
			want++
			if k := (fleet.Key{Store: r.Store, ID: r.ID}); got[k] != 1 {
				t.Errorf("row %v of %s is at the centre %d times", k, n.Name, got[k])
			}
		}
	}
	if len(got) != want {
		t.Errorf("the centre has %d rows, want %d", len(got), want)
	}
}

func home(t *testing.T, name string) *storetest.Node {
	n := storetest.NewNode(t, name)
	for range 3 {
		n.Store(storetest.Lookup{Device: 1, Name: "metrics.aurora.example", Times: 3}, storetest.Lookup{Device: 2, Name: "viewing.brightline.example"}, storetest.Lookup{Device: 1, Name: "shop.example"})
	}
	return n
}

func TestANodeShipsItsListedRowsOnceToACentre(t *testing.T) {
	c, n := newCentre(t, nil), home(t, "attic")
	state := ship(t, n, c.url, isShipped)
	if state.Rows < 6 || state.Bytes == 0 {
		t.Errorf("got %+v", state)
	}
	wantListed(t, c, n)
	ship(t, n, c.url, isShipped) // another process goes on where it ended
	wantListed(t, c, n)
}

func TestALostAcknowledgementDoublesNothing(t *testing.T) {
	c, n := newCentre(t, nil), home(t, "attic")
	var lost atomic.Int32
	c.front.set(func(w http.ResponseWriter, r *http.Request) bool {
		if lost.Add(1) > 3 {
			return false
		}
		c.front.Handler.ServeHTTP(httptest.NewRecorder(), r) // stored, and nobody learns of it
		panic(http.ErrAbortHandler)
	})
	ship(t, n, c.url, isShipped)
	if lost.Load() < 4 {
		t.Error("no acknowledgement was lost")
	}
	wantListed(t, c, n)
}

func TestWhatANodeDoesWithAnswers(t *testing.T) {
	say := func(status int, text string, header ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			io.Copy(io.Discard, r.Body)
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			io.WriteString(w, text)
			return true
		}
	}
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request) bool
		want   string
	}{
		{"200 without having stored", say(200, `{"store":"x","upto":9999999999}`), "has not stored it"},
		{"200 of something that is no centre", say(200, `<html>`), "no center says"},
		{"a full disk", say(503, `{"error":"disk full"}`, "Retry-After", "0"), "disk full"},
		{"another node's certificate", say(403, `{"error":"the certificate is of node cellar"}`), "certificate is of node cellar"},
		{"a gap that is none", say(409, `{"gap":true,"upto":0}`), "does not go on behind window 0"},
		{"a window that is not in the batch", say(409, `{"diverged":7}`), "not in the batch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			centre, n := newCentre(t, nil), home(t, "attic")
			centre.front.set(c.answer)
			state := ship(t, n, centre.url, func(s fleet.ShipperState) bool { return s.Error != "" })
			if !strings.Contains(state.Error, c.want) || state.Shipped != 0 {
				t.Errorf("got %+v, want an error with %q", state, c.want)
			}
			centre.front.set(nil)
			ship(t, n, centre.url, isShipped)
			wantListed(t, centre, n)
		})
	}
}

func TestWhatACentreRefuses(t *testing.T) {
	c, n := newCentre(t, nil), home(t, "attic")
	b := n.Batches(0, 0, false)[0]
	whole, _ := fleet.Pack(b)
	newer := slices.Clone(b.Append(nil))
	newer[len("TELLTALE BATCH 1\n")] = 99
	for _, e := range []struct {
		name   string
		body   []byte
		status int
		want   string
	}{
		{"nothing", nil, 400, "damaged"},
		{"a batch that is cut off", whole[:len(whole)/2], 400, "damaged"},
		{"another text", pack(t, []byte("hello")), 400, "damaged"},
		{"a batch of a later schema", pack(t, newer), 422, "update the centre"},
		{"too much", make([]byte, fleet.MaxPacked+1), 413, "did not come whole"},
	} {
		resp, err := http.Post(c.url+fleet.RowsPath, "application/gzip", strings.NewReader(string(e.body)))
		if err != nil {
			t.Fatal(e.name, err)
		}
		var said fleet.Answer
		err = json.NewDecoder(resp.Body).Decode(&said)
		resp.Body.Close()
		if err != nil || resp.StatusCode != e.status || !strings.Contains(said.Error, e.want) {
			t.Errorf("%s: got %d %+v (%v), want %d with %q", e.name, resp.StatusCode, said, err, e.status, e.want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if got := c.keys(t); len(got) != 0 {
		t.Errorf("the centre has %d rows", len(got))
	}
}

func TestACopyOfAStoreBecomesAnother(t *testing.T) {
	c, n := newCentre(t, nil), home(t, "attic")
	ship(t, n, c.url, isShipped)
	copied := n.Copy("attic")
	n.Store(storetest.Lookup{Device: 1, Name: "metrics.aurora.example"})
	copied.Store(storetest.Lookup{Device: 2, Name: "viewing.brightline.example", Times: 4})
	ship(t, n, c.url, isShipped)
	ship(t, copied, c.url, isShipped)
	ship(t, copied, c.url, isShipped) // the line of the ledger, which the first has left in its log
	stores := map[string]int{}
	for _, k := range c.keys(t) {
		stores[k.Store]++
	}
	if len(stores) != 2 {
		t.Errorf("got rows by store %v, want those of two", stores)
	}
	if !slices.ContainsFunc(ledgerOf(t, c), func(e querylog.Event) bool { return e.Kind == querylog.KindCopied }) {
		t.Error("the ledger does not say that a store was copied")
	}
}

// post sends a batch, or another text, as a node does, and returns the answer.
func post(t *testing.T, c *centre, packed []byte) (status int, said fleet.Answer) {
	t.Helper()
	resp, err := http.Post(c.url+fleet.RowsPath, "application/gzip", bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, said
}

func packed(t *testing.T, b *fleet.Batch) []byte {
	t.Helper()
	text, err := fleet.Pack(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A node that names another one's store makes nothing of the other's be acknowledged that is not stored.
func TestANodeWhoseStoreAnotherHasNamedLosesNothing(t *testing.T) {
	c, attic := newCentre(t, nil), home(t, "attic")
	store := attic.Batches(0, 0, false)[0].Store
	far := &fleet.Batch{Store: store, Node: "cellar", To: 1 << 32}
	if status, said := post(t, c, packed(t, far)); status != http.StatusBadRequest {
		t.Errorf("a batch that says how far it goes, and has nothing, is answered %d %+v", status, said)
	}
	far.Windows = []querylog.BatchWindow{{Number: far.To}}
	if status, said := post(t, c, packed(t, far)); status != http.StatusOK {
		t.Fatalf("got %d %+v", status, said)
	}
	ship(t, attic, c.url, isShipped)
	ship(t, attic, c.url, isShipped) // the line of the ledger
	if got, want := len(c.keys(t)), len(attic.Rows(querylog.Filter{Listed: true})); got != want {
		t.Errorf("the centre has %d rows of the attic, want %d", got, want)
	}
	if !slices.ContainsFunc(ledgerOf(t, c), func(e querylog.Event) bool { return e.Kind == querylog.KindCopied && e.Node == "attic" }) {
		t.Error("the ledger does not say that the attic's log is another store from there on")
	}
}

// A machine that joins anew under another name keeps its log: what it stores from then on is another store.
func TestANodeUnderAnotherNameBecomesAnotherStore(t *testing.T) {
	c, n := newCentre(t, nil), home(t, "attic")
	ship(t, n, c.url, isShipped)
	n.Name = "cellar"
	n.Store(storetest.Lookup{Device: 1, Name: "metrics.aurora.example"})
	ship(t, n, c.url, isShipped)
	ship(t, n, c.url, isShipped)
	got := map[int64]int{} // a row's number stays, whichever store it is of
	for _, k := range c.keys(t) {
		got[k.ID]++
	}
	for _, r := range n.Rows(querylog.Filter{Listed: true}) {
		if got[r.ID] != 1 {
			t.Errorf("row %d is at the centre %d times", r.ID, got[r.ID])
		}
	}
	nodes, err := c.store.Nodes(context.Background())
	if err != nil || len(nodes) != 2 || nodes[0].Store == nodes[1].Store {
		t.Errorf("got nodes %+v, %v; want a store of each name", nodes, err)
	}
	if !slices.ContainsFunc(ledgerOf(t, c), func(e querylog.Event) bool { return e.Kind == querylog.KindCopied && e.Node == "cellar" }) {
		t.Error("the ledger does not say that the log is another store")
	}
}

func ledgerOf(t *testing.T, c *centre) []querylog.Event {
	t.Helper()
	r, done, err := c.store.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	lines, err := r.Ledger(context.Background(), time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// failing is a store that takes nothing.
type failing struct{ fleet.Store }

func (failing) Append(context.Context, []*fleet.Batch) ([]fleet.Stored, error) {
	return nil, errors.New("no space left on device")
}

func TestACentreThatCannotStoreSaysSoToTheNode(t *testing.T) {
	c, n := newCentre(t, failing{openSQLite(t, t.TempDir(), querylog.Retention{})}), home(t, "attic")
	state := ship(t, n, c.url, func(s fleet.ShipperState) bool { return s.Error != "" })
	if !strings.Contains(state.Error, "no space left") || time.Until(state.Retry) < 3*time.Second {
		t.Errorf("got %+v, want that the disk is full, and the pause that the centre asks for", state)
	}
}

// A node that has forgotten a device says so before it sends anything else, until the centre has it.
func TestWhatANodeForgetsIsForgottenAtTheCentre(t *testing.T) {
	dir := t.TempDir()
	store := openSQLite(t, dir, querylog.Retention{Listed: -1, Unlisted: -1, Totals: -1})
	name := "attic"
	r := fleet.NewReceiver(fleet.ReceiverOptions{Store: store, Join: time.Millisecond, Logger: quiet, Node: func(*http.Request) (string, error) { return name, nil }})
	var mu sync.Mutex
	var paths []string
	fails := 2
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		paths = append(paths, req.URL.Path)
		failed := req.URL.Path == fleet.ForgetPath && fails > 0
		if failed {
			fails--
		}
		mu.Unlock()
		if failed {
			http.Error(w, `{"error":"full"}`, http.StatusServiceUnavailable)
			return
		}
		r.ServeHTTP(w, req)
	}))
	defer func() {
		s.Close()
		r.Close()
		store.Close()
	}()
	attic, cellar := home(t, "attic"), home(t, "cellar")
	gone := storetest.Binding(1).Device
	for _, n := range []*storetest.Node{attic, cellar} {
		if got, err := store.Append(t.Context(), n.Batches(0, 0, true)); err != nil || got[0].Err != nil {
			t.Fatal(got, err)
		}
	}
	l, err := querylog.Open(querylog.Options{Dir: attic.Dir, Node: "attic", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	reader, err := querylog.OpenReader(attic.Dir)
	if err != nil {
		t.Fatal(err)
	}
	pending := true
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	shipper := fleet.NewShipper(fleet.ShipperOptions{
		Log: l, Reader: reader, Centres: []string{s.URL}, Client: client, Every: time.Millisecond, FirstWait: time.Millisecond, Logger: quiet,
		Forgotten: func() (*fleet.Forgetting, func() error, error) {
			mu.Lock()
			defer mu.Unlock()
			if !pending {
				return nil, nil, nil
			}
			return &fleet.Forgetting{Devices: []querylog.DeviceSpan{{Device: gone}}, Words: []string{gone}, At: time.Now()}, func() error {
				mu.Lock()
				defer mu.Unlock()
				pending = false
				return nil
			}, nil
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); shipper.Run(ctx) }()
	for deadline := time.Now().Add(30 * time.Second); !isShipped(shipper.State(t.Context())); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not reached: %+v", shipper.State(t.Context()))
		}
	}
	stop()
	<-ended
	mu.Lock()
	if len(paths) < 4 || paths[0] != fleet.ForgetPath || paths[1] != fleet.ForgetPath || paths[2] != fleet.ForgetPath || paths[3] != fleet.RowsPath {
		t.Errorf("got requests %q, want three to forget before any rows", paths)
	}
	mu.Unlock()
	merged, done, err := store.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	of := map[string]int{}
	for row, err := range merged.Rows(t.Context(), querylog.Filter{Device: gone}) {
		if err != nil {
			t.Fatal(err)
		}
		of[row.Node]++
	}
	if of["attic"] != 0 || of["cellar"] == 0 {
		t.Errorf("got rows of the device by node %v, want those of the cellar alone", of)
	}
	name = ""
	for status, body := range map[int]string{http.StatusForbidden: `{"devices":[{"device":"x"}]}`} {
		resp, err := client.Post(s.URL+fleet.ForgetPath, "application/json", strings.NewReader(body))
		if err != nil || resp.StatusCode != status {
			t.Errorf("of nobody: %v, %v; want %d", resp, err, status)
		}
		resp.Body.Close()
	}
	name = "cellar"
	for _, body := range []string{`{}`, `{"devices":`, ``, `[]`} {
		resp, err := client.Post(s.URL+fleet.ForgetPath, "application/json", strings.NewReader(body))
		if err != nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %v, %v; want 400", body, resp, err)
		}
		resp.Body.Close()
	}
}

// A window that is larger than a batch usually is goes alone, and whole.
func TestALargeWindowIsShippedAlone(t *testing.T) {
	c, n := newCentre(t, nil), home(t, "attic")
	var batches atomic.Int32
	c.front.set(func(http.ResponseWriter, *http.Request) bool { batches.Add(1); return false })
	shipBy(t, n, fleet.ShipperOptions{Centres: []string{c.url}, Packed: 1}, isShipped)
	if got := batches.Load(); got < 3 {
		t.Errorf("got %d batches, want one for each window", got)
	}
	wantListed(t, c, n)
	resp, err := http.Post(c.url+fleet.RowsPath, "application/gzip", bytes.NewReader(make([]byte, 5<<20)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusBadRequest { // it was read, and is no batch
		t.Errorf("a batch of 5 MiB: got %d, want 400", resp.StatusCode)
	}
}

// A center takes so many devices and words at once; a node sends more of them in parts.
func TestAForgettingOfManyDevicesTravelsInParts(t *testing.T) {
	many := &fleet.Forgetting{At: time.Now()}
	for i := range 450 {
		many.Devices = append(many.Devices, querylog.DeviceSpan{Device: fmt.Sprintf("addr:10.0.%d.%d", i/250, i%250)})
	}
	for i := range 3_500 {
		many.Words = append(many.Words, fmt.Sprintf("word%d", i))
	}
	many.Words = append(many.Words, "the longest of all words")
	store := &forgetter{}
	r := fleet.NewReceiver(fleet.ReceiverOptions{Store: store, Logger: quiet, Node: func(*http.Request) (string, error) { return "attic", nil }})
	defer r.Close()
	text, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodPost, fleet.ForgetPath, bytes.NewReader(text)))
	if w.Code != http.StatusBadRequest || len(store.got) != 0 {
		t.Errorf("too much at once: got status %d, want 400", w.Code)
	}
	s := httptest.NewServer(r)
	defer s.Close()
	done := make(chan struct{})
	told := false
	shipBy(t, home(t, "attic"), fleet.ShipperOptions{Centres: []string{s.URL}, Forgotten: func() (*fleet.Forgetting, func() error, error) {
		if told {
			return nil, nil, nil
		}
		return many, func() error { told = true; close(done); return nil }, nil
	}}, func(fleet.ShipperState) bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	devices, words := map[string]bool{}, map[string]bool{}
	for _, f := range store.got {
		if len(f.Devices) == 0 || f.Node != "attic" || !f.At.Equal(many.At) {
			t.Errorf("a part has %d devices, is of node %q, and at %v", len(f.Devices), f.Node, f.At)
		}
		for _, d := range f.Devices {
			devices[d.Device] = true
		}
		for _, w := range f.Words {
			words[w] = true
		}
	}
	if len(store.got) != 4 || len(devices) != len(many.Devices) || len(words) != len(many.Words) || store.got[0].Words[0] != "the longest of all words" {
		t.Errorf("got %d parts with %d devices and %d words, want 4 with %d and %d, the longest word first", len(store.got), len(devices), len(words), len(many.Devices), len(many.Words))
	}
}

// A forgetter keeps what it is to forget.
type forgetter struct {
	fleet.Store
	got []fleet.Forgetting
}

func (s *forgetter) Forget(_ context.Context, f fleet.Forgetting) (int64, error) {
	s.got = append(s.got, f)
	return 0, nil
}

func (*forgetter) Append(_ context.Context, batches []*fleet.Batch) ([]fleet.Stored, error) {
	return make([]fleet.Stored, len(batches)), nil
}

// A batch that becomes unusually large takes the one place of large ones; a request that does not say its size never does.
func TestOneLargeBatchIsHereAtATime(t *testing.T) {
	r := fleet.NewReceiver(fleet.ReceiverOptions{Store: &forgetter{}, Unpacked: 1 << 20, Logger: quiet, Node: func(*http.Request) (string, error) { return "attic", nil }})
	defer r.Close()
	s := httptest.NewServer(r)
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	send := func(size int64, body io.Reader) int {
		req := httptest.NewRequest(http.MethodPost, s.URL+fleet.RowsPath, body)
		req.RequestURI, req.ContentLength = "", size
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(make([]byte, 2<<20))
	w.Close()
	if got := send(int64(out.Len()), bytes.NewReader(out.Bytes())); got != http.StatusBadRequest {
		t.Errorf("a batch that becomes 2 MiB: got %d, want 400: it was read, and is none", got)
	}
	if got := send(-1, io.LimitReader(zeros{}, 5<<20)); got != http.StatusLengthRequired {
		t.Errorf("5 MiB without a size: got %d, want 411", got)
	}
	begun, rest := make(chan struct{}), make(chan struct{})
	held := make(chan int)
	go func() {
		w, body := httptest.NewRecorder(), &waiting{begun: begun, rest: rest}
		req := httptest.NewRequest(http.MethodPost, fleet.RowsPath, body)
		req.ContentLength = 5 << 20
		r.ServeHTTP(w, req)
		held <- w.Code
	}()
	<-begun
	if got := send(int64(out.Len()), bytes.NewReader(out.Bytes())); got != http.StatusServiceUnavailable {
		t.Errorf("a second large one: got %d, want 503", got)
	}
	if got := send(3, strings.NewReader("abc")); got != http.StatusBadRequest {
		t.Errorf("a small one meanwhile: got %d, want 400", got)
	}
	close(rest)
	if got := <-held; got != http.StatusBadRequest {
		t.Errorf("what was held: got %d, want 400", got)
	}
}

// A zeros is a body of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A waiting is a body that ends when rest does.
type waiting struct {
	begun, rest chan struct{}
}

func (w *waiting) Read([]byte) (int, error) {
	close(w.begun)
	<-w.rest
	return 0, io.EOF
}
