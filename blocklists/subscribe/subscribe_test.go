package subscribe

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A publisher is a list server whose list can be changed.
type publisher struct {
	*httptest.Server
	mu      sync.Mutex
	serve   http.HandlerFunc
	asked   int
	changed int
	asNewer []string // the conditions of the last request
}

func publish(t *testing.T, serve http.HandlerFunc) *publisher {
	p := &publisher{serve: serve}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked++
		p.asNewer = []string{r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since")}
		serve := p.serve
		p.mu.Unlock()
		serve(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) now(serve http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve = serve
}

// text serves a text with an ETag made of its length.
func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		etag := fmt.Sprintf(`"%d"`, len(s))
		w.Header().Set("ETag", etag)
		if strings.Contains(r.Header.Get("If-None-Match"), etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, s)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// list makes a plain list of n names.
func list(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "host-%d.example\n", i)
	}
	return b.String()
}

// subscribed makes a subscriber of one list named ads.
func subscribed(t *testing.T, url string, change func(*Options)) *Subscriber {
	t.Helper()
	o := Options{Dir: filepath.Join(t.TempDir(), "lists"), Lists: []List{{Name: "ads", URL: url, Enabled: true}}}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refreshed refreshes and returns the last word on the list.
func refreshed(t *testing.T, s *Subscriber) (last Progress) {
	t.Helper()
	if err := s.Refresh(context.Background(), nil, func(p Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if !last.Done {
		t.Fatalf("the last progress was %+v", last)
	}
	return last
}

func copyOf(t *testing.T, s *Subscriber) string {
	t.Helper()
	files := s.Files()
	if len(files) == 0 {
		return ""
	}
	b, err := os.ReadFile(files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestBadUpdates shows each way an update can be worse than the copy, and that
// the copy stays.
func TestBadUpdates(t *testing.T) {
	good := list(1000)
	for _, c := range []struct {
		name    string
		serve   http.HandlerFunc
		outcome Outcome
		why     string
	}{
		{"the server is down", nil, Failed, "refused"},
		{"the server has an error", status(503), Failed, "503"},
		{"the list is gone", status(404), Failed, "404"},
		{"the server accepts and says nothing", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, Failed, "nothing came for"},
		{"the server stops in the middle", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, list(500))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, Failed, "nothing came for"},
		{"the server drips", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				fmt.Fprint(w, "x")
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}, Failed, "took longer than"},
		{"the update is empty", text(""), HeldBack, "is empty"},
		{"the update has only comments", text("# nothing here\n"), HeldBack, "has no rules"},
		{"the update is a page", text("<!doctype html><html><body>Please log in</body></html>\n"), HeldBack, "is no list but HTML"},
		{"the update is an error in JSON", text(`{"message":"rate limit"}`), HeldBack, "is no list but JSON"},
		{"the update is binary", text(strings.Repeat("\x00\x01\x02\x03", 1000)), HeldBack, "is no list but binary"},
		{"the update is nonsense", text(strings.Repeat("la la la\n", 1000)), HeldBack, "has no line that can be read as a rule"},
		{"the connection ends before the text", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "20000")
			fmt.Fprint(w, list(500))
		}, Failed, "cut short by the server"},
		{"the chunks end before the text", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, list(500))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, Failed, "cut short by the server"},
		{"the text ends before its own count", text("# Number of entries: 1,000\n" + list(600)), HeldBack, "says that it has 1000 entries but ends after 600"},
		{"the packed text is cut short", text(string(packed(good)[:2000])), HeldBack, "unexpected EOF"},
		{"the update shrank", text(list(99)), HeldBack, "shrank from 1000 rules to 99"},
		{"the update is too long", func(w http.ResponseWriter, _ *http.Request) {
			hundred := list(100)
			for range 3000 {
				fmt.Fprint(w, hundred)
			}
		}, Failed, "longer than the limit"},
		{"the update says that it is too long", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10000000000")
		}, Failed, "over the limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := publish(t, text(good))
			var reports []string
			s := subscribed(t, p.URL, func(o *Options) {
				o.MaxSize = 1 << 20
				o.Report = func(kind, _, _ string) { reports = append(reports, kind) }
			})
			if got := refreshed(t, s); got.Outcome != Updated || got.Rules != 1000 {
				t.Fatalf("the good list: %+v", got)
			}
			switch c.why { // short only where the wait is the point
			case "nothing came for":
				s.Stall = 200 * time.Millisecond
			case "took longer than":
				s.Timeout = 500 * time.Millisecond
			}
			if c.serve == nil {
				p.Close()
			} else {
				p.now(c.serve)
			}
			got := refreshed(t, s)
			if got.Outcome != c.outcome || got.Err == nil || !strings.Contains(got.Err.Error(), c.why) {
				t.Errorf("got %v, %v, want %v because it %q", got.Outcome, got.Err, c.outcome, c.why)
			}
			if copyOf(t, s) != good {
				t.Error("the copy is not the good one any more")
			}
			st := s.Status()[0]
			if (st.Held != nil) != (c.outcome == HeldBack) || (st.Failures == 1) != (c.outcome == Failed) || st.Rules != 1000 {
				t.Errorf("status %+v", st)
			}
			want := map[Outcome]string{Failed: "list-failed", HeldBack: "list-held"}[c.outcome]
			if strings.Join(reports, " ") != want {
				t.Errorf("reported %q, want %q", reports, want)
			}
			if parts, _ := filepath.Glob(filepath.Join(s.Dir, ".new-*")); len(parts) != 0 {
				t.Errorf("left behind %q", parts)
			}
		})
	}
}

func packed(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	fmt.Fprint(w, s)
	w.Close()
	return b.Bytes()
}

func TestAnUpdateIsFetchedOnceAndServedFromDisk(t *testing.T) {
	p := publish(t, text(list(50)))
	var changed []string
	s := subscribed(t, p.URL, func(o *Options) { o.Changed = func(name string) { changed = append(changed, name) } })
	if files := s.Files(); len(files) != 0 {
		t.Errorf("files before the first download: %v", files)
	}
	if got := refreshed(t, s); got.Outcome != Updated || got.Rules != 50 {
		t.Errorf("first: %+v", got)
	}
	if got := refreshed(t, s); got.Outcome != Unchanged {
		t.Errorf("second: %+v", got)
	}
	if p.asNewer[0] == "" {
		t.Error("the second request was not conditional")
	}
	if len(changed) != 1 || changed[0] != "ads" {
		t.Errorf("changed %q, want ads once", changed)
	}
	for _, name := range []string{"ads.list", "ads.json"} {
		if info, err := os.Stat(filepath.Join(s.Dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want 0600", name, info, err)
		}
	}

	// The next start serves the copy and asks with the same condition.
	p.Close()
	again, err := New(s.Options)
	if err != nil {
		t.Fatal(err)
	}
	if copyOf(t, again) != list(50) || again.Status()[0].Rules != 50 {
		t.Error("the copy is not served after a restart")
	}
}

func TestWhatWasHeldCanBeAccepted(t *testing.T) {
	p := publish(t, text(list(1000)))
	s := subscribed(t, p.URL, nil)
	refreshed(t, s)
	if err := s.Accept("ads"); err == nil {
		t.Error("nothing was held, and yet it was accepted")
	}
	p.now(text(list(5)))
	refreshed(t, s)
	again, err := New(s.Options) // holds survive a restart
	if err != nil {
		t.Fatal(err)
	}
	if d, err := again.HeldDiff("ads"); err != nil || d.RemovedTotal != 995 || d.AddedTotal != 0 {
		t.Errorf("held diff %+v, %v", d.RemovedTotal, err)
	}
	if err := again.Accept("ads"); err != nil {
		t.Fatal(err)
	}
	if copyOf(t, again) != list(5) || again.Status()[0].Held != nil || again.Status()[0].Rules != 5 {
		t.Errorf("after accepting: %+v", again.Status()[0])
	}
	if got := refreshed(t, again); got.Outcome != Unchanged {
		t.Errorf("the accepted list is fetched again: %+v", got)
	}
	p.now(text(""))
	refreshed(t, again)
	if err := again.Accept("ads"); err == nil {
		t.Error("a list without rules was accepted")
	}
}

// A list that cannot be read to its end would not be in force after all.
func TestAnUpdateThatExpandsTooFarIsNotAccepted(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte(list(100)))
	p := publish(t, text(list(1000)))
	s := subscribed(t, p.URL, func(o *Options) { o.MaxSize = int64(len(list(1000))) })
	refreshed(t, s)
	for range 11 {
		z.Write([]byte(list(1000)))
	}
	z.Close()
	p.now(text(packed.String()))
	if got := refreshed(t, s); got.Outcome != HeldBack {
		t.Fatalf("got %+v, want it held back", got)
	}
	if err := s.Accept("ads"); err == nil || !strings.Contains(err.Error(), "too many bytes") {
		t.Errorf("got %v, want it refused", err)
	}
	if copyOf(t, s) != list(1000) || s.Status()[0].Held == nil {
		t.Errorf("afterwards: %+v", s.Status()[0])
	}
}

func TestWhatIsHeldIsNotSentAgain(t *testing.T) {
	p := publish(t, text(list(1000)))
	s := subscribed(t, p.URL, nil)
	refreshed(t, s)
	p.now(text(list(5)))
	first := refreshed(t, s)
	sent := func() (ask []string) { p.mu.Lock(); defer p.mu.Unlock(); return p.asNewer }
	for range 2 {
		got := refreshed(t, s)
		if got.Outcome != HeldBack || got.Err == nil || got.Err.Error() != first.Err.Error() || got.Bytes != 0 {
			t.Errorf("asked again: got %+v, want what was said first: %v", got, first.Err)
		}
	}
	if ask := sent(); !strings.Contains(ask[0], ", ") {
		t.Errorf("asked with %q, want the ETags of both copies", ask)
	}
	s.Set([]List{{Name: "ads", URL: p.URL, Enabled: true, Exact: true}})
	if got := refreshed(t, s); got.Outcome != HeldBack || got.Bytes == 0 {
		t.Errorf("read in another way: got %+v, want it judged anew", got)
	}
	if err := os.Remove(s.heldPath("ads")); err != nil {
		t.Fatal(err)
	}
	if got := refreshed(t, s); got.Outcome != HeldBack || got.Bytes == 0 {
		t.Errorf("with the held copy gone: got %+v, want it sent again", got)
	}
	p.now(func(w http.ResponseWriter, r *http.Request) { // the server has the old one again, and says so
		w.Header().Set("ETag", fmt.Sprintf(`W/"%d"`, len(list(1000))))
		w.WriteHeader(http.StatusNotModified)
	})
	if got := refreshed(t, s); got.Outcome != Unchanged || s.Status()[0].Held != nil {
		t.Errorf("the old one again: got %+v, held %+v", got, s.Status()[0].Held)
	}
}

func TestAHoldEndsWhenTheListIsMended(t *testing.T) {
	p := publish(t, text(list(1000)))
	s := subscribed(t, p.URL, nil)
	refreshed(t, s)
	p.now(text("<html>"))
	refreshed(t, s)
	p.now(text(list(1000)))
	if got := refreshed(t, s); got.Outcome != Unchanged || s.Status()[0].Held != nil {
		t.Errorf("back to the old list: %+v, %+v", got, s.Status()[0].Held)
	}
	p.now(text("<html>"))
	refreshed(t, s)
	p.now(text(list(1001)))
	if got := refreshed(t, s); got.Outcome != Updated || s.Status()[0].Held != nil {
		t.Errorf("on to a new list: %+v, %+v", got, s.Status()[0].Held)
	}
	if _, err := os.Stat(s.heldPath("ads")); err == nil {
		t.Error("the held file stays behind")
	}
}

func TestDiffShowsTheLastUpdate(t *testing.T) {
	p := publish(t, text("a.example\nb.example\nb.example\n"))
	s := subscribed(t, p.URL, nil)
	if _, err := s.Diff("ads"); err == nil {
		t.Error("a diff of nothing")
	}
	refreshed(t, s)
	p.now(text("# new\nb.example #@ vendor=X\n||c.example^\nc.example\n"))
	refreshed(t, s)
	d, err := s.Diff("ads")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(d), "{[||c.example^ c.example] [a.example] 2 1}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := s.Diff("other"); err == nil {
		t.Error("a diff of an unknown list")
	}
}

func TestPackedListsArePackedOnDisk(t *testing.T) {
	p := publish(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(packed(list(100))) })
	s := subscribed(t, p.URL, nil)
	if got := refreshed(t, s); got.Outcome != Updated || got.Rules != 100 {
		t.Errorf("got %+v", got)
	}
	if copyOf(t, s) != string(packed(list(100))) {
		t.Error("the copy is not what was sent")
	}
}

func TestAnotherURLMayBeShorter(t *testing.T) {
	long, short := publish(t, text(list(1000))), publish(t, text(list(3)))
	s := subscribed(t, long.URL, nil)
	refreshed(t, s)
	s.Set([]List{{Name: "ads", URL: short.URL, Enabled: true}})
	if copyOf(t, s) != list(1000) {
		t.Error("the old copy is not served until the new one is there")
	}
	if got := refreshed(t, s); got.Outcome != Updated || got.Rules != 3 {
		t.Errorf("got %+v", got)
	}
}

func TestOnlySoManyAtOnce(t *testing.T) {
	var mu sync.Mutex
	running, most := 0, 0
	p := publish(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		mu.Lock()
		running--
		mu.Unlock()
		fmt.Fprint(w, list(3))
	})
	s := subscribed(t, p.URL, func(o *Options) {
		o.Lists = nil
		for i := range 8 {
			o.Lists = append(o.Lists, List{Name: fmt.Sprint("list", i), URL: p.URL, Enabled: true})
		}
	})
	if err := s.Refresh(context.Background(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if len(s.Files()) != 8 || most > 2 {
		t.Errorf("%d files, %d at once, want 8 and at most 2", len(s.Files()), most)
	}
}

func TestStoppingIsNoFailureOfTheList(t *testing.T) {
	p := publish(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := subscribed(t, p.URL, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := s.Refresh(ctx, []string{"ads"}, nil); err == nil {
		t.Error("no error though the context ended")
	}
	if st := s.Status()[0]; st.Failures != 0 || st.Err != "" {
		t.Errorf("status %+v", st)
	}
	if err := s.Refresh(context.Background(), []string{"other"}, nil); err == nil {
		t.Error("an unknown list was refreshed")
	}
}

func TestFileNames(t *testing.T) {
	for name, want := range map[string]string{"ads": "ads", "Ads": "%41ds", "../x": "%2E.%2Fx", "a b/c": "a%20b%2Fc", ".x": "%2Ex", "a.b": "a.b"} {
		if got := fileName(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestPruneRemovesWhatIsNotConfigured(t *testing.T) {
	p := publish(t, text(list(3)))
	s := subscribed(t, p.URL, nil)
	refreshed(t, s)
	if err := s.Prune(); err != nil || copyOf(t, s) == "" {
		t.Errorf("a configured list was removed: %v", err)
	}
	s.Set(nil)
	if err := s.Prune(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(s.Dir); len(left) != 0 {
		t.Errorf("left behind %v", left)
	}
}

func TestTheSameAgainIsNoUpdate(t *testing.T) {
	served := list(100_000)
	p := publish(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, served) }) // knows no conditions
	s := subscribed(t, p.URL, func(o *Options) { o.Changed = func(string) { p.changed++ } })
	for i, want := range []Outcome{Updated, Unchanged, Updated} {
		if i == 2 {
			served = strings.Replace(served, "host-9.", "host-x.", 1)
		}
		if got := refreshed(t, s); got.Outcome != want {
			t.Errorf("download %d: %+v, want %v", i, got, want)
		}
	}
	if p.changed != 2 {
		t.Errorf("%d changes were reported, want 2", p.changed)
	}
}
