package fleet

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"telltale/clock"
	"telltale/querylog"
)

// LivePath is where a node asks whether somebody follows the merged log (GET, which is held until somebody does), and posts its rows as
// they come while somebody does: gzip of a JSON object for each row, on lines. Both are answered with a LiveAnswer. It never changes.
const LivePath = "/v1/live"

// LeftOutHeader of a post says how many rows the node left out before it.
const LeftOutHeader = "Telltale-Left-Out"

// A LiveAnswer says whether somebody follows. Its keys never change.
type LiveAnswer struct {
	Follow bool `json:"follow"`
}

// Times and bounds of rows that are posted as they come.
const (
	liveHeld      = time.Minute            // how long a center holds a request
	liveEvery     = 500 * time.Millisecond // a node looks for rows
	liveHeartbeat = 2 * time.Second        // a node posts at least, also where nothing has come
	liveTimeout   = 10 * time.Second       // of a post
	liveBefore    = time.Minute            // rows of so long before are posted first: they may not have been shipped
	liveRows      = 2_000                  // of a post
	liveRowSize   = 100                    // octets that a row takes on the way, about: what Bandwidth makes of liveRows
	liveShare     = 4                      // what part of Bandwidth: the rest is for what is sent to the merged log
	liveUnknown   = 5 * time.Minute        // until a center is asked again that is too old to be asked
	liveLastWait  = 2 * time.Second        // between attempts
)

// LiveOptions say how a node hands on its rows as they come.
type LiveOptions struct {
	Open      func() (*querylog.Reader, error) // the node's log
	Centers   []string                         // URLs without a path
	Client    *http.Client
	Unlisted  bool         // also rows of names that no list has
	Bandwidth *Bandwidth   // of which a quarter is taken at most, about; nil for no bound
	Logger    *slog.Logger // nil for slog.Default()
}

// A LiveNode hands on a node's rows as they come, while somebody follows the merged log at the center. Otherwise it holds one request, and
// reads nothing.
type LiveNode struct {
	o         LiveOptions
	center    int   // place of the one that is asked
	delivered int64 // the last closed row that it took, while somebody follows
}

// NewLiveNode returns one that Run starts.
func NewLiveNode(o LiveOptions) *LiveNode {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &LiveNode{o: o}
}

var errLiveUnknown = errors.New("the center is of a version before 'log --follow --all-nodes'")

// Run does so until ctx ends.
func (l *LiveNode) Run(ctx context.Context) {
	wait := liveEvery
	for ctx.Err() == nil {
		follow, err := l.ask(ctx)
		if err == nil && follow {
			err = l.follow(ctx)
		}
		switch {
		case err == nil:
			wait, l.delivered = liveEvery, 0
			continue
		case errors.Is(err, errLiveUnknown):
			clock.Sleep(ctx, liveUnknown)
		default:
			l.o.Logger.Debug("fleet: rows are not handed on as they come, and it is tried again", "center", l.o.Centers[l.center], "error", err)
			clock.Sleep(ctx, wait/2+rand.N(wait/2))
			wait = min(2*wait, liveLastWait)
		}
		if len(l.o.Centers) > 1 {
			l.center, l.delivered = (l.center+1)%len(l.o.Centers), 0
		}
	}
}

// ask waits until somebody follows, or for as long as the center holds the request.
func (l *LiveNode) ask(ctx context.Context) (follow bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, liveHeld+15*time.Second)
	defer cancel()
	return l.send(ctx, request{method: http.MethodGet})
}

func (l *LiveNode) send(ctx context.Context, r request) (follow bool, err error) {
	r.url, r.path = l.o.Centers[l.center], LivePath
	resp, text, err := r.send(ctx, l.o.Client)
	if err != nil {
		return false, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return false, errLiveUnknown
	default:
		return false, fmt.Errorf("the center answered %s", resp.Status)
	}
	var said LiveAnswer
	err = json.Unmarshal(text, &said)
	return said.Follow, err
}

// follow posts rows as they come until nobody follows any more.
func (l *LiveNode) follow(ctx context.Context) error {
	r, err := l.o.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	rows := r.Follower(querylog.Filter{Listed: !l.o.Unlisted, After: querylog.IDAt(time.Now().Add(-liveBefore))})
	most := liveRows
	if b := l.o.Bandwidth; b != nil {
		most = min(most, max(1, int(int64(b.rate)*int64(liveEvery)/int64(time.Second))/liveShare/liveRowSize))
	}
	var posted time.Time
	for {
		p, err := newLivePost(ctx, rows, most, l.delivered)
		if err != nil {
			return fmt.Errorf("reading what has come: %w", err)
		}
		if p.rows > 0 || p.leftOut > 0 || time.Since(posted) >= liveHeartbeat {
			posted = time.Now()
			if follow, err := l.post(ctx, p); err != nil || !follow {
				return err
			}
			l.delivered = max(l.delivered, p.closed)
		}
		if !clock.Sleep(ctx, liveEvery) {
			return ctx.Err()
		}
	}
}

// A livePost is rows on their way.
type livePost struct {
	packed  bytes.Buffer
	rows    int
	closed  int64 // the last that is closed
	leftOut int   // for want of room
}

// newLivePost packs what has come: of more than a post may have, the last. What was delivered before an attempt that failed is not left out.
func newLivePost(ctx context.Context, from *querylog.Follower, most int, delivered int64) (*livePost, error) {
	p := &livePost{}
	var rows []querylog.Row // as a ring once there are as many as may be
	first := 0
	err := from.Look(ctx, func(r querylog.Row) error {
		switch {
		case r.Imported != "": // it stays where it is
		case len(rows) < most:
			rows = append(rows, r)
		default:
			if old := &rows[first]; old.Open || old.ID > delivered {
				p.leftOut++
			}
			rows[first] = r
			first = (first + 1) % most
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.rows = len(rows)
	w := packers.Get().(*gzip.Writer)
	defer packers.Put(w)
	w.Reset(&p.packed)
	out := json.NewEncoder(w)
	for i := range rows {
		row := &rows[(first+i)%len(rows)]
		if !row.Open {
			p.closed = max(p.closed, row.ID)
		}
		if err := out.Encode(row); err != nil {
			return nil, err
		}
	}
	return p, w.Close()
}

func (l *LiveNode) post(ctx context.Context, p *livePost) (follow bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	return l.send(ctx, request{method: http.MethodPost, kind: "application/gzip", body: p.packed.Bytes(), bandwidth: l.o.Bandwidth,
		header: http.Header{LeftOutHeader: {strconv.Itoa(p.leftOut)}}})
}
