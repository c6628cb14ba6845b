package subscribe

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// piped serves HTTP over pipes, so that the clock of a synctest bubble may run
// while a download waits.
func piped(serve http.HandlerFunc) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			req, err := http.ReadRequest(bufio.NewReader(server))
			if err != nil {
				return
			}
			rec := &recorder{header: http.Header{}}
			serve(rec, req)
			res := &http.Response{StatusCode: rec.code, ProtoMajor: 1, ProtoMinor: 1, Header: rec.header, Request: req,
				ContentLength: int64(rec.body.Len()), Body: nopCloser{strings.NewReader(rec.body.String())}}
			if rec.code == 0 {
				res.StatusCode = 200
			}
			res.Write(server)
		}()
		return addressed{client}, nil
	}
}

type recorder struct {
	header http.Header
	code   int
	body   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }

// addressed gives a pipe the address of a public server.
type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(93, 184, 216, 34), Port: 80} }

// TestRunKeepsItsHours shows when a list is asked for: at once, then every day,
// and after a failure more and more rarely.
func TestRunKeepsItsHours(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve http.HandlerFunc
		days  int
		want  []time.Duration // since the start
	}{
		{"a list is asked for once a day", text(list(5)), 3, []time.Duration{0, 24 * time.Hour, 48 * time.Hour}},
		{"failures are repeated more and more rarely", status(500), 1, []time.Duration{
			0, 15 * time.Second, 45 * time.Second, 105 * time.Second, 225 * time.Second, 465 * time.Second, 945 * time.Second,
			1905 * time.Second, 3825 * time.Second, 7665 * time.Second, 15345 * time.Second, 30705 * time.Second, 52305 * time.Second, 73905 * time.Second}},
		{"a server that asks for patience is obeyed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "43200")
			w.WriteHeader(429)
		}, 1, []time.Duration{0, 12 * time.Hour}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var asked []time.Duration
				serve := func(w http.ResponseWriter, r *http.Request) {
					asked = append(asked, time.Since(start))
					c.serve(w, r)
				}
				s, err := New(Options{
					Dir: dir, Lists: []List{{Name: "ads", URL: "http://lists.example/", Enabled: true}, {Name: "off", URL: "http://lists.example/"}},
					Dial: piped(serve), Jitter: func() float64 { return 0.5 },
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(c.days)*24*time.Hour-time.Second)
				defer cancel()
				if err := s.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Run ended with %v", err)
				}
				if len(asked) != len(c.want) {
					t.Fatalf("asked at %v, want %v", asked, c.want)
				}
				for i := range asked {
					if asked[i] != c.want[i] {
						t.Errorf("request %d at %v, want %v", i, asked[i], c.want[i])
					}
				}
			})
		})
	}
}

func TestJitterSpreadsATenthToEachSide(t *testing.T) {
	for jitter, want := range map[float64]time.Duration{0: 9 * time.Hour, 0.5: 10 * time.Hour, 0.999999: 11 * time.Hour} {
		now := time.Unix(1e9, 0)
		s := subscribed(t, "http://a.example/", func(o *Options) {
			o.Now, o.Jitter = func() time.Time { return now }, func() float64 { return jitter }
		})
		e := s.entries[0]
		e.list.Refresh, e.known.Tried = 10*time.Hour, now
		s.schedule(e)
		if got := e.due.Sub(now).Round(time.Minute); got != want {
			t.Errorf("jitter %v: due after %v, want %v", jitter, got, want)
		}
	}
}

func TestAClockThatWentBackDoesNotStopUpdates(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := subscribed(t, "http://a.example/", func(o *Options) { o.Now = func() time.Time { return now } })
	e := s.entries[0]
	e.known.Tried = now.AddDate(1, 0, 0)
	s.schedule(e)
	if e.due.After(now) {
		t.Errorf("due at %v, want now, %v", e.due, now)
	}
}

func TestRunTakesUpNewLists(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Options{Dir: dir, Dial: piped(text(list(5)))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(time.Hour)
		s.Set([]List{{Name: "ads", URL: "http://lists.example/", Enabled: true}})
		time.Sleep(time.Minute)
		if len(s.Files()) != 1 {
			t.Errorf("files %v, want one", s.Files())
		}
		cancel()
		<-done
	})
}
