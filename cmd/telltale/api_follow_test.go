package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale/querylog"
	"telltale/web"
)

// follow opens a stream of rows, and returns what comes and how to leave.
func (srv *testServer) follow(t *testing.T, query, last string) (rows <-chan web.Row, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://telltale"+web.Prefix+"/log/stream?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := newClient(srv.settings()).http.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", resp, err)
	}
	all := make(chan web.Row, 100)
	go func() {
		defer close(all)
		defer resp.Body.Close()
		id := ""
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				id = text
			}
			text, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var row web.Row
			if err := json.Unmarshal([]byte(text), &row); err != nil || !row.Open && id != strconv.FormatInt(row.ID, 10) {
				t.Errorf("got %s with id %q, %v", text, id, err)
			}
			id = ""
			all <- row
		}
	}()
	return all, func() {
		cancel()
		for range all { // until the connection is closed
		}
	}
}

// next returns the next row that is closed.
func nextClosed(t *testing.T, rows <-chan web.Row) web.Row {
	t.Helper()
	late := time.After(2 * time.Minute) // a window may take one
	for {
		select {
		case row, ok := <-rows:
			if !ok {
				t.Fatal("the stream has ended")
			}
			if !row.Open {
				return row
			}
		case <-late:
			t.Fatal("no closed row has come")
		}
	}
}

// Who follows gets rows as they come, those alone that they chose, and after a break those that
// they missed.
func TestTheLogIsFollowed(t *testing.T) {
	t.Parallel()
	srv := asked(t, 1)
	rows, leave := srv.follow(t, "vendor=Xiaomi&device=tv", "")
	srv.asks(1, 1)
	first := <-rows
	if first.Name != "a.tracker.example" || first.Device != "tv" || first.Vendor != "Xiaomi" {
		t.Errorf("got %+v", first)
	}
	closed := nextClosed(t, rows)
	leave()
	soon(t, "nobody follows", "true", func() string {
		srv.app.live.mu.Lock()
		defer srv.app.live.mu.Unlock()
		return strconv.FormatBool(srv.app.live.begun == nil && srv.app.live.taken == 0)
	})

	srv.asks(2, 1) // while nobody follows
	var missed querylog.Row
	for end := time.Now().Add(2 * time.Minute); missed.ID == 0; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the row was not closed")
		}
		for _, id := range srv.walk("order=oldest&vendor=Xiaomi&device=tv", 100) {
			if id > closed.ID {
				missed.ID = id
				break
			}
		}
	}
	rows, leave = srv.follow(t, "vendor=Xiaomi&device=tv", strconv.FormatInt(closed.ID, 10))
	defer leave()
	if got := nextClosed(t, rows); got.ID != missed.ID {
		t.Errorf("got row %d behind %d, want the missed one, %d", got.ID, closed.ID, missed.ID)
	}
}

// As many as may follow do, and others are told.
func TestNotAllMayFollow(t *testing.T) {
	t.Parallel()
	srv := asked(t, 1)
	some := func(i int) web.Caller { return web.Caller{Name: strconv.Itoa(i / ownStreams)} }
	for i := range mostStreams {
		if err := srv.app.live.take(some(i)); err != nil {
			t.Fatal(err)
		}
	}
	for range mostReads {
		srv.app.reads <- struct{}{} // who is refused reads nothing, and waits for nobody who does
	}
	if status, answer := srv.route(anybody, "/log/stream"); status != http.StatusServiceUnavailable || !strings.Contains(answer, "follow the log") {
		t.Errorf("got %d %s", status, answer)
	}
	for range mostReads {
		<-srv.app.reads
	}
	for i := range mostStreams {
		srv.app.live.give(some(i))
	}
	if status, answer := srv.route(anybody, "/log/stream?device=nobody"); status != http.StatusNotFound {
		t.Errorf("of a device that is not there: got %d %s", status, answer)
	}
	if got, want := srv.app.live.status(), (web.LogStreams{Most: mostStreams, Refused: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// One account or token takes neither all streams nor all readings; the control socket may.
func TestOneCallerLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	v, kid, socket := &liveLog{}, web.Caller{Name: "kid", Limited: true}, web.CallerOf(t.Context())
	for i := range ownStreams + 1 {
		if err := v.take(kid); (err == nil) != (i < ownStreams) || err != nil && !errors.Is(err, web.ErrUnavailable) {
			t.Errorf("stream %d of kid: got %v", i, err)
		}
	}
	for range mostStreams - ownStreams {
		if err := v.take(socket); err != nil {
			t.Errorf("the control socket: got %v", err)
		}
	}
	v.give(kid)
	if err := v.take(kid); err != nil {
		t.Errorf("when one has gone: got %v", err)
	}

	a := &app{reads: make(chan struct{}, mostReads)}
	full := func(by web.Caller) (n int) {
		for places := a.readsOf(by); len(places) < cap(places); n++ {
			places <- struct{}{}
		}
		return n
	}
	if got := full(kid); got != ownReads {
		t.Errorf("kid has %d readings, want %d", got, ownReads)
	}
	ctx, cancel := context.WithCancel(web.WithCaller(t.Context(), kid))
	cancel()
	if err := a.readLog(ctx, nil); !errors.Is(err, web.ErrUnavailable) || len(a.reads) != 0 {
		t.Errorf("one more of kid: got %v, and %d readings are taken", err, len(a.reads))
	}
	for _, by := range []web.Caller{{Name: "leo"}, socket, socket} {
		if full(by) == 0 {
			t.Errorf("%s has no reading", by.Name)
		}
	}
}

// Who does not take what comes is ended, and nobody else.
func TestWhoDoesNotTakeWhatComesIsEnded(t *testing.T) {
	t.Parallel()
	v := &liveLog{streams: map[*logStream]bool{}, begun: make(chan struct{})}
	slow := &logStream{rows: make(chan querylog.Row, streamBuffer), ended: make(chan struct{})}
	quick := &logStream{rows: make(chan querylog.Row, 2*streamBuffer), ended: make(chan struct{})}
	v.streams[slow], v.streams[quick] = true, true
	for i := range streamBuffer + 2 {
		v.hand(v.begun, &querylog.Row{ID: int64(i)})
	}
	select {
	case <-slow.ended:
	default:
		t.Error("it goes on")
	}
	if !errors.Is(slow.why, errSlow) || len(quick.rows) != streamBuffer+2 || v.status().Ended != 1 {
		t.Errorf("got %v, %d rows for the other, %+v", slow.why, len(quick.rows), v.status())
	}
	var got []int64
	err := quick.send(t.Context(), func(r *querylog.Row) error {
		if got = append(got, r.ID); r.ID == 2 {
			return errSlow
		}
		return nil
	}, func() error { return nil })
	if !errors.Is(err, errSlow) || !slices.Equal(got, []int64{0, 1, 2}) {
		t.Errorf("got %v, %v", got, err)
	}
}
