package fleet_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telltale/fleet"
	"telltale/fleet/storetest"
	"telltale/querylog"
)

// A liveCenter hands rows on that nodes post to it. A node says in a header which one it is.
type liveCenter struct {
	hub *fleet.LiveHub
	url string

	mu    sync.Mutex
	asked map[string]int                  // requests, by method
	fails func(method string, n int) bool // nil: none does
}

func newLiveCenter(t *testing.T) *liveCenter {
	t.Helper()
	c := &liveCenter{hub: fleet.NewLiveHub(), asked: map[string]int{}}
	h := c.hub.Handler(func(r *http.Request) string { return r.Header.Get("Node") }, nil)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.asked[r.Method]++
		fails := c.fails != nil && c.fails(r.Method, c.asked[r.Method])
		c.mu.Unlock()
		if fails {
			http.Error(w, "it fails", http.StatusInternalServerError)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

// failing has it answer some requests with an error: the n-th of a method.
func (c *liveCenter) failing(fails func(method string, n int) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails = fails
}

func (c *liveCenter) requests(method string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[method]
}

// asNode sends requests as a node.
type asNode struct {
	node string
	http.RoundTripper
}

func (n asNode) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Node", n.node)
	return n.RoundTripper.RoundTrip(r)
}

// handOn has a node hand its rows on until the test ends.
func (c *liveCenter) handOn(t *testing.T, n *storetest.Node, unlisted bool) {
	t.Helper()
	c.handOnAt(t, n, unlisted, 0)
}

func (c *liveCenter) handOnAt(t *testing.T, n *storetest.Node, unlisted bool, rate int) {
	t.Helper()
	transport := &http.Transport{}
	l := fleet.NewLiveNode(fleet.LiveOptions{Open: func() (*querylog.Reader, error) { return querylog.OpenReader(n.Dir) }, Centers: []string{c.url},
		Client: &http.Client{Transport: asNode{n.Name, transport}}, Unlisted: unlisted, Bandwidth: fleet.NewBandwidth(rate), Logger: quiet})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait(); transport.CloseIdleConnections() })
}

func waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// next returns the next row that a stream has.
func next(t *testing.T, s *fleet.LiveStream) *querylog.Row {
	t.Helper()
	select {
	case row := <-s.Rows:
		return row
	case <-time.After(time.Minute):
		t.Fatal("no row came")
		return nil
	}
}

func TestRowsOfAllNodesComeToWhoFollows(t *testing.T) {
	c := newLiveCenter(t)
	attic, cellar := storetest.NewNode(t, "attic"), storetest.NewNode(t, "cellar")
	atticAdds, atticEnds := attic.Open()
	cellarAdds, cellarEnds := cellar.Open()
	c.handOn(t, attic, false)
	c.handOn(t, cellar, true)
	waitUntil(t, "both nodes ask whether somebody follows", func() bool { return c.requests("GET") == 2 })
	atticAdds(storetest.Lookup{Device: 1, Name: "one.metrics.aurora.example"})
	s, err := c.hub.Follow()
	if err != nil {
		t.Fatal(err)
	}
	if row := next(t, s); row.Name != "one.metrics.aurora.example" || row.Node != "attic" || !row.Open || row.Verdict != "block" {
		t.Errorf("a row that was not shipped yet comes as %+v", row)
	}
	begun := time.Now()
	cellarAdds(storetest.Lookup{Device: 2, Name: "shop.example"}) // of no list
	if row := next(t, s); row.Name != "shop.example" || row.Node != "cellar" || row.Device != "mac:02:00:00:00:00:02" {
		t.Errorf("got %+v", row)
	}
	t.Logf("a lookup came %v after it", time.Since(begun).Round(time.Millisecond))
	atticAdds(storetest.Lookup{Device: 1, Name: "shop.example"}) // stays at the node
	atticAdds(storetest.Lookup{Device: 1, Name: "one.metrics.aurora.example", Times: 2})
	if row := next(t, s); row.Name != "one.metrics.aurora.example" || row.Count != 3 || !row.Open {
		t.Errorf("a row that has grown comes as %+v", row)
	}
	atticEnds()
	if row := next(t, s); row.Name != "one.metrics.aurora.example" || row.Count != 3 || row.Open {
		t.Errorf("a row that is closed comes as %+v", row)
	}
	if away := s.Away([]string{"attic", "cellar", "kitchen"}, time.Now()); len(away) > 0 {
		t.Errorf("%v are away before a node had time to answer", away)
	}
	if away := s.Away([]string{"attic", "cellar", "kitchen"}, time.Now().Add(time.Hour)); len(away) != 3 || away["attic"].IsZero() || !away["kitchen"].IsZero() {
		t.Errorf("an hour later, away are %v", away)
	}

	asked := c.requests("GET")
	s.Close()
	waitUntil(t, "both nodes hold a request again", func() bool { return c.requests("GET") == asked+2 })
	posted := c.requests("POST")
	cellarAdds(storetest.Lookup{Device: 2, Name: "viewing.brightline.example"})
	cellarEnds()
	if s, err = c.hub.Follow(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var names []string
	for !slices.Contains(names, "viewing.brightline.example") {
		names = append(names, next(t, s).Name)
	}
	if got := c.requests("POST"); got <= posted {
		t.Errorf("%d posts while nobody followed, and %d in all", posted, got)
	}
}

// Of more than a post may have, a node posts the last, and says how many it left out.
func TestANodePostsTheLastOfWhatHasCome(t *testing.T) {
	c := newLiveCenter(t)
	attic := storetest.NewNode(t, "attic")
	adds, ends := attic.Open()
	for i := range 5 {
		adds(storetest.Lookup{Device: 1, Name: fmt.Sprintf("n%d.metrics.aurora.example", i)})
	}
	ends()
	s, err := c.hub.Follow()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c.handOnAt(t, attic, false, 1600) // two rows of a post
	first, second := next(t, s), next(t, s)
	if first.Name != "n3.metrics.aurora.example" || second.Name != "n4.metrics.aurora.example" {
		t.Errorf("got %s and %s, want the last two", first.Name, second.Name)
	}
	if got := s.LeftOut()["attic"]; got != 3 {
		t.Errorf("%d rows were left out, want 3", got)
	}
}

// What a node left out before a post that failed, or behind one that came, is told once.
func TestWhatIsLeftOutIsToldOnceWhereAPostFails(t *testing.T) {
	for _, fails := range []int{1, 2} { // the first post, or the one behind it
		c := newLiveCenter(t)
		attic := storetest.NewNode(t, "attic")
		adds, ends := attic.Open()
		add := func(from, to int) {
			for i := from; i < to; i++ {
				adds(storetest.Lookup{Device: 1, Name: fmt.Sprintf("n%d.metrics.aurora.example", i)})
			}
		}
		add(0, 5)
		ends()
		adds, ends = attic.Open()
		wantLast, wantLeftOut := "n4.metrics.aurora.example", 3
		if fails == 2 {
			wantLast, wantLeftOut = "n8.metrics.aurora.example", 5
		}
		c.failing(func(method string, n int) bool {
			if method == http.MethodPost && n == 1 && fails == 2 {
				add(5, 9) // before the node looks again
			}
			return method == http.MethodPost && n == fails
		})
		s, err := c.hub.Follow()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c.handOnAt(t, attic, false, 1600) // two rows of a post
		for next(t, s).Name != wantLast {
		}
		if got := s.LeftOut()["attic"]; got != wantLeftOut {
			t.Errorf("post %d failed: %d rows were left out, want %d", fails, got, wantLeftOut)
		}
		ends()
	}
}

// A bodyReader is a center that reads what it is sent, and stores or follows nothing.
type bodyReader struct {
	mu     sync.Mutex
	octets map[string]int // by path
	late   time.Time      // unless zero,
	later  map[string]int // octets by path that are read after that
}

func (b *bodyReader) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
		part := make([]byte, 4<<10)
		for {
			n, err := r.Body.Read(part)
			b.mu.Lock()
			b.octets[r.URL.Path] += n
			if !b.late.IsZero() && time.Now().After(b.late) {
				b.later[r.URL.Path] += n
			}
			b.mu.Unlock()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
		}
	}
	text := `{"follow":true}`
	if r.URL.Path == fleet.RowsPath {
		text = `{"error":"nothing is stored here"}`
	}
	w := httptest.NewRecorder()
	w.WriteString(text)
	return w.Result(), nil
}

// noCursor is a log of which nothing is shipped.
type noCursor struct{}

func (noCursor) Cursor(context.Context) (querylog.Cursor, error)     { return querylog.Cursor{}, nil }
func (noCursor) SetCursor(context.Context, querylog.Cursor) error    { return nil }
func (noCursor) BecomeOther(ctx context.Context, window int64) error { return nil }

func TestTheLogAndRowsAsTheyComeShareABandwidth(t *testing.T) {
	attic := storetest.NewNode(t, "attic")
	var lookups []storetest.Lookup
	for i := range 800 {
		lookups = append(lookups, storetest.Lookup{Device: 1 + i%5, Name: fmt.Sprintf("n%d.metrics.aurora.example", i*7919%1000)})
	}
	attic.Store(lookups...)
	open := func() (*querylog.Reader, error) { return querylog.OpenReader(attic.Dir) }
	r, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	synctest.Test(t, func(t *testing.T) {
		const rate, seconds = 100, 60 // the log takes more than that
		center := &bodyReader{octets: map[string]int{}, late: time.Now().Add(seconds * time.Second / 2), later: map[string]int{}}
		client, shared := &http.Client{Transport: center}, fleet.NewBandwidth(rate)
		ship := fleet.NewShipper(fleet.ShipperOptions{Log: noCursor{}, Reader: r, Centres: []string{"http://center.example"}, Client: client, Bandwidth: shared, FirstWait: time.Millisecond, Logger: quiet})
		live := fleet.NewLiveNode(fleet.LiveOptions{Open: open, Centers: []string{"http://center.example"}, Client: client, Bandwidth: shared, Logger: quiet})
		ctx, stop := context.WithTimeout(t.Context(), seconds*time.Second)
		defer stop()
		var running sync.WaitGroup
		running.Go(func() { ship.Run(ctx) })
		running.Go(func() { live.Run(ctx) })
		running.Wait()
		log, rows := center.octets[fleet.RowsPath], center.octets[fleet.LivePath]
		if got, want := log+rows, rate*seconds+rate/8; got > want || log == 0 || rows == 0 {
			t.Errorf("%d octets of the log and %d of rows as they come were sent, want both, and together %d at most", log, rows, want)
		}
		laterLog, laterRows := center.later[fleet.RowsPath], center.later[fleet.LivePath]
		t.Logf("%d octets of the log, %d of rows as they come; in the second half %d and %d", log, rows, laterLog, laterRows)
		// Rows take a quarter at most, of which a post of few does not take all.
		const half = rate * seconds / 2
		if laterLog < half/2 || laterRows < half/20 {
			t.Errorf("in the second half %d octets of the log and %d of rows as they come were sent, want at least %d and %d", laterLog, laterRows, half/2, half/20)
		}
	})
}

// post posts rows as a node, and returns the status and whether to go on.
func (c *liveCenter) post(t *testing.T, node string, body []byte, leftOut string) (status int, said fleet.LiveAnswer) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, c.url+fleet.LivePath, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Node", node)
	req.Header.Set(fleet.LeftOutHeader, leftOut)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	json.NewDecoder(resp.Body).Decode(&said)
	return resp.StatusCode, said
}

func packRows(rows ...querylog.Row) []byte {
	var out bytes.Buffer
	for i := range rows {
		text, _ := json.Marshal(rows[i])
		out.Write(append(text, '\n'))
	}
	return packText(out.String())
}

func packText(text string) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write([]byte(text))
	w.Close()
	return out.Bytes()
}

// ids returns what a stream has now: each row's number, with its count where it is open.
func ids(s *fleet.LiveStream) (all []int64) {
	for len(s.Rows) > 0 {
		row := <-s.Rows
		all = append(all, row.ID)
		if row.Open {
			all = append(all, -int64(row.Count))
		}
	}
	return all
}

func TestARowThatIsPostedTwiceIsHandedOnOnce(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	c := newLiveCenter(t)
	row := func(id int64, open bool, count uint64) querylog.Row {
		return querylog.Row{Node: "somebody else", Store: "s", ID: id, Open: open, Count: count}
	}
	if _, said := c.post(t, "attic", packRows(row(1, false, 1)), ""); said.Follow {
		t.Error("a node is to go on while nobody follows")
	}
	s, err := c.hub.Follow()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		if status, said := c.post(t, "attic", packRows(row(1, false, 1), row(5, true, 2), row(6, true, 1), row(5, true, 3)), ""); status != http.StatusOK || !said.Follow {
			t.Fatalf("status %d, %+v", status, said)
		}
	}
	if got, want := ids(s), []int64{1, 5, -2, 6, -1, 5, -3}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c.post(t, "attic", packRows(row(5, false, 3), row(6, true, 1), row(6, false, 1), row(5, true, 9)), "")
	c.post(t, "cellar", packRows(row(5, false, 3)), "") // one node does not speak for another
	if got, want := ids(s), []int64{5, 6, 5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	later, err := c.hub.Follow()
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	if got, want := ids(later), []int64{1, 5, 6, 5}; !slices.Equal(got, want) {
		t.Errorf("who begins to follow later gets %v, want %v", got, want)
	}
}

func TestWhoTakesRowsTooSlowlyIsToldHowManyAreLeftOut(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	c := newLiveCenter(t)
	s, err := c.hub.Follow()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const rows = 6_000
	for from := int64(0); from < rows; from += 2000 {
		var part []querylog.Row
		for id := range int64(2000) {
			part = append(part, querylog.Row{Store: "s", ID: from + id + 1, Count: 1})
		}
		if status, _ := c.post(t, "attic", packRows(part...), ""); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
	c.post(t, "cellar", packRows(), "7")
	taken := len(ids(s))
	if got := s.LeftOut(); got["attic"]+taken != rows || got["attic"] == 0 || got["cellar"] != 7 {
		t.Errorf("%d rows were taken of %d, and left out are %v", taken, rows, got)
	}
	later, err := c.hub.Follow()
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	taken = len(ids(later))
	if got := later.LeftOut()["attic"]; got+taken != rows || got == 0 {
		t.Errorf("who begins later gets %d rows of %d, and left out are %d", taken, rows, got)
	}
	if got := s.LeftOut(); got != nil {
		t.Errorf("what was said is said again: %v", got)
	}
}

func TestAPostOfRowsThatIsNoneIsRefused(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	c := newLiveCenter(t)
	s, err := c.hub.Follow()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	whole := packRows(querylog.Row{Store: "s", ID: 1})
	for name, body := range map[string][]byte{
		"no gzip": []byte("{}\n"), "cut off": whole[:len(whole)/2], "a line without end": packText(`{"id":1}`), "no JSON": packText("rows\n"), "another kind": packText(`{"id":"one"}` + "\n"),
		"what becomes large": packText(strings.Repeat("{}"+strings.Repeat(" ", 10_000)+"\n", 900)), "nothing": nil,
		"many short rows": packText(strings.Repeat("{}\n", 2001)),
	} {
		if status, _ := c.post(t, "attic", body, ""); status != http.StatusBadRequest {
			t.Errorf("%s: got status %d, want 400", name, status)
		}
	}
	if status, _ := c.post(t, "attic", packText(`{"id":1,"store":"s","rule":"`+strings.Repeat("a", 40<<10)+`"}`+"\n"+`{"id":2,"store":"s"}`+"\n"), "-9"); status != http.StatusOK {
		t.Errorf("with a row that is too long: got status %d, want 200", status)
	}
	if got := ids(s); !slices.Equal(got, []int64{2}) || s.LeftOut()["attic"] != 1 {
		t.Errorf("beside a row that is too long came %v", got)
	}
	for range 15 {
		more, err := c.hub.Follow()
		if err != nil {
			t.Fatal(err)
		}
		defer more.Close()
	}
	if _, err := c.hub.Follow(); err == nil {
		t.Error("a seventeenth may follow")
	}
}

func TestWhatCameIsKeptForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := fleet.NewLiveHub()
		s, err := hub.Follow()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		w := httptest.NewRecorder()
		hub.Handler(func(*http.Request) string { return "attic" }, nil).ServeHTTP(w, httptest.NewRequest(http.MethodPost, fleet.LivePath, bytes.NewReader(packRows(querylog.Row{Store: "s", ID: 1}))))
		for _, want := range []int{1, 0} {
			later, err := hub.Follow()
			if err != nil {
				t.Fatal(err)
			}
			if got := len(later.Rows); got != want {
				t.Errorf("who begins later gets %d rows, want %d", got, want)
			}
			later.Close()
			time.Sleep(time.Minute + time.Second)
		}
	})
}

func TestWhatIsPostedWhileNobodyFollowsIsNotRead(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	c := newLiveCenter(t)
	if status, said := c.post(t, "attic", packText(strings.Repeat("{}\n", 2001)), ""); status != http.StatusOK || said.Follow {
		t.Errorf("status %d, %+v: want 200, and nobody who follows", status, said)
	}
}

func FuzzLiveRows(f *testing.F) {
	f.Add(packRows(querylog.Row{Store: "s", ID: 1}, querylog.Row{Store: "s", ID: 2, Open: true}))
	f.Add(packText(strings.Repeat("a", 17<<10)))
	f.Fuzz(func(t *testing.T, body []byte) {
		hub := fleet.NewLiveHub()
		s, err := hub.Follow()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		w := httptest.NewRecorder()
		hub.Handler(func(*http.Request) string { return "attic" }, nil).ServeHTTP(w, httptest.NewRequest(http.MethodPost, fleet.LivePath, bytes.NewReader(body)))
		if n := len(s.Rows); w.Code != http.StatusOK && n > 0 {
			t.Errorf("status %d, and %d rows are handed on", w.Code, n)
		}
		for len(s.Rows) > 0 {
			if row := <-s.Rows; row.Node != "attic" {
				t.Errorf("a row of %q is handed on", row.Node)
			}
		}
	})
}
