package main

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"telltale/querylog"
	"telltale/web"
)

// A large day is read once a minute, however many ask for it; who wants it anew, or stops waiting, is not held up.
func TestALargeDayIsReadOnceAMinute(t *testing.T) {
	srv := startTestServer(t, t.TempDir(), everything(t), "")
	srv.asks(0, 1)
	srv.app.log.Flush()
	dir := srv.app.cfg.Load().Data.Dir
	synctest.Test(t, func(t *testing.T) {
		r, err := querylog.OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		before := func(d time.Duration, rows int) *day { return &day{read: time.Now().Add(-d), rows: rows} }
		for name, c := range map[string]struct {
			last       *day
			anew, kept bool
		}{
			"none":               {nil, false, false},
			"large":              {before(dayHoldsFor-time.Second, dayIsLarge), false, true},
			"large and old":      {before(dayHoldsFor, dayIsLarge), false, false},
			"large, wanted anew": {before(time.Second, dayIsLarge), true, false},
			"small":              {before(time.Second, dayIsLarge-1), false, false},
		} {
			k := newKeptDay()
			k.last = c.last
			if got, err := k.get(t.Context(), r, c.anew); err != nil || (got == c.last) != c.kept {
				t.Errorf("%s: got %v, %v, want the kept one: %v", name, got, err, c.kept)
			}
		}
		k := newKeptDay()
		k.turn <- struct{}{} // somebody reads
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := k.get(gone, r, false); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v of one who does not wait, want that it is cancelled", err)
		}
		got := make(chan *day, 3)
		for range cap(got) {
			go func() {
				y, _ := k.get(t.Context(), r, true)
				got <- y
			}()
		}
		synctest.Wait()
		<-k.turn
		if first := <-got; first == nil || <-got != first || <-got != first {
			t.Error("three who waited did not get the same day")
		}
		if k.forget(); k.last != nil {
			t.Error("the day is kept after it was to be forgotten")
		}
	})
}

// A finding of a day that was read before says when; what doctor asks for is read for its answer.
func TestFindingsSayWhenTheDayWasRead(t *testing.T) {
	srv := startTestServer(t, t.TempDir(), everything(t), "")
	read := time.Now().Add(-10 * time.Second)
	srv.app.lastDay.last = &day{read: read, rows: dayIsLarge, clients: map[string]uint64{"192.168.1.20": 7, "192.168.1.21": 7}}
	clients := func(route string) (f web.Finding) {
		t.Helper()
		var all []web.Finding
		if _, answer := srv.route(web.Caller{Name: "test", Access: web.Admin}, route); json.Unmarshal([]byte(answer), &all) != nil {
			t.Fatal(answer)
		}
		for _, f = range all {
			if f.What == "clients" {
				return f
			}
		}
		t.Fatalf("%s has nothing of clients: %v", route, all)
		return f
	}
	if f := clients("/findings?probe=false"); f.Says != "2 clients asked in the last day" || !f.At.Equal(read.Truncate(time.Second)) {
		t.Errorf("got %+v, want 2 clients at %v", f, read)
	}
	if f := clients("/findings"); f.Says != "0 clients asked in the last day" || !f.At.IsZero() {
		t.Errorf("got %+v, want what is in the log now", f)
	}
}
