package watch

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// changesOf returns when w tells of a change, in milliseconds from now, until ctx
// is done.
func changesOf(ctx context.Context, w *Watcher) (got []int64) {
	start := time.Now()
	for {
		select {
		case <-ctx.Done():
			return got
		case <-w.C:
			got = append(got, time.Since(start).Milliseconds())
		}
	}
}

func TestABurstOfEventsIsToldOnce(t *testing.T) {
	for _, test := range []struct {
		name   string
		quiet  time.Duration
		events []int64 // milliseconds after the start
		want   []int64
	}{
		{"one event, after 200 ms", 0, []int64{0}, []int64{200}},
		{"two close together, after the second", 0, []int64{0, 100}, []int64{300}},
		{"two apart, each", 0, []int64{0, 500}, []int64{200, 700}},
		{"without end, after 600 ms", 0, []int64{0, 150, 300, 450, 590, 650}, []int64{600, 850}},
		{"another time of quiet", 50 * time.Millisecond, []int64{0, 40, 80, 120, 300}, []int64{150, 350}},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := New(Options{Poll: -1, Quiet: test.quiet})
			fake := &fsnotify.Watcher{Events: make(chan fsnotify.Event), Errors: make(chan error)}
			w.adopted <- fake
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			go func() {
				for _, at := range test.events {
					time.Sleep(time.Until(start.Add(time.Duration(at) * time.Millisecond)))
					fake.Events <- fsnotify.Event{}
				}
			}()
			if got := changesOf(ctx, w); !slices.Equal(got, test.want) {
				t.Errorf("%s: got changes at %d ms, want %d", test.name, got, test.want)
			}
			w.Close()
		})
	}
}

func TestPollsAndLostEventsAreChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(Options{})
		fake := &fsnotify.Watcher{Events: make(chan fsnotify.Event), Errors: make(chan error)}
		w.adopted <- fake
		go func() {
			time.Sleep(12 * time.Second)
			fake.Errors <- fsnotify.ErrEventOverflow
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		if got, want := changesOf(ctx, w), []int64{10000, 12000, 20000, 30000}; !slices.Equal(got, want) {
			t.Errorf("got changes at %d ms, want %d", got, want)
		}
		w.Close()
	})
}

func TestDirectories(t *testing.T) {
	top := t.TempDir()
	in := func(name string) string { return filepath.Join(top, name) }
	for _, dir := range []string{"d/sub", "real", "k/..v1"} {
		check(t, os.MkdirAll(in(dir), 0o700))
	}
	for _, file := range []string{"d/file", "real/file", "k/..v1/file"} {
		check(t, os.WriteFile(in(file), nil, 0o600))
	}
	for link, to := range map[string]string{
		"d/abs": in("real/file"), "d/rel": "../real/file", "d/dir": "../real", "k/..data": "..v1", "k/file": "..data/file",
		"d/nowhere": in("gone/file"), "d/loop": "loop",
	} {
		check(t, os.Symlink(to, in(link)))
	}
	for _, test := range []struct {
		path string
		want []string
	}{
		{"d/file", []string{"d"}},
		{"d", []string{"d"}},
		{"d/missing", []string{"d"}},
		{"d/missing/file", []string{"d"}},
		{"d/abs", []string{"d", "real"}},
		{"d/rel", []string{"d", "real"}},
		{"d/dir", []string{"d", "real"}},
		{"d/dir/file", []string{"d", "real"}},
		{"k/file", []string{"k", "k/..v1"}},
		{"d/nowhere", []string{"", "d"}},
		{"d/loop", []string{"d"}},
	} {
		var got []string
		for dir := range maps.Keys(directories([]string{in(test.path)})) {
			got = append(got, strings.TrimPrefix(strings.TrimPrefix(dir, top), "/"))
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.path, got, test.want)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what a change must lead to.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// What happens between the reading of a file and the watch of a directory that
// was found only then is reported.
func TestAChangeBeforeADirectoryIsWatchedIsTold(t *testing.T) {
	w := New(Options{Poll: -1})
	defer w.Close()
	if err := w.Err(); err != nil {
		t.Fatal(err)
	}
	w.Follow(t.TempDir())
	select {
	case <-w.C:
	case <-time.After(30 * time.Second):
		t.Fatal("a directory is watched, and no change is reported")
	}
}

func TestRunLooksAtOnceAndAfterEachChange(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	texts := make(chan string, 100)
	file := filepath.Join(dir, "file")
	last := "never"
	done := make(chan struct{})
	go func() {
		defer close(done)
		Run(ctx, Options{Poll: -1}, func() []string { return []string{file} }, func() {
			b, _ := os.ReadFile(file)
			if string(b) != last {
				last = string(b)
				texts <- last
			}
		})
	}()
	for _, text := range []string{"", "one", "two"} {
		if text != "" {
			check(t, os.WriteFile(file+"~", []byte(text), 0o600))
			check(t, os.Rename(file+"~", file))
		}
		select {
		case got := <-texts:
			if got != text {
				t.Errorf("got %q, want %q", got, text)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%q was not seen", text)
		}
	}
	cancel()
	<-done
}

func TestAFailureIsReportedOnceAndItsEnd(t *testing.T) {
	var reported []string
	w := New(Options{Poll: time.Hour, Failed: func(err error) { reported = append(reported, text(err)) }})
	defer w.Close()
	dir := t.TempDir()
	w.Follow(dir)
	check(t, w.notify.Close()) // adding fails from now on
	w.Follow(dir)
	w.Follow(dir)
	if err := w.Err(); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want the directory that is not watched", err)
	}
	w.notify = nil
	w.Follow(dir)
	if len(reported) != 2 || reported[1] != "" || !strings.Contains(reported[0], "only found every 1h0m0s") {
		t.Errorf("got %q, want a failure and its end", reported)
	}
	check(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	eventually(t, "a change is reported again", func() bool {
		select {
		case <-w.C:
			return true
		default:
			return false
		}
	})
}

func TestTheSettingBehindAnErrnoIsNamed(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{os.NewSyscallError("inotify_add_watch", syscall.ENOSPC), "fs.inotify.max_user_watches"},
		{os.NewSyscallError("inotify_init1", syscall.EMFILE), "fs.inotify.max_user_instances"},
		{errors.New("other"), "other"},
	} {
		if got := explained(test.err).Error(); !strings.Contains(got, test.want) {
			t.Errorf("%v: got %q, want %q in it", test.err, got, test.want)
		}
	}
}
