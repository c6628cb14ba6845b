package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"telltale/querylog"
	"telltale/web"
)

const (
	mostStreams   = 32               // that follow the log at once
	ownStreams    = 8                // of these, for one account or token
	streamBuffer  = 1024             // rows that wait for who follows
	streamEvery   = time.Second / 2  // the log is looked at
	streamSilence = 15 * time.Second // after which who follows is told that nothing is new
	streamPage    = 500              // rows of before that are read at once
)

// A liveLog hands rows on to all who follow the log, from one reading of it, which runs while
// anybody does. Its zero value is ready.
type liveLog struct {
	mu      sync.Mutex
	streams map[*logStream]bool
	begun   chan struct{} // closed when the reading has seen what was there at first; nil: nobody reads
	stop    context.CancelFunc
	taken   int            // streams and those that are about to be
	owned   map[string]int // of these, by caller
	refused uint64
	ended   uint64
}

// A logStream is what waits for one who follows.
type logStream struct {
	rows  chan querylog.Row
	ended chan struct{} // closed when too many rows waited, or the log cannot be read any more
	why   error
}

var errSlow = errors.New("who follows does not take what comes")

func (v *liveLog) status() web.LogStreams {
	v.mu.Lock()
	defer v.mu.Unlock()
	return web.LogStreams{Now: v.taken, Most: mostStreams, Refused: v.refused, Ended: v.ended}
}

// take takes one of the places of those who may follow.
func (v *liveLog) take(by web.Caller) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.owned[by.Name] >= ownStreams && !by.IsSocket() {
		v.refused++
		return web.Unavailable(fmt.Errorf("you follow the log %d times already, and no more may one account or token: end one first", ownStreams))
	}
	if v.taken == mostStreams {
		v.refused++
		return web.Unavailable(fmt.Errorf("%d others follow the log, and no more may: try again when one has gone", mostStreams))
	}
	if v.owned == nil {
		v.owned = map[string]int{}
	}
	v.taken++
	v.owned[by.Name]++
	return nil
}

func (v *liveLog) give(by web.Caller) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.taken--
	if v.owned[by.Name]--; v.owned[by.Name] == 0 {
		delete(v.owned, by.Name)
	}
}

// join adds who follows, and waits until the reading has begun: what comes from then on comes to
// the stream.
func (v *liveLog) join(ctx context.Context, a *app) (*logStream, error) {
	s := &logStream{rows: make(chan querylog.Row, streamBuffer), ended: make(chan struct{})}
	v.mu.Lock()
	if v.streams == nil {
		v.streams = map[*logStream]bool{}
	}
	v.streams[s] = true
	if v.begun == nil && a.background.Err() == nil {
		reading, stop := context.WithCancel(a.background)
		v.begun, v.stop = make(chan struct{}), stop
		begun := v.begun
		a.work.Go(func() { v.read(reading, a, begun) })
	}
	begun := v.begun
	v.mu.Unlock()
	select {
	case <-a.background.Done():
		return s, a.background.Err()
	case <-begun:
		return s, nil
	case <-s.ended:
		return s, s.why
	case <-ctx.Done():
		return s, ctx.Err()
	}
}

// leave is to be called by who has joined.
func (v *liveLog) leave(s *logStream) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.streams, s)
	if len(v.streams) == 0 && v.stop != nil {
		v.stop()
		v.begun, v.stop = nil, nil
	}
}

// read hands rows on until ctx ends or the log cannot be read.
func (v *liveLog) read(ctx context.Context, a *app, begun chan struct{}) {
	err := v.readFrom(ctx, a.log.Reader(), begun)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.begun != begun { // all have left, and others may have come
		return
	}
	v.begun, v.stop = nil, nil
	for s := range v.streams {
		s.end(err)
		delete(v.streams, s)
	}
}

func (v *liveLog) readFrom(ctx context.Context, r *querylog.Reader, begun chan struct{}) error {
	w := r.Follower(querylog.Filter{Limit: 1})
	if err := w.Look(ctx, func(querylog.Row) error { return nil }); err != nil {
		return err
	}
	close(begun)
	ticker := time.NewTicker(streamEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if err := w.Look(ctx, func(row querylog.Row) error { v.hand(begun, &row); return nil }); err != nil {
			return err
		}
	}
}

// hand gives a row to all who follow. One for whom too many wait is ended.
func (v *liveLog) hand(begun chan struct{}, row *querylog.Row) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.begun != begun {
		return
	}
	for s := range v.streams {
		select {
		case s.rows <- *row:
		default:
			v.ended++
			s.end(errSlow)
			delete(v.streams, s)
		}
	}
}

// end tells who follows that nothing more comes. It is called once.
func (s *logStream) end(why error) {
	s.why = why
	close(s.ended)
}

// followLog follows the rows that w chooses, with those of before that are behind after, unless
// that is 0.
func (a *app) followLog(ctx context.Context, w web.Which, after int64) (web.LogFollower, error) {
	f, err := filterOf(&w, "")
	if err != nil {
		return nil, err
	}
	by := web.CallerOf(ctx)
	if err := a.live.take(by); err != nil { // before the log is read, which would hold up others
		return nil, err
	}
	var l *openedLog
	err = a.readLog(ctx, func(_ context.Context, opened *openedLog) error {
		l = opened
		return missing(l.choose(&f, w.Ignored))
	})
	if err != nil {
		a.live.give(by)
		return nil, err
	}
	chosen, err := f.Chooser()
	if err != nil {
		a.live.give(by)
		return nil, web.Invalid(err)
	}
	return func(ctx context.Context, send func(*web.Row) error) error {
		defer a.live.give(by)
		s, err := a.live.join(ctx, a)
		defer a.live.leave(s)
		if err != nil {
			return err
		}
		if after > 0 {
			if after, err = a.sendPast(ctx, l, f, after, send); err != nil {
				return err
			}
		}
		return s.send(ctx, func(row *querylog.Row) error {
			if row.Imported == "" && row.ID <= after || !chosen(row) {
				return nil
			}
			return a.live.sent(send(rowOf(row, l.ids)))
		}, func() error { return a.live.sent(send(nil)) })
	}, nil
}

// sent counts who does not take what is written to them; not who is gone.
func (v *liveLog) sent(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.ended++
	}
	return err
}

// sendPast sends closed rows behind after, and returns the last one's number.
func (a *app) sendPast(ctx context.Context, l *openedLog, f querylog.Filter, after int64, send func(*web.Row) error) (int64, error) {
	for more := true; more; {
		f.After = after
		var rows []querylog.Row
		var err error
		if rows, more, err = l.Page(ctx, f, streamPage, true); err != nil {
			return after, err
		}
		for i := range rows {
			if err := a.live.sent(send(rowOf(&rows[i], l.ids))); err != nil {
				return after, err
			}
			after = rows[i].ID
		}
	}
	return after, nil
}

// send calls row with each row that comes, and silence where none came for a while, until ctx
// ends, nothing more comes, or one of them fails.
func (s *logStream) send(ctx context.Context, row func(*querylog.Row) error, silence func() error) error {
	quiet := time.NewTicker(streamSilence)
	defer quiet.Stop()
	for {
		var err error
		select {
		case r := <-s.rows:
			err = row(&r)
		case <-quiet.C:
			err = silence()
		case <-s.ended:
			return s.why
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}
