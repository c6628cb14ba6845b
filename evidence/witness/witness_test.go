package witness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func checkpointOf(leaves int64) Checkpoint {
	return Checkpoint{"telltale/0123456789abcdef", leaves, fmt.Appendf(nil, "telltale/0123456789abcdef\n%d\nroot\n\n— signature\n", leaves)}
}

// start runs a Sender until the test ends.
func start(t *testing.T, o Options) *Sender {
	t.Helper()
	o.retry = max(o.retry, time.Millisecond)
	o.Every = max(o.Every, time.Millisecond)
	s := New(o)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Error("Run does not end")
		}
	})
	return s
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 20 s: " + what)
		}
	}
}

func problem(s *Sender) string { return s.Status()[0].Problem }

// A fakeServer is a real server of HTTP that keeps what was posted to it.
type fakeServer struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	answer http.HandlerFunc // after the body was read
}

func serve(t *testing.T, answer http.HandlerFunc) *fakeServer {
	f := &fakeServer{answer: answer}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "text/plain; charset=utf-8" || r.UserAgent() != "telltale/test" {
			t.Errorf("got %s %v", r.Method, r.Header)
		}
		f.mu.Lock()
		f.bodies = append(f.bodies, string(body))
		answer := f.answer
		f.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeServer) use(answer http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *fakeServer) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.bodies) == 0 {
		return ""
	}
	return f.bodies[len(f.bodies)-1]
}

func (f *fakeServer) options(t *testing.T) Options {
	transport := &http.Transport{DisableKeepAlives: true}
	return Options{URL: f.URL + "/secret", Agent: "telltale/test", Transport: transport, Answers: filepath.Join(t.TempDir(), "witnesses.jsonl"), Logger: slog.New(slog.DiscardHandler)}
}

func says(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, text)
	}
}

func TestAServerGetsTheNewestCheckpoint(t *testing.T) {
	f := serve(t, says(http.StatusCreated, "kept"))
	o := f.options(t)
	s := start(t, o)
	for _, leaves := range []int64{5, 8} {
		c := checkpointOf(leaves)
		s.Offer(c)
		s.Offer(checkpointOf(leaves - 1)) // one that was overtaken
		eventually(t, "it is taken", func() bool { return s.Status()[0].Leaves == leaves })
		if f.last() != string(c.Note) {
			t.Errorf("got %q, want the note of %d leaves", f.last(), leaves)
		}
	}
	st := s.Status()[0]
	if st.To != f.URL || st.Problem != "" || st.Late || st.Time.IsZero() {
		t.Errorf("got %+v", st)
	}
	text, err := ReadAnswers(o.Answers)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var a Answer
	if err := json.Unmarshal(lines[len(lines)-1], &a); err != nil || a.Answer != "kept" || a.Leaves != 8 || a.Witness != f.URL || a.Note != string(checkpointOf(8).Note) {
		t.Errorf("got %s, %v", text, err)
	}
}

// While one checkpoint is on its way no other is sent, and then only the newest.
func TestOnePostAtATime(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	f := serve(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release })
	s := start(t, f.options(t))
	s.Offer(checkpointOf(1))
	<-arrived
	for leaves := range int64(1000) { // Offer does not wait
		s.Offer(checkpointOf(2 + leaves))
	}
	f.use(says(200, ""))
	close(release)
	eventually(t, "the newest is taken", func() bool { return s.Status()[0].Leaves == 1001 })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.bodies) != 2 {
		t.Errorf("got %d posts, want the first and the newest", len(f.bodies))
	}
}

func TestAServerThatDoesNotTakeIt(t *testing.T) {
	for _, of := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"500", says(500, "out of \x1b[31morder"), `it says "500 Internal Server Error": "out of \x1b[31morder"`},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusTemporaryRedirect)
		}, "it redirects"},
		{"hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "does not answer in time"},
		{"drip", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "its answer breaks off: it does not answer in time"},
		{"break", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "short")
		}, "its answer breaks off"},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(conn, "220 mail.example ESMTP\r\n")
				conn.Close()
			}
		}, "malformed HTTP"},
	} {
		t.Run(of.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, of.answer)
			o := f.options(t)
			if o.timeout = 10 * time.Second; strings.Contains(of.want, "in time") {
				o.timeout = 100 * time.Millisecond
			}
			s := start(t, o)
			s.Offer(checkpointOf(1))
			eventually(t, of.want, func() bool { return strings.Contains(problem(s), of.want) })
			if st := s.Status()[0]; strings.Contains(st.Problem, "secret") || st.Since.IsZero() || st.Leaves != 0 || st.Late {
				t.Errorf("got %+v", st)
			}
			if text, err := ReadAnswers(o.Answers); err != nil || len(text) > 0 {
				t.Errorf("its answer is kept: %s, %v", text, err)
			}
		})
	}
}

func TestAServerThatRefusesConnections(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	s := start(t, Options{URL: "http://" + ln.Addr().String() + "/secret", Transport: &http.Transport{DisableKeepAlives: true}, Logger: slog.New(slog.DiscardHandler)})
	s.Offer(checkpointOf(1))
	eventually(t, "it refuses", func() bool { return strings.Contains(problem(s), "refused") })
	if strings.Contains(problem(s), "secret") {
		t.Errorf("got %q, which has the URL's path", problem(s))
	}
}

// What is long or no text is taken for an answer, and not kept.
func TestAnswersThatAreNotKept(t *testing.T) {
	for name, text := range map[string]string{"endless": strings.Repeat("x", 1<<20), "binary": "\xff\xfe", "empty": ""} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, says(200, text))
			o := f.options(t)
			s := start(t, o)
			s.Offer(checkpointOf(1))
			eventually(t, "it is taken", func() bool { return s.Status()[0].Leaves == 1 })
			if kept, err := ReadAnswers(o.Answers); err != nil || len(kept) > 0 {
				t.Errorf("got %d octets, %v", len(kept), err)
			}
		})
	}
}

func TestOnlyTheLastAnswersAreKept(t *testing.T) {
	o := &Options{URL: "https://witness.example/x", Answers: filepath.Join(t.TempDir(), "a")}
	for n := range int64(keptAnswers + 20) {
		c := checkpointOf(n)
		if err := o.keepAnswer(&c, []byte("kept")); err != nil {
			t.Fatal(err)
		}
		if n == 3 { // a write that was cut short
			writeTo(t, o.Answers, []byte(`{"time":`))
		}
	}
	text, err := ReadAnswers(o.Answers)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err != nil || len(lines) != keptAnswers || !strings.Contains(lines[0], `"leaves":20,`) || !strings.Contains(lines[keptAnswers-1], `"leaves":119,`) {
		t.Errorf("got %d lines from %s on, %v", len(lines), lines[0], err)
	}
}

func writeTo(t *testing.T, path string, text []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.Write(text)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// One warning, however often it fails, and one line when it is over.
func TestOneWarning(t *testing.T) {
	f := serve(t, says(500, ""))
	o := f.options(t)
	var text bytes.Buffer
	var mu sync.Mutex
	o.Logger, o.late = slog.New(slog.NewTextHandler(locked{&mu, &text}, nil)), time.Nanosecond
	s := start(t, o)
	s.Offer(checkpointOf(1))
	eventually(t, "three tries", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.bodies) > 3 })
	if !s.Status()[0].Late {
		t.Error("it is not late")
	}
	f.use(says(200, ""))
	eventually(t, "it is taken", func() bool { return s.Status()[0].Leaves == 1 })
	eventually(t, "it says so", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(text.String(), "takes checkpoints again")
	})
	mu.Lock()
	defer mu.Unlock()
	if strings.Count(text.String(), "takes no checkpoints") != 1 || strings.Count(text.String(), "\n") != 2 || strings.Contains(text.String(), "secret") {
		t.Errorf("got\n%s", text.String())
	}
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func TestADirectoryGetsAFileForEach(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	for _, leaves := range []int64{5, 20852} {
		s.Offer(checkpointOf(leaves))
		eventually(t, "it is taken", func() bool { return s.Status()[0].Leaves == leaves })
	}
	for name, leaves := range map[string]int64{"telltale-0123456789abcdef-000000000000005.txt": 5, "telltale-0123456789abcdef-000000000020852.txt": 20852} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, checkpointOf(leaves).Note) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	again := start(t, Options{Dir: dir}) // the next start offers the last one again
	again.Offer(checkpointOf(20852))
	eventually(t, "it is there already", func() bool { return again.Status()[0].Leaves == 20852 })
}

// A checkpoint that is there is what shows that a log was written anew: it stays.
func TestACheckpointIsNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	c := checkpointOf(5)
	path := filepath.Join(dir, FileName(&c))
	writeTo(t, path, []byte("another"))
	s := start(t, Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	s.Offer(c)
	eventually(t, "it is a problem", func() bool { return strings.Contains(problem(s), "has another checkpoint of as many leaves") })
	if got, _ := os.ReadFile(path); string(got) != "another" {
		t.Errorf("got %q", got)
	}
}

func TestADirectoryThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "unmounted")
	s := start(t, Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	s.Offer(checkpointOf(5))
	eventually(t, "it is a problem", func() bool { return strings.Contains(problem(s), "no such file or directory") })
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
	writeTo(t, dir, nil) // a file in its place
	eventually(t, "it is another problem", func() bool { return strings.Contains(problem(s), "not a directory") })
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is mounted", func() bool { return s.Status()[0].Leaves == 5 })
}

// Run ends at once, whatever a server does.
func TestAStopDoesNotWait(t *testing.T) {
	f := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := start(t, f.options(t))
	s.Offer(checkpointOf(1))
	eventually(t, "it was asked", func() bool { return f.last() != "" })
} // start's cleanup wants Run to end within 20 s; the post would take 30
