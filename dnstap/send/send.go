// Package send sends what clients ask and are answered by dnstap. It never holds a query up:
// what nobody takes, or not fast enough, is dropped and counted.
package send

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnstap"
	"telltale/querylog"
)

// Options are what a Sender needs.
type Options struct {
	To       string // unix:PATH or tcp://HOST:PORT
	Identity string // of this server
	Version  string
	// Dial connects by TCP. nil: as package net does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Bind returns who holds an address, for lookups that came when nobody knew it yet. It
	// may wait. nil: nobody knows.
	Bind   func(addr netip.Addr, id string) *devices.Binding
	Logger *slog.Logger

	pause, patience time.Duration // shorter in tests
}

// queueSize is how many lookups may wait. Each has room for its packets.
const queueSize = 1024

// keptRoom bounds the room that a place of the queue keeps, in octets.
const keptRoom = 4096

// A Sender sends lookups. Any goroutine may add some.
type Sender struct {
	o         Options
	connected atomic.Bool
	free      chan *lookup // places of the queue
	queue     chan *lookup // as long as there are places: adding never waits
	sent      atomic.Uint64
	dropped   atomic.Uint64
	stop      context.CancelFunc
	ctx       context.Context
	work      sync.WaitGroup
}

// A lookup is one that waits to be sent.
type lookup struct {
	record  querylog.Record // without what refers to the memory of others
	client  netip.AddrPort
	packets []byte // the query, and the reply behind it
	query   int    // octets of the query
}

// New returns a Sender that sends until Close.
func New(o Options) *Sender {
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Bind == nil {
		o.Bind = func(netip.Addr, string) *devices.Binding { return nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.pause == 0 {
		o.pause = time.Second
	}
	if o.patience == 0 {
		o.patience = 5 * time.Second
	}
	s := &Sender{o: o, free: make(chan *lookup, queueSize), queue: make(chan *lookup, queueSize)}
	for range queueSize {
		s.free <- new(lookup)
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.work.Go(s.run)
	return s
}

// Close sends what waits, as far as somebody takes it, and ends.
func (s *Sender) Close() {
	s.stop()
	s.work.Wait()
}

// Stats are what a Sender has done since its start.
type Stats struct {
	Sent, Dropped uint64 // messages
	Connected     bool
}

// Stats returns the figures as they stand.
func (s *Sender) Stats() Stats {
	return Stats{s.sent.Load(), s.dropped.Load(), s.connected.Load()}
}

// Add has a lookup sent, as it came and as it was answered; an empty reply is none. It never
// waits, and keeps nothing that it is handed.
func (s *Sender) Add(r querylog.Record, client netip.AddrPort, query, reply []byte) {
	if r.Binding != nil && r.Binding.NoLog {
		return
	}
	if !s.connected.Load() {
		s.dropped.Add(messages(reply)) // nothing waits for who may never come: it would keep old lists in memory
		return
	}
	select {
	case l := <-s.free:
		r.Name, r.Alias = nil, nil
		l.record, l.client, l.query = r, client, len(query)
		l.packets = append(append(l.packets[:0], query...), reply...)
		s.queue <- l
	default:
		s.dropped.Add(messages(reply))
	}
}

// messages is how many messages a lookup is.
func messages(reply []byte) uint64 {
	if len(reply) == 0 {
		return 1
	}
	return 2
}

// release gives the place of l back.
func (s *Sender) release(l *lookup) {
	if cap(l.packets) > keptRoom {
		l.packets = nil
	}
	l.record = querylog.Record{}
	s.free <- l
}

// run connects again and again until the Sender is closed.
func (s *Sender) run() {
	failed := ""
	for pause := s.o.pause; s.ctx.Err() == nil; {
		began := time.Now()
		err := s.session(func() {
			failed = ""
			s.o.Logger.Info("dnstap is taken", "to", s.o.To)
		})
		s.connected.Store(false)
		s.drop()
		if s.ctx.Err() != nil {
			return
		}
		if err.Error() != failed {
			failed = err.Error()
			s.o.Logger.Warn("dnstap is not taken: lookups are not sent until it is (they are in the query log all the same)", "to", s.o.To, "error", err)
		}
		if time.Since(began) > time.Minute {
			pause = s.o.pause
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 60*s.o.pause)
	}
}

// drop empties the queue.
func (s *Sender) drop() {
	for {
		select {
		case l := <-s.queue:
			s.dropped.Add(messages(l.packets[l.query:]))
			s.release(l)
		default:
			return
		}
	}
}

// session sends to one connection until it ends. begun is called when somebody takes what is
// sent.
func (s *Sender) session(begun func()) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := s.greet(c); err != nil {
		return err
	}
	s.connected.Store(true)
	begun()
	c.SetReadDeadline(time.Time{})
	gone := make(chan struct{}) // who takes it says nothing: whatever comes is the end
	s.work.Go(func() {
		defer close(gone)
		c.Read(make([]byte, 1))
	})
	if err = s.send(c, gone); err == nil {
		err = s.finish(c, gone)
	}
	c.Close()
	<-gone
	return err
}

func (s *Sender) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.o.patience)
	defer cancel()
	if path, isUnix := strings.CutPrefix(s.o.To, "unix:"); isUnix {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return s.o.Dial(ctx, "tcp", strings.TrimPrefix(s.o.To, "tcp://"))
}

// greet agrees on dnstap with who is at the other end.
func (s *Sender) greet(c net.Conn) error {
	c.SetDeadline(time.Now().Add(s.o.patience))
	stop := context.AfterFunc(s.ctx, func() { c.SetDeadline(time.Now()) })
	defer stop()
	if _, err := c.Write(dnstap.AppendControl(nil, dnstap.ControlReady, dnstap.Content)); err != nil {
		return err
	}
	var head [12]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return fmt.Errorf("no answer to a greeting of Frame Streams: %w", err)
	}
	size, kind := binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[8:])
	if binary.BigEndian.Uint32(head[:]) != 0 || size < 4 || size > dnstap.MaxControl || kind != dnstap.ControlAccept {
		return errors.New("the answer to a greeting is not of Frame Streams")
	}
	content := make([]byte, size-4)
	if _, err := io.ReadFull(c, content); err != nil {
		return err
	}
	if len(content) > 0 && !bytes.Contains(content, []byte(dnstap.Content)) {
		return errors.New("who is there takes Frame Streams, and no dnstap")
	}
	_, err := c.Write(dnstap.AppendControl(nil, dnstap.ControlStart, dnstap.Content))
	return err
}

// send sends lookups until the connection or the Sender ends; then it returns nil.
func (s *Sender) send(c net.Conn, gone <-chan struct{}) error {
	w := bufio.NewWriterSize(c, 64<<10)
	var frame []byte
	waiting := uint64(0) // messages that were not written out yet
	defer func() { s.dropped.Add(waiting) }()
	flush := func() error {
		c.SetWriteDeadline(time.Now().Add(s.o.patience))
		if err := w.Flush(); err != nil {
			return err
		}
		s.sent.Add(waiting)
		waiting = 0
		return nil
	}
	take := func(l *lookup) error {
		defer s.release(l)
		frames, n := s.frames(frame[:0], l)
		frame = frames
		waiting += n
		if w.Available() < len(frames) { // it writes by itself
			c.SetWriteDeadline(time.Now().Add(s.o.patience))
		}
		_, err := w.Write(frames)
		return err
	}
	for {
		select {
		case <-gone:
			return errors.New("who took it is gone")
		case <-s.ctx.Done():
			for {
				select {
				case l := <-s.queue:
					if err := take(l); err != nil {
						return err
					}
				default:
					return flush()
				}
			}
		case l := <-s.queue:
			if err := take(l); err != nil {
				return err
			}
			if len(s.queue) == 0 {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
}

// finish says that nothing more comes, and waits a moment for who took it to have all.
func (s *Sender) finish(c net.Conn, gone <-chan struct{}) error {
	c.SetWriteDeadline(time.Now().Add(s.o.patience))
	if _, err := c.Write(dnstap.AppendControl(nil, dnstap.ControlStop, "")); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(time.Second))
	<-gone
	return nil
}

// protocols are those of dnstap.
var protocols = [...]uint64{querylog.UDP: dnstap.UDP, querylog.TCP: dnstap.TCP, querylog.TLS: dnstap.TLS, querylog.HTTPS: dnstap.HTTP, querylog.QUIC: dnstap.QUIC}

// frames appends the messages of a lookup: none where its device opted out.
func (s *Sender) frames(b []byte, l *lookup) (frames []byte, n uint64) {
	r := &l.record
	if r.Binding == nil {
		r.Binding = s.o.Bind(r.Client, r.ClientID)
	}
	if r.Binding != nil && r.Binding.NoLog {
		return b, 0
	}
	m := dnstap.Message{
		Identity: []byte(s.o.Identity), Version: []byte(s.o.Version), Extra: extra(r),
		Kind: dnstap.ClientQuery, Protocol: protocols[r.Transport], Client: l.client.Addr().Unmap().WithZone("").AsSlice(), ClientPort: uint64(l.client.Port()),
		QueryTime: r.Time, Query: l.packets[:l.query],
	}
	b = dnstap.AppendFrame(b, m.Append(nil))
	reply := l.packets[l.query:]
	if len(reply) == 0 {
		return b, 1
	}
	m.Kind, m.Query, m.Reply, m.ReplyTime = dnstap.ClientResponse, nil, reply, r.Time.Add(r.Elapsed)
	return dnstap.AppendFrame(b, m.Append(nil)), 2
}

// An Extra is what the field extra of a message says, as JSON. The keys never change.
type Extra struct {
	Verdict  string `json:"verdict"`
	Source   string `json:"source"`
	List     string `json:"list,omitempty"` // of the rule that decided
	Line     int    `json:"line,omitempty"`
	Rule     string `json:"rule,omitempty"`
	Vendor   string `json:"vendor,omitempty"` // whom lists attribute the name to
	Upstream string `json:"upstream,omitempty"`
}

func extra(r *querylog.Record) []byte {
	v := &r.Verdict
	e := Extra{Verdict: v.Action.String(), Source: r.Source.String(), Upstream: r.Upstream}
	if v.Policy != nil && v.Action != blocklists.Pass {
		rule := v.Policy.Rule(v.Rule)
		e.List, e.Line, e.Rule = rule.List, rule.Line, rule.Text
	}
	if v.Policy != nil {
		if a := v.Policy.Attribution(*v); a != nil {
			e.Vendor = a.Vendor
		}
	}
	text, err := json.Marshal(e)
	if err != nil {
		return nil // not of texts
	}
	return text
}
