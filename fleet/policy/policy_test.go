package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A center for tests: nodes say their names by a header.
type center struct {
	*Publisher
	server *httptest.Server
	asked  atomic.Int64 // files that were fetched
	cut    atomic.Bool  // connections end at once
	mangle atomic.Bool  // files are sent with another octet
}

func newCenter(t testing.TB, dir string, early func(string) bool) *center {
	t.Helper()
	c := &center{}
	var err error
	if c.Publisher, err = NewPublisher(PublisherOptions{Dir: dir, Early: early}); err != nil {
		t.Fatal(err)
	}
	h := c.Handler(func(r *http.Request) string { return r.Header.Get("Node") })
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.cut.Load() {
			panic(http.ErrAbortHandler)
		}
		if strings.HasPrefix(r.URL.Path, FilePath) {
			c.asked.Add(1)
			if c.mangle.Load() {
				w = mangling{w}
			}
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(c.server.Close)
	return c
}

// mangling changes the first octet of what is written.
type mangling struct{ http.ResponseWriter }

func (m mangling) Write(b []byte) (int, error) {
	b = append([]byte(nil), b...)
	b[0] ^= 1
	return m.ResponseWriter.Write(b)
}

func (c *center) publish(t testing.TB, texts map[string]string) {
	t.Helper()
	var all []Content
	for name, text := range texts {
		all = append(all, Content{Name: name, Text: []byte(text)})
	}
	if _, err := c.Publish(all); err != nil {
		t.Fatal(err)
	}
}

type as struct {
	node string
	http.RoundTripper
}

func (a as) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Node", a.node)
	return a.RoundTripper.RoundTrip(r)
}

// A node follows; what it applied comes out of a channel.
type node struct {
	*Follower
	dir     string
	applied chan string
	refuse  atomic.Bool
}

func newNode(t testing.TB, name, dir string, centers ...string) *node {
	t.Helper()
	n := &node{dir: dir, applied: make(chan string, 100)}
	transport := &http.Transport{}
	n.Follower = NewFollower(FollowerOptions{Dir: dir, Client: &http.Client{Transport: as{name, transport}}, Centers: centers, Apply: func(version string) error {
		if n.refuse.Load() {
			return errors.New("settings.yaml:1: found nonsense")
		}
		err := Use(dir, version)
		n.applied <- version
		return err
	}})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx, nil) })
	t.Cleanup(func() { stop(); running.Wait(); transport.CloseIdleConnections() })
	return n
}

// waits returns the next version that was applied.
func (n *node) waits(t testing.TB) string {
	t.Helper()
	select {
	case v := <-n.applied:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("no policy was applied: %+v", n.Status())
		return ""
	}
}

func (n *node) file(name string) string {
	text, err := os.ReadFile(filepath.Join(FilesOf(n.dir, InForce(n.dir)), filepath.FromSlash(name)))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come to pass that %s", what)
		}
	}
}

func TestOnlyWhatChangedTravels(t *testing.T) {
	c := newCenter(t, t.TempDir(), nil)
	c.publish(t, map[string]string{"lists/own.txt": "one.example\n", "lists/ads.txt": "two.example\n", Settings: "a: 1\n"})
	n := newNode(t, "kitchen", t.TempDir(), c.server.URL)
	n.waits(t)
	if got := n.file("lists/own.txt") + n.file("lists/ads.txt") + n.file(Settings); got != "one.example\ntwo.example\na: 1\n" {
		t.Errorf("got %q", got)
	}
	if got := c.asked.Load(); got != 3 {
		t.Errorf("%d files travelled, want 3", got)
	}
	c.publish(t, map[string]string{"lists/own.txt": "three.example\n", "lists/ads.txt": "two.example\n"})
	version := n.waits(t)
	if got := n.file("lists/own.txt") + n.file("lists/ads.txt"); got != "three.example\ntwo.example\n" {
		t.Errorf("got %q", got)
	}
	if got := c.asked.Load(); got != 4 {
		t.Errorf("%d files travelled, want 4", got)
	}
	if _, err := os.Stat(filepath.Join(FilesOf(n.dir, version), Settings)); err == nil {
		t.Error("a file that the center has no more is still there")
	}
	until(t, "earlier versions are removed", func() bool {
		entries, _ := os.ReadDir(n.dir)
		return len(entries) == 2
	})
}

func TestANodeThatWasCutOffCatchesUp(t *testing.T) {
	c := newCenter(t, t.TempDir(), nil)
	c.publish(t, map[string]string{"lists/own.txt": "one.example\n"})
	n := newNode(t, "kitchen", t.TempDir(), c.server.URL)
	n.waits(t)
	c.cut.Store(true)
	c.server.CloseClientConnections()
	until(t, "the node says that no center answers", func() bool { return n.Status().Problem != "" })
	c.publish(t, map[string]string{"lists/own.txt": "two.example\n"})
	if got := n.file("lists/own.txt"); got != "one.example\n" {
		t.Errorf("cut off, the node has %q", got)
	}
	c.cut.Store(false)
	begun := time.Now()
	n.waits(t)
	t.Logf("caught up %v after its return", time.Since(begun).Round(time.Millisecond))
	if got := n.file("lists/own.txt"); got != "two.example\n" {
		t.Errorf("back again, the node has %q", got)
	}
	until(t, "the problem is over", func() bool { return n.Status().Problem == "" })
}

func TestADamagedPolicyIsRefusedAndWhatWorksIsKept(t *testing.T) {
	c := newCenter(t, t.TempDir(), nil)
	c.publish(t, map[string]string{"lists/own.txt": "one.example\n"})
	n := newNode(t, "kitchen", t.TempDir(), c.server.URL)
	good := n.waits(t)
	c.mangle.Store(true)
	c.publish(t, map[string]string{"lists/own.txt": "two.example\n"})
	until(t, "the node says what is wrong", func() bool { return strings.Contains(n.Status().Problem, "is not this file") })
	if got := n.file("lists/own.txt"); got != "one.example\n" || n.Status().Version != good {
		t.Errorf("with a damaged file the node has %q", got)
	}
	c.mangle.Store(false)
	n.waits(t)
	n.refuse.Store(true)
	c.publish(t, map[string]string{"lists/own.txt": "three.example\n", Settings: "nonsense"})
	until(t, "the node refuses it", func() bool { return n.Status().Refused != "" })
	if got, st := n.file("lists/own.txt"), n.Status(); got != "two.example\n" || !strings.Contains(st.Why, "found nonsense") {
		t.Errorf("with settings that have mistakes the node has %q, and says %q", got, st.Why)
	}
	n.refuse.Store(false)
	c.publish(t, map[string]string{"lists/own.txt": "four.example\n"})
	n.waits(t)
	if got := n.file("lists/own.txt"); got != "four.example\n" {
		t.Errorf("repaired, the node has %q", got)
	}
	until(t, "nothing is refused any more", func() bool { return n.Status().Refused == "" })
}

func TestAChangeIsRolledOutInTwoSteps(t *testing.T) {
	dir := t.TempDir()
	early := func(node string) bool { return node == "first" }
	c := newCenter(t, dir, early)
	c.publish(t, map[string]string{"lists/own.txt": "one.example\n"})
	first, last := newNode(t, "first", t.TempDir(), c.server.URL), newNode(t, "last", t.TempDir(), c.server.URL)
	before := last.waits(t)
	first.waits(t)
	c.publish(t, map[string]string{"lists/own.txt": "two.example\n"})
	first.waits(t)
	if now, all := c.Versions(); now == all || all != before {
		t.Errorf("published is %s to who is first, and %s to all", now, all)
	}
	// A center that starts again goes on where it was.
	again, err := NewPublisher(PublisherOptions{Dir: dir, Early: early})
	if err != nil {
		t.Fatal(err)
	}
	if now, all := again.Versions(); now == all || all != before {
		t.Errorf("after a restart, published is %s to who is first, and %s to all", now, all)
	}
	if got := last.file("lists/own.txt"); got != "one.example\n" {
		t.Errorf("before the roll-out the last has %q", got)
	}
	if err := c.RollOut(); err != nil {
		t.Fatal(err)
	}
	last.waits(t)
	if got := last.file("lists/own.txt"); got != "two.example\n" {
		t.Errorf("after the roll-out the last has %q", got)
	}
	// What was published by an earlier leadership holds nobody back.
	c.publish(t, map[string]string{"lists/own.txt": "three.example\n"})
	if err := Unpublish(dir); err != nil {
		t.Fatal(err)
	}
	if again, err = NewPublisher(PublisherOptions{Dir: dir, Early: early}); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Publish([]Content{{Name: "lists/own.txt", Text: []byte("four.example\n")}}); err != nil {
		t.Fatal(err)
	}
	if now, all := again.Versions(); now != all || now == "" {
		t.Errorf("published is %s to who is first, and %s to all", now, all)
	}
}

func TestANodeWorksWithoutItsCenter(t *testing.T) {
	c := newCenter(t, t.TempDir(), nil)
	c.publish(t, map[string]string{"lists/own.txt": "one.example\n"})
	dir := t.TempDir()
	n := newNode(t, "kitchen", dir, c.server.URL)
	version := n.waits(t)
	c.server.Close()
	again := newNode(t, "kitchen", dir, c.server.URL)
	until(t, "the node says that no center answers", func() bool { return again.Status().Problem != "" })
	if got := again.file("lists/own.txt"); got != "one.example\n" || again.Status().Version != version {
		t.Errorf("without its center the node has %q", got)
	}
}

func TestTheNextCenterIsAskedWhereOneIsAway(t *testing.T) {
	c := newCenter(t, t.TempDir(), nil)
	c.publish(t, map[string]string{"lists/own.txt": "one.example\n"})
	n := newNode(t, "kitchen", t.TempDir(), "http://127.0.0.1:1", c.server.URL)
	n.waits(t)
	until(t, "the second center answered", func() bool { return n.Status().Center == c.server.URL })
}

func TestPoliciesThatAreNoneAreRefused(t *testing.T) {
	hash := strings.Repeat("0", 64)
	text := func(files ...File) []byte {
		m := &Manifest{Files: files}
		m.Version = m.version()
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if _, err := parseManifest(text(File{"lists/ads.txt", 1, hash}, File{Settings, 1, hash})); err != nil {
		t.Errorf("a policy is refused: %v", err)
	}
	for _, name := range []string{"", "lists", "lists/", "lists/../x", "../lists/x", "/lists/x", "lists/.x", "lists/a/b", "other/x", "x", `lists\x`, "lists/c:x", "lists/x\x00"} {
		if _, err := parseManifest(text(File{name, 1, hash})); err == nil {
			t.Errorf("a file %q is taken", name)
		}
	}
	for _, f := range [][]File{
		{{"lists/b", 1, hash}, {"lists/a", 1, hash}}, {{"lists/a", 1, hash}, {"lists/a", 1, hash}},
		{{"lists/a", -1, hash}}, {{"lists/a", mostFile + 1, hash}}, {{"lists/a", 1, hash[1:]}}, {{"lists/a", 1, strings.Repeat("A", 64)}},
	} {
		if _, err := parseManifest(text(f...)); err == nil {
			t.Errorf("%+v is taken", f)
		}
	}
	if _, err := parseManifest([]byte(`{"version":"000000000000000000000000","files":[]}`)); err == nil {
		t.Error("a policy with another's version is taken")
	}
}

func FuzzParseManifest(f *testing.F) {
	m := newManifest([]File{{"lists/own.txt", 3, strings.Repeat("0", 64)}, {Settings, 1, strings.Repeat("1", 64)}})
	text, _ := json.Marshal(m)
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(text)
		if err != nil {
			return
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(filepath.FromSlash(file.Name)) {
				t.Errorf("%q is a file elsewhere", file.Name)
			}
		}
	})
}

// BenchmarkPolicy is how long it takes until 1,000 nodes know of a change and have it on
// disk, nodes and center in this process, over HTTP without TLS. The nodes' disks are one:
// run it with TMPDIR in memory.
func BenchmarkPolicy(b *testing.B) {
	const nodes = 1000
	c := newCenter(b, b.TempDir(), nil)
	text := func(i int) map[string]string {
		return map[string]string{"lists/own.txt": fmt.Sprintf("rule-%d.example\n", i), "lists/ads.txt": strings.Repeat("ads.example\n", 1000)}
	}
	c.publish(b, text(-1))
	all := make([]*node, nodes)
	for i := range all {
		all[i] = newNode(b, fmt.Sprint("node-", i), b.TempDir(), c.server.URL)
	}
	for _, n := range all {
		<-n.applied
	}
	cpu := func() (d time.Duration) {
		var u syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	b.ResetTimer()
	before := cpu()
	for i := 0; b.Loop(); i++ {
		c.publish(b, text(i))
		for _, n := range all {
			<-n.applied
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/change")
	b.ReportMetric((cpu()-before).Seconds()/float64(b.N), "cpu-s/change")
}

func TestANodeThatIsRefusedKnowsIt(t *testing.T) {
	for status, want := range map[int]bool{http.StatusForbidden: true, http.StatusUnauthorized: true, http.StatusInternalServerError: false} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "node attic was revoked", status) }))
		ctx, stop := context.WithCancel(context.Background())
		f := NewFollower(FollowerOptions{Dir: t.TempDir(), Client: server.Client(), Centers: []string{server.URL}})
		f.Run(ctx, func(Status) { stop() })
		server.Close()
		if got := f.Status(); got.Denied != want || !strings.Contains(got.Problem, "node attic was revoked") {
			t.Errorf("answered %d: got %+v, want denied=%v and why", status, got, want)
		}
	}
}

func TestARequestThatWasHeldIsAskedAgainWhoseItIs(t *testing.T) {
	t.Parallel()
	var revoked atomic.Bool
	asked := make(chan struct{}, 1)
	p, err := NewPublisher(PublisherOptions{Dir: t.TempDir(), Asked: func(string, string) { asked <- struct{}{} }, Again: func(w http.ResponseWriter, _ *http.Request) bool {
		if revoked.Load() {
			http.Error(w, "revoked", http.StatusForbidden)
		}
		return !revoked.Load()
	}})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(text string) {
		t.Helper()
		if _, err := p.Publish([]Content{{Name: Lists + "/ads.txt", Text: []byte(text)}}); err != nil {
			t.Fatal(err)
		}
	}
	publish("one.example\n")
	h := p.Handler(func(*http.Request) string { return "attic" })
	for _, c := range []struct {
		revoked bool
		want    int
	}{{false, http.StatusOK}, {true, http.StatusForbidden}} {
		r := httptest.NewRequest(http.MethodGet, ManifestPath, nil)
		latest, _ := p.Versions()
		r.Header.Set("If-None-Match", `"`+latest+`"`)
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() { defer close(done); h.ServeHTTP(w, r) }()
		<-asked
		revoked.Store(c.revoked)
		publish(fmt.Sprintf("revoked-%v.example\n", c.revoked))
		<-done
		if w.Code != c.want || c.revoked && strings.Contains(w.Body.String(), "files") {
			t.Errorf("revoked %v: got %d %s, want %d", c.revoked, w.Code, w.Body, c.want)
		}
	}
}
