package send

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnstap"
	"telltale/dnswire"
	"telltale/querylog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// A receiver takes dnstap as programs do.
type receiver struct {
	t        *testing.T
	listener net.Listener
	messages chan dnstap.Message
	ends     chan string   // how each connection ended
	slow     chan struct{} // not nil: nothing is read until it is closed

	mu    sync.Mutex
	conns []net.Conn
}

func listen(t *testing.T, network, address string) *receiver {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, listener: l, messages: make(chan dnstap.Message, 10_000), ends: make(chan string, 100)}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, c)
			r.mu.Unlock()
			work.Go(func() { r.ends <- r.take(c); c.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); r.cut(); work.Wait() })
	return r
}

// cut ends all connections.
func (r *receiver) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

func (r *receiver) take(c net.Conn) string {
	in := bufio.NewReader(c)
	next := func() (body []byte, control bool) {
		var n [4]byte
		if _, err := io.ReadFull(in, n[:]); err != nil {
			return nil, false
		}
		size := binary.BigEndian.Uint32(n[:])
		if size == 0 {
			control = true
			if _, err := io.ReadFull(in, n[:]); err != nil {
				return nil, false
			}
			size = binary.BigEndian.Uint32(n[:])
		}
		body = make([]byte, size)
		if _, err := io.ReadFull(in, body); err != nil {
			return nil, false
		}
		return body, control
	}
	for _, want := range []uint32{dnstap.ControlReady, dnstap.ControlStart} {
		body, control := next()
		if !control || binary.BigEndian.Uint32(body) != want {
			return fmt.Sprintf("got %q, want a control frame %d", body, want)
		}
		if want == dnstap.ControlReady {
			c.Write(dnstap.AppendControl(nil, dnstap.ControlAccept, dnstap.Content))
		}
	}
	if r.slow != nil {
		<-r.slow
	}
	for {
		body, control := next()
		switch {
		case body == nil:
			return "cut"
		case control:
			c.Write(dnstap.AppendControl(nil, dnstap.ControlFinish, ""))
			return "stop"
		}
		m, err := dnstap.Parse(body)
		if err != nil {
			return err.Error()
		}
		r.messages <- m
	}
}

func (r *receiver) next() dnstap.Message {
	r.t.Helper()
	select {
	case m := <-r.messages:
		return m
	case <-time.After(patience):
		r.t.Fatal("no message comes")
		return dnstap.Message{}
	}
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func start(t *testing.T, o Options) *Sender {
	o.pause = 10 * time.Millisecond
	s := New(o)
	t.Cleanup(s.Close)
	return s
}

var client = netip.MustParseAddrPort("192.0.2.7:40000")

func lookup1(b *devices.Binding) querylog.Record {
	return querylog.Record{Time: time.Unix(1_800_000_000, 5), Elapsed: time.Millisecond, Client: client.Addr(), Binding: b, Source: querylog.FromCache, Transport: querylog.TLS, Name: []byte("gone")}
}

var known = &devices.Binding{Device: "tv"}

func TestLookupsAreSentAsTheyCameAndAsTheyWereAnswered(t *testing.T) {
	lists, err := blocklists.Open(blocklists.Options{Shipped: fstest.MapFS{"ads.txt": {Data: []byte("#@ vendor=Acme tier=telemetry source=https://example.org\ntracker.example\n")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer lists.Close()
	for _, network := range []string{"unix", "tcp"} {
		address := "127.0.0.1:0"
		if network == "unix" {
			address = filepath.Join(t.TempDir(), "tap")
		}
		r := listen(t, network, address)
		to := map[string]string{"unix": "unix:" + address, "tcp": "tcp://" + r.listener.Addr().String()}[network]
		s := New(Options{To: to, Identity: "attic", Version: "telltale x", pause: 10 * time.Millisecond})
		waitFor(t, "it connects", func() bool { return s.Stats().Connected })
		name, _ := dnswire.ParseName("a.tracker.example")
		rec := lookup1(known)
		rec.Verdict, rec.Source = lists.Current().Decide(&name, dnswire.TypeA, 0), querylog.FromPolicy
		query, reply := []byte("the query"), []byte("the reply")
		s.Add(rec, client, query, reply)
		clear(query) // nothing of it is kept
		clear(reply)
		q, a := r.next(), r.next()
		if q.Kind != dnstap.ClientQuery || string(q.Query) != "the query" || q.Reply != nil || q.Protocol != dnstap.TLS || !q.ReplyTime.IsZero() || !q.QueryTime.Equal(rec.Time) || string(q.Identity) != "attic" {
			t.Errorf("%s: got %+v", network, q)
		}
		if a.Kind != dnstap.ClientResponse || string(a.Reply) != "the reply" || a.ReplyTime.Sub(a.QueryTime) != time.Millisecond || a.ClientPort != 40000 || netip.AddrFrom4([4]byte(a.Client)) != client.Addr() {
			t.Errorf("%s: got %+v", network, a)
		}
		for _, m := range []dnstap.Message{q, a} {
			var e Extra
			if err := json.Unmarshal(m.Extra, &e); err != nil || e != (Extra{Verdict: "block", Source: "policy", List: "ads", Line: 2, Rule: "tracker.example", Vendor: "Acme"}) {
				t.Errorf("%s: got %s, %v", network, m.Extra, err)
			}
		}
		s.Add(lookup1(known), client, []byte("shed"), nil)
		if q := r.next(); q.Kind != dnstap.ClientQuery || string(q.Query) != "shed" {
			t.Errorf("%s: a lookup without a reply: got %+v", network, q)
		}
		s.Close()
		if end := <-r.ends; end != "stop" {
			t.Errorf("%s: the connection ended with %s", network, end)
		}
		if st := s.Stats(); st.Sent != 3 || st.Dropped != 0 {
			t.Errorf("%s: got %+v", network, st)
		}
	}
}

func TestNothingIsSentOfWhoOptedOut(t *testing.T) {
	r := listen(t, "unix", filepath.Join(t.TempDir(), "tap"))
	hidden := &devices.Binding{Device: "hidden", NoLog: true}
	s := start(t, Options{To: "unix:" + r.listener.Addr().String(), Bind: func(netip.Addr, string) *devices.Binding { return hidden }})
	waitFor(t, "it connects", func() bool { return s.Stats().Connected })
	s.Add(lookup1(hidden), client, []byte("a"), []byte("b"))
	s.Add(lookup1(nil), client, []byte("c"), []byte("d")) // who that is is known a moment later
	s.Add(lookup1(known), client, []byte("e"), nil)
	if q := r.next(); string(q.Query) != "e" {
		t.Errorf("got %q, want that of the other device", q.Query)
	}
}

func TestWhatNobodyTakesIsDroppedAndCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tap")
	s := start(t, Options{To: "unix:" + path})
	s.Add(lookup1(known), client, []byte("early"), []byte("b"))
	if st := s.Stats(); st.Dropped != 2 || st.Connected {
		t.Errorf("got %+v", st)
	}
	r := listen(t, "unix", path)
	for range 3 { // each time by a new connection
		waitFor(t, "a lookup is taken", func() bool {
			s.Add(lookup1(known), client, []byte("q"), nil)
			select {
			case q := <-r.messages:
				return string(q.Query) == "q"
			case <-time.After(20 * time.Millisecond):
				return false
			}
		})
		r.cut()
		<-r.ends
		for len(r.messages) > 0 {
			<-r.messages
		}
	}
}

// Who reads nothing holds nothing up: it is left, and all is counted.
func TestASlowReaderHoldsNothingUp(t *testing.T) {
	r := listen(t, "unix", filepath.Join(t.TempDir(), "tap"))
	r.slow = make(chan struct{})
	s := start(t, Options{To: "unix:" + r.listener.Addr().String(), patience: time.Second})
	waitFor(t, "it connects", func() bool { return s.Stats().Connected })
	query, n := make([]byte, 4000), 0
	waitFor(t, "it is dropped", func() bool {
		for range 100 {
			s.Add(lookup1(known), client, query, query)
			n++
		}
		return s.Stats().Dropped > 0
	})
	s.Close()
	close(r.slow)
	if st := s.Stats(); st.Sent+st.Dropped != uint64(2*n) {
		t.Errorf("got %+v, want that all %d messages are counted", st, 2*n)
	}
}

func TestWhoSpeaksSomethingElse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tried := make(chan struct{}, 100)
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("220 mail.example ESMTP\r\n"))
			c.Close()
			tried <- struct{}{}
		}
	})
	s := start(t, Options{To: "tcp://" + l.Addr().String()})
	for range 3 { // again and again
		select {
		case <-tried:
		case <-time.After(patience):
			t.Fatal("it does not try again")
		}
	}
	if s.Stats().Connected {
		t.Error("it is taken for somebody who takes dnstap")
	}
	l.Close()
}

func TestAddDoesNotAllocateWhereNobodyTakesIt(t *testing.T) {
	s := start(t, Options{To: "unix:" + filepath.Join(t.TempDir(), "tap")})
	rec := lookup1(known)
	query := []byte("query")
	if n := testing.AllocsPerRun(1000, func() { s.Add(rec, client, query, query) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
