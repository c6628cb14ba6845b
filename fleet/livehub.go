package fleet

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"telltale/querylog"
)

// Bounds of what a LiveHub keeps.
const (
	liveStreams  = 16          // that follow at once
	liveWaiting  = 4_096       // rows that wait for one that follows
	liveRecent   = 4_096       // rows that one gets which begins beside others
	liveKept     = time.Minute // and how old they are: the merged log has what came before, and what was forgotten does not stay here
	livePacked   = 1 << 20     // octets of a post
	liveUnpacked = 8 << 20     // that it may become
	liveLine     = 16 << 10
	liveParsing  = 2       // posts that are read at once
	liveStores   = 4       // of a node, of which is known what came
	liveOpen     = 1 << 16 // open rows of a node, of which is known how far they have grown
	liveAway     = 6 * time.Second
)

// A LiveHub hands the rows that nodes post as they come on to all who follow the merged log. While nobody does, nodes post none, and it
// keeps nothing but when it heard of each node. Any goroutine may use it.
type LiveHub struct {
	parsing chan struct{} // has one for each post that is read at present

	mu      sync.Mutex
	streams map[*LiveStream]bool
	begun   chan struct{} // closed as somebody begins to follow; nil while somebody does
	nodes   map[string]*knownNode
	recent  []recentRow // the last that came, while somebody follows
	cut     []liveCut   // what was removed from recent for want of room
}

// A recentRow is a row that came, and when.
type recentRow struct {
	*querylog.Row
	came time.Time
}

// A liveCut is how many rows of each node were removed at a time.
type liveCut struct {
	at   time.Time
	rows map[string]int
}

// A knownNode is what is known of a node.
type knownNode struct {
	heard  time.Time
	stores map[string]*liveStore
}

// A liveStore is which of a store's rows came.
type liveStore struct {
	closed int64            // the last closed row
	window int64            // of that row
	open   map[int64]uint64 // counts of open rows
}

// NewLiveHub returns one that nobody follows.
func NewLiveHub() *LiveHub {
	return &LiveHub{parsing: make(chan struct{}, liveParsing), streams: map[*LiveStream]bool{}, begun: make(chan struct{}), nodes: map[string]*knownNode{}}
}

// A LiveStream is one that follows. A row that came open comes again as it grows, and once when it is closed.
type LiveStream struct {
	Rows chan *querylog.Row // nobody changes one

	hub     *LiveHub
	leftOut map[string]int // by node: left out there, or because Rows was full
	begun   time.Time
}

// ErrStreams means that no more may follow at present.
var ErrStreams = errors.New("as many follow the merged log as may, 16: end one first")

// Follow begins to follow. Its caller closes what it returns.
func (h *LiveHub) Follow() (*LiveStream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.streams) == liveStreams {
		return nil, ErrStreams
	}
	s := &LiveStream{Rows: make(chan *querylog.Row, liveWaiting), hub: h, leftOut: map[string]int{}, begun: time.Now()}
	h.trimLocked()
	for _, row := range newestOf(h.recent) {
		s.Rows <- row
	}
	for _, cut := range h.cut {
		for node, rows := range cut.rows {
			s.leftOut[node] += rows
		}
	}
	h.streams[s] = true
	if h.begun != nil {
		close(h.begun)
		h.begun = nil
	}
	return s, nil
}

// newestOf returns each row once, as it came last.
func newestOf(rows []recentRow) (all []*querylog.Row) {
	type keyOfNode struct {
		node string
		Key
	}
	seen := map[keyOfNode]bool{}
	for _, row := range slices.Backward(rows) {
		if key := (keyOfNode{row.Node, Key{row.Store, row.ID}}); !seen[key] {
			seen[key] = true
			all = append(all, row.Row)
		}
	}
	slices.Reverse(all)
	return all
}

// Close ends it.
func (s *LiveStream) Close() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if delete(h.streams, s); len(h.streams) > 0 || h.begun != nil {
		return
	}
	h.begun, h.recent, h.cut = make(chan struct{}), nil, nil
	for _, n := range h.nodes {
		n.stores = nil
	}
}

// LeftOut returns how many rows of each node did not come since it was called last: the node had more than fit, or who follows takes them
// too slowly.
func (s *LiveStream) LeftOut() map[string]int {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.trimLocked() // also while no node posts anything
	if len(s.leftOut) == 0 {
		return nil
	}
	all := s.leftOut
	s.leftOut = map[string]int{}
	return all
}

// Away returns which of these nodes hand on nothing, with the time when each was heard last, zero for not since the center began. A
// stream has to be followed for some seconds before one is away.
func (s *LiveStream) Away(nodes []string, now time.Time) map[string]time.Time {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	all := map[string]time.Time{}
	if now.Sub(s.begun) < liveAway {
		return all
	}
	for _, name := range nodes {
		if n := s.hub.nodes[name]; n == nil {
			all[name] = time.Time{}
		} else if now.Sub(n.heard) > liveAway {
			all[name] = n.heard
		}
	}
	return all
}

// Handler answers nodes; nodeOf says of which a request is, and again whether one that was held may still be answered (nil: always).
func (h *LiveHub) Handler(nodeOf func(*http.Request) string, again func(http.ResponseWriter, *http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		node := nodeOf(r)
		switch r.Method {
		case http.MethodGet:
			if h.hold(r, node); again != nil && !again(w, r) {
				return
			}
		case http.MethodPost:
			if err := h.take(w, r, node); err != nil {
				http.Error(w, "the rows cannot be read: "+err.Error(), http.StatusBadRequest)
				return
			}
		default:
			http.Error(w, "this is asked with GET and POST", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(LiveAnswer{Follow: h.heard(node)})
	})
}

// heard notes that a node is there, and reports whether somebody follows.
func (h *LiveHub) heard(node string) (follow bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nodeLocked(node).heard = time.Now()
	return h.begun == nil
}

func (h *LiveHub) nodeLocked(name string) *knownNode {
	n := h.nodes[name]
	if n == nil {
		n = &knownNode{}
		h.nodes[name] = n
	}
	return n
}

// hold waits until somebody follows, or long enough.
func (h *LiveHub) hold(r *http.Request, node string) {
	h.heard(node)
	h.mu.Lock()
	begun := h.begun
	h.mu.Unlock()
	if begun == nil {
		return
	}
	end := time.NewTimer(liveHeld)
	defer end.Stop()
	select {
	case <-begun:
	case <-end.C:
	case <-r.Context().Done():
	}
}

// take hands the rows of a post on.
func (h *LiveHub) take(w http.ResponseWriter, r *http.Request, node string) error {
	if !h.isFollowed() {
		return nil
	}
	packed, err := io.ReadAll(http.MaxBytesReader(w, r.Body, livePacked)) // as slowly as it comes, it keeps nobody else waiting
	if err != nil {
		return err
	}
	rows, leftOut, err := h.parse(r.Context(), packed)
	if err != nil {
		return err
	}
	more, _ := strconv.Atoi(r.Header.Get(LeftOutHeader))
	leftOut += max(more, 0)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.streams) == 0 {
		return nil
	}
	n := h.nodeLocked(node)
	for _, row := range rows {
		if row.Node = node; n.isNew(row) {
			h.handLocked(row)
		}
	}
	for s := range h.streams {
		if leftOut > 0 {
			s.leftOut[node] += leftOut
		}
	}
	return nil
}

func (h *LiveHub) isFollowed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams) > 0
}

// parse reads the rows of a post once few enough others are read.
func (h *LiveHub) parse(ctx context.Context, packed []byte) (rows []*querylog.Row, leftOut int, err error) {
	select {
	case h.parsing <- struct{}{}:
		defer func() { <-h.parsing }()
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, 0, err
	}
	return readLive(unpacked)
}

// readLive reads the rows of a post, of which a node sends liveRows at most: short lines become far more in memory than on the way. Those
// that are too long are left out.
func readLive(from io.Reader) (rows []*querylog.Row, leftOut int, err error) {
	limited := &io.LimitedReader{R: from, N: liveUnpacked + 1}
	lines := bufio.NewReaderSize(limited, liveLine)
	for {
		line, err := lines.ReadSlice('\n')
		if limited.N <= 0 {
			return nil, 0, ErrTooLarge
		}
		switch {
		case err == io.EOF && len(line) == 0:
			return rows, leftOut, nil
		case err == bufio.ErrBufferFull:
			for err == bufio.ErrBufferFull {
				_, err = lines.ReadSlice('\n')
			}
			if leftOut++; err != nil && err != io.EOF {
				return nil, 0, err
			}
			continue
		case err == io.EOF:
			return nil, 0, io.ErrUnexpectedEOF
		case err != nil:
			return nil, 0, err
		}
		if len(rows) == liveRows {
			return nil, 0, ErrTooLarge
		}
		row := new(querylog.Row)
		if err := json.Unmarshal(bytes.TrimSpace(line), row); err != nil {
			return nil, 0, err
		}
		rows = append(rows, row)
	}
}

// isNew reports whether a row is one that did not come, or has grown since.
func (n *knownNode) isNew(row *querylog.Row) bool {
	s := n.stores[row.Store]
	if s == nil {
		if n.stores == nil || len(n.stores) >= liveStores {
			n.stores = map[string]*liveStore{}
		}
		s = &liveStore{open: map[int64]uint64{}}
		n.stores[row.Store] = s
	}
	if row.ID <= s.closed {
		return false
	}
	if !row.Open {
		s.closed = row.ID
		if delete(s.open, row.ID); row.Window() != s.window { // the one before is over, and what was left out of it
			s.window = row.Window()
			maps.DeleteFunc(s.open, func(id int64, _ uint64) bool { return id < row.ID })
		}
		return true
	}
	if count, known := s.open[row.ID]; known && count >= row.Count {
		return false
	}
	if len(s.open) >= liveOpen {
		clear(s.open)
	}
	s.open[row.ID] = row.Count
	return true
}

// handLocked gives a row to all who follow.
func (h *LiveHub) handLocked(row *querylog.Row) {
	if len(h.recent) >= liveRecent {
		h.trimLocked()
	}
	if len(h.recent) >= liveRecent {
		h.cutLocked(liveRecent / 2)
	}
	h.recent = append(h.recent, recentRow{row, time.Now()})
	for s := range h.streams {
		select {
		case s.Rows <- row:
		default:
			s.leftOut[row.Node]++
		}
	}
}

// trimLocked removes what came too long ago.
func (h *LiveHub) trimLocked() {
	oldest := time.Now().Add(-liveKept)
	if n := slices.IndexFunc(h.recent, func(r recentRow) bool { return r.came.After(oldest) }); n < 0 {
		h.recent = nil
	} else if n > 0 {
		h.recent = slices.Clone(h.recent[n:])
	}
	h.cut = slices.DeleteFunc(h.cut, func(c liveCut) bool { return c.at.Before(oldest) })
}

// cutLocked removes the first n rows, and notes how many of each node are in none of the others.
func (h *LiveHub) cutLocked(n int) {
	rows := map[string]int{}
	for _, row := range newestOf(h.recent) {
		rows[row.Node]++
	}
	at := h.recent[n-1].came
	h.recent = slices.Clone(h.recent[n:])
	for _, row := range newestOf(h.recent) {
		rows[row.Node]--
	}
	h.cut = append(h.cut, liveCut{at, rows})
}
