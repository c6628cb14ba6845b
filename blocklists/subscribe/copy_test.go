package subscribe

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A copy that was cut or changed on disk is fetched again without its validators,
// also where the cut text is a list like any other.
func TestADamagedCopyIsFetchedAgain(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(text string) string
	}{
		{"cut at a line's end", func(s string) string { return s[:strings.LastIndex(s[:len(s)/2], "\n")+1] }},
		{"cut within a line", func(s string) string { return s[:len(s)/3] }},
		{"changed", func(s string) string { return strings.Replace(s, "host-7", "most-7", 1) }},
	} {
		for _, restarted := range []bool{false, true} {
			name := test.name + ", and read by the same process"
			if restarted {
				name = test.name + ", and read by the next one"
			}
			t.Run(name, func(t *testing.T) {
				good := list(200)
				p := publish(t, text(good))
				var reported []string
				s := subscribed(t, p.URL, func(o *Options) {
					o.Report = func(kind, subject, detail string) { reported = append(reported, kind+" "+detail) }
				})
				refreshed(t, s)
				if got := s.Files()[0].Hash; got == 0 {
					t.Error("the hash of the copy is not known")
				}
				path := s.path("ads")
				check(t, os.WriteFile(path, []byte(test.damage(good)), 0o600))
				check(t, os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)))
				if restarted {
					var err error
					s, err = New(s.Options)
					check(t, err)
				} else {
					s.verify()
				}
				if st := s.Status()[0]; !strings.Contains(st.Err, "its copy on disk") || st.Next.After(time.Now()) {
					t.Errorf("got error %q, next fetched at %v, want the damage and at once", st.Err, st.Next)
				}
				if got := refreshed(t, s); got.Outcome != Updated || got.Rules != 200 {
					t.Errorf("got %+v, want the list again", got)
				}
				if copyOf(t, s) != good {
					t.Error("the copy is not what the server has")
				}
				if st := s.Status()[0]; st.Err != "" || st.Foreign {
					t.Errorf("afterwards: got %+v", st)
				}
				if got := refreshed(t, s); got.Outcome != Unchanged {
					t.Errorf("once more: got %+v, want nothing new", got)
				}
				if len(reported) < 2 || !strings.Contains(reported[0], "list-failed its copy on disk") {
					t.Errorf("reported: got %q", reported)
				}
			})
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAHeldUpdateThatIsDamagedIsNotAccepted(t *testing.T) {
	p := publish(t, text(list(1000)))
	s := subscribed(t, p.URL, nil)
	refreshed(t, s)
	p.now(text(list(50)))
	checkHeld(t, refreshed(t, s), "shrank")
	check(t, os.WriteFile(s.heldPath("ads"), []byte(list(20)), 0o600))
	if err := s.Accept("ads"); err == nil || !strings.Contains(err.Error(), "is damaged on disk") {
		t.Errorf("got %v, want that it is damaged", err)
	}
}

// What is shown of an update that is not in force, and what Accept does with it,
// are the same.
func TestWhatIsNoListCannotBeAccepted(t *testing.T) {
	for _, test := range []struct {
		name, update string
		noList       bool
	}{
		{"a page", "<!doctype html><html><body>not here</body></html>", true},
		{"JSON", `{"error": "gone"}`, true},
		{"nothing", "", true},
		{"zeros", strings.Repeat("\x00", 100), true},
		{"comments", "# nothing\n", true},
		{"words", "this is\nno list\n", true},
		{"a short list", list(5), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := publish(t, text(list(1000)))
			s := subscribed(t, p.URL, nil)
			refreshed(t, s)
			p.now(text(test.update))
			refreshed(t, s)
			held := s.Status()[0].Held
			if held == nil || held.NoList != test.noList {
				t.Fatalf("got %+v, want it held, no list: %v", held, test.noList)
			}
			if err := s.Accept("ads"); (err != nil) != test.noList {
				t.Errorf("accept: got %v", err)
			}
		})
	}
}

// A copy of another URL is in force until the new one can be fetched, and says so.
func TestACopyOfAnotherURLSaysSo(t *testing.T) {
	p := publish(t, text(list(10)))
	s := subscribed(t, p.URL+"/old?key=secret", nil)
	refreshed(t, s)
	other := publish(t, status(http.StatusNotFound))
	for range 2 { // by this process, and by the next one
		s.Set([]List{{Name: "ads", URL: other.URL, Enabled: true}})
		refreshed(t, s)
		if st := s.Status()[0]; !st.Foreign || !strings.HasPrefix(st.OldURL, p.URL) || st.Rules != 10 {
			t.Errorf("got %+v, want the rules of the old URL", st)
		}
		var err error
		s, err = New(s.Options)
		check(t, err)
	}
	other.now(text(list(7)))
	s.Set([]List{{Name: "ads", URL: other.URL, Enabled: true}})
	if got := refreshed(t, s); got.Outcome != Updated {
		t.Errorf("got %+v", got)
	}
	if st := s.Status()[0]; st.Foreign || st.OldURL != "" || st.Rules != 7 {
		t.Errorf("got %+v, want the rules of the new URL", st)
	}
}

// dripping sends a byte at a time.
func dripping(every time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(every):
			}
			if _, err := w.Write([]byte("#")); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}
}

// Two servers that drip do not hold up the third list.
func TestADrippingServerFreesItsPlace(t *testing.T) {
	drip, good := publish(t, dripping(10*time.Millisecond)), publish(t, text(list(10)))
	s := subscribed(t, drip.URL, func(o *Options) {
		o.Stall = 2 * time.Second
		o.Lists = []List{{Name: "a", URL: drip.URL, Enabled: true}, {Name: "b", URL: drip.URL, Enabled: true}, {Name: "c", URL: good.URL, Enabled: true}}
	})
	var mu sync.Mutex
	ended := map[string]Progress{}
	check(t, s.Refresh(context.Background(), nil, func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		ended[p.Name] = p
	}))
	for _, name := range []string{"a", "b"} {
		// On a machine that stands still for so long, nothing comes at all.
		if err := ended[name].Err; err == nil || !strings.Contains(err.Error(), "are the least") && !strings.Contains(err.Error(), "nothing came") {
			t.Errorf("%s: got %v, want that too little came", name, err)
		}
	}
	if got := ended["c"]; got.Outcome != Updated || got.Rules != 10 {
		t.Errorf("c: got %+v", got)
	}
}

func TestAStallLooksAtEachSpan(t *testing.T) {
	for _, test := range []struct {
		name string
		came []int // bytes in each second
		ends int   // after which span of 10 s; 0 for not
		why  string
	}{
		{"enough", []int{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10}, 0, ""},
		{"nothing", nil, 1, "nothing came for 10s"},
		{"nothing later", []int{500}, 2, "nothing came for 10s"},
		{"too little later", []int{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 99}, 2, "only 99 bytes came in 10s, and 100 are the least"},
		{"a burst is enough", []int{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100}, 0, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			s := newStall(t.Context(), 10*time.Second, 10)
			defer s.stop()
			for i := range 20 {
				time.Sleep(500 * time.Millisecond)
				if i < len(test.came) {
					s.moved(test.came[i])
				}
				time.Sleep(500*time.Millisecond - time.Nanosecond)
			}
			time.Sleep(time.Microsecond)
			err := context.Cause(s.ctx)
			if test.ends == 0 {
				if err != nil {
					t.Errorf("%s: got %v, want no end", test.name, err)
				}
				return
			}
			if err == nil || err.Error() != test.why || errors.Is(err, context.Canceled) {
				t.Errorf("%s: after %v: got %v, want %s", test.name, time.Since(start), err, test.why)
			}
		})
	}
}
