package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/devices/corrections"
	"telltale/querylog"
	"telltale/web"
)

// route asks a route of the server as a caller, and returns the status and the answer.
func (srv *testServer) route(caller web.Caller, path string) (status int, answer string) {
	srv.t.Helper()
	r := httptest.NewRequest(http.MethodGet, web.Prefix+path, nil)
	w := httptest.NewRecorder()
	if srv.api == nil {
		srv.api = web.Handler(srv.app.apiOptions())
	}
	srv.api.ServeHTTP(w, r.WithContext(web.WithCaller(r.Context(), caller)))
	return w.Code, w.Body.String()
}

var anybody = web.Caller{Name: "test", Access: web.Read}

// valueOf is JSON as a value, without keys that differ from one time to the next. Several values
// one after the other, as commands print them, are a list.
func valueOf(t testing.TB, text string, without ...string) any {
	t.Helper()
	all := []any{}
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var v any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in %.300s", err, text)
		}
		all = append(all, withoutKeys(v, without))
	}
	if len(all) == 1 {
		if _, list := all[0].([]any); list {
			return all[0]
		}
	}
	return all
}

func withoutKeys(v any, without []string) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			if slices.Contains(without, key) {
				delete(v, key)
				continue
			}
			v[key] = withoutKeys(v[key], without)
		}
	case []any:
		for i := range v {
			v[i] = withoutKeys(v[i], without)
		}
	}
	return v
}

// A sameAnswer is a command and the route that answers the same.
type sameAnswer struct {
	command, route string
	part           string   // the key of the route's answer that the command prints; "" for all of it
	without        []string // keys that differ from one time to the next
}

// unsteady is what differs from one time to the next in the texts of findings.
var unsteady = regexp.MustCompile(`answers in [^",]*|\d{4}-\d\d-\d\dT[^"]*|telltale-[0-9a-f]{24}|[\d.]+ [KMGT]iB|[\d.]+ bytes`)

// check compares what commands print with what routes answer. The two are not asked at once: where
// they differ and a route answers otherwise by now, as after a signed checkpoint, both are asked again.
func (srv *testServer) check(all []sameAnswer) {
	srv.t.Helper()
	for _, f := range all {
		got, want := srv.answers(f)
		for end := time.Now().Add(patience); !reflect.DeepEqual(got, want) && time.Now().Before(end); {
			before := got
			if got, want = srv.answers(f); reflect.DeepEqual(got, before) {
				break
			}
		}
		if !reflect.DeepEqual(got, want) {
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(want)
			srv.t.Errorf("%s answers\n%.1500s\nand %s prints\n%.1500s", f.route, g, f.command, w)
		}
	}
}

// answers returns what the route of f answers, and what its command printed before.
func (srv *testServer) answers(f sameAnswer) (got, want any) {
	srv.t.Helper()
	out, exit := srv.run(append(fields(f.command), "--json")...)
	status, answer := srv.route(web.Caller{Name: "test", Access: web.Admin}, f.route)
	if strings.HasPrefix(f.command, "doctor") {
		out, answer = unsteady.ReplaceAllString(out, ""), unsteady.ReplaceAllString(answer, "")
	}
	if exit != 0 || status != http.StatusOK {
		srv.t.Errorf("%s: exit status %d, %.300s; %s: %d, %.300s", f.command, exit, out, f.route, status, answer)
		return nil, nil
	}
	got = valueOf(srv.t, answer, f.without...)
	if f.part != "" {
		got = got.([]any)[0].(map[string]any)[f.part]
		if _, list := got.([]any); !list {
			got = []any{got}
		}
	}
	return got, valueOf(srv.t, out, f.without...)
}

// lists of the tests' servers.
const vendorList = `#@ vendor=Xiaomi product=MIUI tier=telemetry purpose=analytics source=https://example.org/a
tracker.example
#@ vendor=Amazon tier=mixed purpose=crash source=https://example.org/b
crash.example
`

// asked starts a server that some devices have asked, and waits until the log has all of it.
func asked(t *testing.T, rounds int) *testServer {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "lists"), 0o700); err != nil {
		t.Fatal(err)
	}
	save(t, filepath.Join(dir, "lists", "vendors.txt"), vendorList)
	srv := startTestServer(t, dir, everything(t), `devices:
  - name: tv
    mac: 02:00:5e:10:00:01
  - name: handset
    mac: 02:00:5e:10:00:02
identity:
  forwarders: ["127.0.0.0/8"]
`)
	srv.asks(0, rounds)
	return srv
}

// asks lets the devices ask for names of their own in rounds from first on.
func (srv *testServer) asks(first, rounds int) {
	srv.t.Helper()
	for i := first; i < first+rounds; i++ {
		for _, words := range [][]string{
			{fmt.Sprintf("site-%d.example.", i), "A", "mac=02:00:5e:10:00:01"}, {"a.tracker.example.", "A", "mac=02:00:5e:10:00:01"},
			{fmt.Sprintf("shop-%d.example.", i), "A", "mac=02:00:5e:10:00:02"}, {"crash.example.", "AAAA", "mac=02:00:5e:10:00:02"},
		} {
			if _, err := srv.ask(words); err != nil {
				srv.t.Fatal(err)
			}
		}
	}
}

// Commands print what routes answer: one model, one function.
func TestCommandsPrintWhatRoutesAnswer(t *testing.T) {
	srv := asked(t, 2)
	for _, words := range []string{"experiment new tv-1 --template opt-out --device tv", "experiment start tv-1"} {
		if out, exit := srv.run(fields(words)...); exit != 0 {
			t.Fatal(out)
		}
	}
	soon(t, "rows", "true", func() string {
		_, answer := srv.route(anybody, "/log")
		return strconv.FormatBool(strings.Count(answer, `"id"`) >= 6 && !strings.Contains(answer, `"open":true`))
	})
	soon(t, "a checkpoint", "true", func() string {
		_, answer := srv.route(anybody, "/evidence/checkpoints")
		return strconv.FormatBool(strings.Contains(answer, `"origin"`))
	})
	from := srv.app.started.Add(-time.Hour).UTC().Format(time.RFC3339)
	until := time.Now().Add(time.Second).Truncate(time.Second).UTC().Format(time.RFC3339)
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // until is not to come any more
	during, flags := "from="+from+"&until="+until, " --since "+from+" --until "+until
	same := []sameAnswer{
		{"status", "/overview", "", nil},
		{"doctor", "/findings", "", nil},
		{"settings --all", "/settings", "", nil},
		{"lists presets", "/lists/presets", "", nil},
		{"lists lookup a.tracker.example", "/explain?name=a.tracker.example&type=A&offline=true", "matches", nil},
		{"token list", "/tokens", "", nil},
		{"web accounts", "/accounts", "", nil},
		{"evidence checkpoint", "/evidence/checkpoints", "", nil},
		{"top names" + flags, "/top?of=names&limit=0&" + during, "", nil},
		{"top devices" + flags, "/top?of=devices&" + during, "", nil},
		{"top vendors" + flags, "/top?of=vendors&" + during, "", nil},
		{"top purposes" + flags, "/top?of=purposes&" + during, "", nil},
		{"top devices --by hour" + flags, "/top/slots?of=devices&by=hour&limit=0&" + during, "", nil},
		{"top names --by day --tz Europe/Berlin --verdict block" + flags, "/top/slots?of=names&by=day&tz=Europe/Berlin&verdict=block&limit=0&" + during, "", nil},
		{"top names --device tv --verdict block" + flags, "/top?of=names&device=tv&verdict=block&" + during, "", nil},
		{"report" + flags, "/report?" + during, "", []string{"made"}},
		{"report tv --tz Europe/Berlin" + flags, "/report?device=tv&tz=Europe/Berlin&" + during, "", []string{"made"}},
		{"report --vendor Xiaomi --compare none --rhythm" + flags, "/report?vendor=Xiaomi&compare=none&rhythm=true&" + during, "", []string{"made"}},
		{"rhythm --unlisted" + flags, "/rhythm?unlisted=true&" + during, "", nil},
		{"candidates" + flags, "/candidates?" + during, "", nil},
		{"ledger --kind start,experiment-planned" + flags, "/ledger?order=oldest&kind=start,experiment-planned&" + during, "events", nil},
		{"experiment list", "/experiments", "", nil},
		{"experiment show tv-1", "/experiments/tv-1", "", nil},
		{"experiment report tv-1", "/experiments/tv-1/report", "", []string{"until", "made", "lasted", "seconds"}},
		{"destinations", "/destinations", "", nil},
		{"catalog Xiaomi", "/catalog?q=Xiaomi", "entries", nil},
		{"catalog Xiaomi", "/vendors/Xiaomi", "entries", nil},
		{"catalog Xiaomi --opt-out", "/vendors/Xiaomi", "company", nil},
		{"catalog", "/vendors", "", []string{"asked"}},
		{"catalog data.mistat.xiaomi.com", "/names/data.mistat.xiaomi.com", "entries", nil},
		{"explain a.tracker.example --offline", "/explain?name=a.tracker.example&offline=true", "", nil},
		{"devices history tv", "/devices/history?device=tv", "", []string{"last"}},
		{"devices", "/devices", "", []string{"last"}},
		{"lists", "/lists", "", nil},
		{"log" + flags, "/log?order=oldest&limit=1000&" + during, "rows", nil},
		{"log --device tv --verdict block" + flags, "/log?order=oldest&device=tv&verdict=block&" + during, "rows", nil},
		{"log --name =a.tracker.example" + flags, "/log?order=oldest&name==a.tracker.example&" + during, "rows", nil},
		{"query a.tracker.example", "/query?name=a.tracker.example", "", []string{"took", "at"}},
		{"cache show site-0.example", "/cache?name=site-0.example", "", []string{"left", "answer", "stored"}},
		{"broke tv", "/broke?device=tv", "", []string{"since", "until", "text"}},
		{"experiment templates", "/experiments/templates", "", nil},
		{"experiment templates opt-out", "/experiments/templates?template=opt-out", "", nil},
		{"alerts", "/alerts", "", nil},
		{"upstreams", "/upstreams", "", nil},
		{"coverage", "/bypass", "", []string{"since", "until", "seen", "last"}},
		{"cache stats", "/cache/stats", "", nil},
		{"catalog edition", "/catalogue", "", nil},
	}
	srv.check(same)
	eachJSON(t, func(words string) {
		compared := slices.ContainsFunc(same, func(f sameAnswer) bool { return strings.HasPrefix(f.command+" ", words+" ") })
		if _, other := notCompared[words]; compared == other {
			t.Errorf("%s prints JSON: compared %v, and not to be %v", words, compared, other)
		}
	})
}

// eachJSON calls each with the words of every command that prints JSON.
func eachJSON(t *testing.T, each func(words string)) {
	cl := &cli{out: io.Discard, err: io.Discard}
	cl.root = cl.newRoot()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Flags().Lookup("json") != nil {
			each(strings.TrimPrefix(c.CommandPath(), "telltale "))
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(cl.root)
}

// notCompared are the commands of which no two answers can be compared, and why.
var notCompared = map[string]string{
	"cache flush": changes, "catalog accept": changes, "catalog update": changes, "evidence key": changes, "experiment cancel": changes, "experiment mark": changes, "experiment new": changes, "experiment start": changes,
	"experiment stop": changes, "import": changes, "lists refresh": changes, "settings set": changes, "settings unset": changes, "token add": changes, "web add": changes, "web link": changes,
	"lists diff":    "the lists of this server are no subscriptions; it prints what GET /lists/diff answers",
	"catalog check": files, "evidence audit": files, "evidence verify": files, "geo add": files, "geo show": files, "geo update": files, "lists check": files, "validate": files, "watch-capture": files,
	"certificate":   "of a server without certificates there is nothing; its keys are those of GET /status",
	"center forget": others, "center invite": others, "center nodes": others, "fleet status": others, "version": "of this program, not of the server",
}

// Why answers are not compared.
const (
	changes = "it prints what the operation answers that it calls, which changes what the next one answers"
	files   = "it reads files that it is handed, and asks no server"
	others  = "it is about a center or a node, which have no route for it"
)

// walk returns the ids of all rows of a log, page by page.
func (srv *testServer) walk(query string, limit int) (ids []int64) {
	srv.t.Helper()
	cursor := ""
	for more := true; more; {
		status, answer := srv.route(anybody, fmt.Sprintf("/log?limit=%d&cursor=%s&%s", limit, cursor, query))
		var page web.LogPage
		if err := json.Unmarshal([]byte(answer), &page); err != nil || status != http.StatusOK {
			srv.t.Fatalf("got %d %s, %v", status, answer, err)
		}
		for i := range page.Rows {
			ids = append(ids, page.Rows[i].ID)
		}
		more, cursor = page.More, page.Next
	}
	return ids
}

// Who walks the log from its beginning gets each row once, though new ones come meanwhile.
func TestALogIsWalkedByCursors(t *testing.T) {
	t.Parallel()
	srv := asked(t, 3)
	var all []int64
	cursor := ""
	for round := 3; ; round++ {
		if round < 6 {
			srv.asks(round, 1)
			srv.app.log.Flush()
		}
		status, answer := srv.route(anybody, "/log?order=oldest&limit=4&cursor="+cursor)
		var page web.LogPage
		if err := json.Unmarshal([]byte(answer), &page); err != nil || status != http.StatusOK {
			t.Fatalf("got %d %s, %v", status, answer, err)
		}
		for i := range page.Rows {
			if page.Rows[i].Open {
				t.Fatalf("got an open row: %s", answer)
			}
			all = append(all, page.Rows[i].ID)
		}
		cursor = page.Next
		if !page.More && round >= 6 && len(all) >= 12 { // closed within a window of the log
			break
		}
		if !page.More {
			time.Sleep(500 * time.Millisecond)
		}
	}
	newest := srv.walk("order=newest", 5)
	slices.Reverse(newest)
	if !slices.Equal(all, newest[:len(all)]) {
		t.Errorf("oldest first got\n%v\nnewest first backwards\n%v", all, newest)
	}
	if n := srv.walk("device=tv&verdict=block", 2); len(n) == 0 || len(n) >= len(newest) {
		t.Errorf("got %d rows of the tv that were blocked, of %d", len(n), len(newest))
	}
	listed, named := srv.walk("listed=true", 2), append(srv.walk("name=a.tracker.example", 50), srv.walk("name=crash.example", 50)...)
	slices.Sort(listed)
	slices.Sort(named)
	if len(listed) == 0 || !slices.Equal(listed, named) {
		t.Errorf("listed rows are %v, those of the two listed names %v, of %d", listed, named, len(newest))
	}
}

// Requests that are wrong, or about what is not there, say so.
func TestWrongRequestsOfTheLog(t *testing.T) {
	t.Parallel()
	srv := asked(t, 1)
	for _, f := range []struct {
		path   string
		status int
		want   string
	}{
		{"/log?cursor=abc", 422, `cursor: \"abc\" is none`},
		{"/log?cursor=-1", 422, "cursor"},
		{"/log?limit=0", 422, "query.limit"},
		{"/log?limit=1001", 422, "query.limit"},
		{"/log?order=sideways", 422, "query.order"},
		{"/log?from=someday", 422, `"detail":"from: \"someday\" is no time`},
		{"/log?from=2126-01-01", 422, `"detail":"from: 2126-01-01 00:00:00`},
		{"/log?tz=Nowhere", 422, "tz: no time zone"},
		{"/log?device=nobody", 404, `no device \"nobody\"`},
		{"/log?vendor=Xiaomy", 404, "Xiaomi"},
		{"/log?verdict=maybe", 422, "query.verdict"},
		{"/log?name=" + strings.Repeat("x", 257), 422, "query.name"},
		{"/log/0", 422, "path.id"},
		{"/log/1", 404, "no row 1"},
		{"/log/x", 422, "invalid integer"},
		{"/log/stream?device=nobody", 404, "nobody"},
		{"/log/stream?after=x", 422, "invalid integer"},
		{"/report?compare=after", 422, "query.compare"},
		{"/report?device=nobody", 404, "nobody"},
		{"/report?from=2d&until=3d", 422, "is after until"},
		{"/top", 422, "query.of"},
		{"/top?of=hours", 422, "query.of"},
		{"/top/slots?of=names", 422, "query.by"},
		{"/top/slots?of=names&by=week", 422, "query.by"},
		{"/top/slots?of=devices&by=hour&from=2020-01-01", 422, "choose a shorter one"},
		{"/top/slots?of=vendors&by=hour&vendor=Xiaomy", 404, "Xiaomi"},
		{"/top/slots?of=vendors&by=hour&device=nobody", 404, "nobody"},
		{"/vendors/Nobody", 404, "Nobody"},
		{"/names/..", 422, ""},
		{"/devices/nobody", 404, "nobody"},
		{"/ledger?kind=nothing", 404, "nothing"},
		{"/rhythm?vendor=Xiaomi&unlisted=true", 422, "unlisted"},
		{"/candidates?device=nobody", 404, "nobody"},
		{"/experiments/none", 404, "none"},
		{"/experiments/none/report", 404, "none"},
		{"/catalog", 422, "query.q"},
		{"/catalog?q=qqqqqq", 404, "qqqqqq"},
		{"/coverage?until=x", 422, "until"},
	} {
		status, answer := srv.route(anybody, f.path)
		if status != f.status && f.path != "/names/.." || !strings.Contains(answer, f.want) {
			t.Errorf("%s: got %d %s, want %d %s", f.path, status, answer, f.status, f.want)
		}
	}
}

// A log that cannot be read is told, and one that is read too often.
func TestALogThatCannotBeRead(t *testing.T) {
	t.Parallel()
	srv := asked(t, 1)
	for range mostReads {
		srv.app.reads <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := srv.app.logPage(ctx, web.LogQuery{Limit: 1}); !errors.Is(err, web.ErrUnavailable) {
		t.Errorf("who does not wait any more: got %v", err)
	}
	for range mostReads {
		<-srv.app.reads
	}
	store := filepath.Join(srv.app.cfg.Load().Data.Dir, "lookups.db")
	moved := store + ".moved"
	if err := os.Rename(store, moved); err != nil { // the server goes on with the file that it has open
		t.Skip(err) // where open files cannot be moved
	}
	save(t, store, "this is no database at all, and is longer than a header of a page")
	status, answer := srv.route(anybody, "/log")
	if status != http.StatusServiceUnavailable || !strings.Contains(answer, "the log cannot be read now") {
		t.Errorf("got %d %s", status, answer)
	}
	if err := os.Rename(moved, store); err != nil {
		t.Fatal(err)
	}
	if status, answer = srv.route(anybody, "/log"); status != http.StatusOK {
		t.Errorf("back in its place: got %d %s", status, answer)
	}
}

// Callers that are limited to some devices get what these asked, and nothing else.
func TestCallersSeeTheirDevicesAlone(t *testing.T) {
	t.Parallel()
	srv := asked(t, 2)
	tv := web.Caller{Name: "kid", Access: web.Read, Limited: true, Devices: []string{"tv"}}
	nobody := web.Caller{Name: "guest", Access: web.Read, Limited: true}
	_, answer := srv.route(anybody, "/log")
	var page web.LogPage
	if err := json.Unmarshal([]byte(answer), &page); err != nil {
		t.Fatal(err)
	}
	ids := map[string]int64{}
	for i := range page.Rows {
		ids[page.Rows[i].Device] = page.Rows[i].ID
	}
	if ids["tv"] == 0 || ids["handset"] == 0 {
		t.Fatalf("got rows of %v", ids)
	}
	for _, p := range []web.Pause{{Kind: "pause", Of: "device", Name: "handset", Seconds: 600}, {Kind: "pause", Of: "device", Name: "tv", Seconds: 600}, {Kind: "observe", Of: "everything", Seconds: 600}} {
		if _, err := srv.app.pause(p); err != nil {
			t.Fatal(err)
		}
	}
	if _, answer := srv.route(nobody, "/pause"); strings.Contains(answer, "device") || !strings.Contains(answer, "everything") {
		t.Errorf("somebody without devices: got %s", answer)
	}
	if _, answer := srv.route(tv, "/pause"); strings.Count(answer, `"kind"`) != 2 || strings.Contains(answer, "handset") || !strings.Contains(answer, `"tv"`) {
		t.Errorf("pauses of the tv and of everything: got %s", answer)
	}
	if _, answer := srv.route(anybody, "/pause"); strings.Count(answer, `"kind"`) != 3 {
		t.Errorf("all pauses: got %s", answer)
	}
	for _, f := range []struct {
		path   string
		status int
	}{
		{"/log", 200}, {"/log?device=tv", 200}, {"/log?device=handset", 403}, {"/log?device=nobody", 403}, {"/log?device=127.0.0.1", 403}, {"/log?vendor=Amazn", 404},
		{fmt.Sprintf("/log/%d", ids["tv"]), 200}, {fmt.Sprintf("/log/%d", ids["handset"]), 404},
		{"/log/stream?device=handset", 403},
		{"/report", 403}, {"/report?device=tv", 200}, {"/report?device=handset", 403},
		{"/top?of=names", 200}, {"/top?of=devices", 200}, {"/top?of=names&device=handset", 403},
		{"/top/slots?of=names&by=hour", 200}, {"/top/slots?of=devices&by=day", 200}, {"/top/slots?of=devices&by=day&device=handset", 403}, {"/vendors?asked=true", 200}, {"/vendors/Amazon", 200},
		{"/names/crash.example", 200}, {"/devices/tv", 200}, {"/devices/handset", 403}, {"/devices/02:00:5e:10:00:02", 403},
		{"/rhythm?unlisted=true", 200}, {"/rhythm?device=handset", 403}, {"/candidates", 200}, {"/candidates?device=handset", 403},
		{"/devices", 403}, {"/ledger", 403}, {"/coverage", 403}, {"/status", 403}, {"/experiments", 403}, {"/destinations", 403}, {"/broke?device=handset", 403}, {"/corrections", 403},
	} {
		status, answer := srv.route(tv, f.path)
		if status != f.status || strings.Contains(answer, "handset") || strings.Contains(answer, "shop-") || status == 200 && strings.Contains(answer, "02:00:5e:10:00:02") {
			t.Errorf("%s: got %d %s, want %d and nothing of the phone", f.path, status, answer, f.status)
		}
		if status, answer := srv.route(nobody, f.path); status == http.StatusOK {
			t.Errorf("%s by somebody without devices: got %s", f.path, answer)
		}
	}
	if _, answer := srv.route(tv, "/top?of=devices"); !strings.Contains(answer, `"tv"`) {
		t.Errorf("the caller's own device is missing: %s", answer)
	}
}

// What the answer of a name has by time and by hour of the week is what its rows have, those of names below it
// among them.
func TestTheTimesOfANameAreItsRows(t *testing.T) {
	t.Parallel()
	srv := asked(t, 2)
	for _, name := range []string{"crash.example", "example", "nobody.asked"} {
		var lookups, blocked, hours, devices, rows, rowsBlocked uint64
		var story web.NameStory
		if status, answer := srv.route(anybody, "/names/"+name+"?from=1d&tz=Asia/Kolkata"); status != http.StatusOK {
			t.Fatalf("%s: got %d %s", name, status, answer)
		} else if err := json.Unmarshal([]byte(answer), &story); err != nil {
			t.Fatal(err)
		}
		for _, s := range story.Timeline.Slots {
			lookups, blocked = lookups+s.Lookups, blocked+s.Blocked.Lookups
		}
		for _, c := range story.Hours {
			hours += c.Lookups
		}
		for _, d := range story.Devices {
			devices += d.Count
		}
		_, answer := srv.route(anybody, "/log?from=1d&limit=1000&name=."+name)
		var page web.LogPage
		if err := json.Unmarshal([]byte(answer), &page); err != nil {
			t.Fatal(err)
		}
		for i := range page.Rows {
			rows += page.Rows[i].Count
			if page.Rows[i].Verdict == "block" {
				rowsBlocked += page.Rows[i].Count
			}
		}
		if lookups != rows || hours != rows || devices != rows || blocked != rowsBlocked || rows == 0 && name != "nobody.asked" || len(story.Hours) != 7*24 || story.Coverage.Length == 0 {
			t.Errorf("%s: %d lookups by time (%d blocked), %d by hour, %d by device, in rows %d (%d)", name, lookups, blocked, hours, devices, rows, rowsBlocked)
		}
	}
}

// A device that no row is of is not everybody, for a caller who may see it alone.
func TestADeviceWithoutRowsIsNotEverybody(t *testing.T) {
	const tablet = "mac:02:00:5e:10:00:09"
	l := &openedLog{ids: newIdentities(&config.Config{}, nil, []corrections.Correction{{ID: 1, Kind: corrections.Name, Device: tablet, Name: "tablet"}})}
	l.caller = web.Caller{Access: web.Read, Limited: true, Devices: []string{tablet}}
	for _, who := range []string{"", "tablet"} {
		f := querylog.Filter{Device: who}
		if err := l.choose(&f, false); !errors.Is(err, web.ErrForbidden) {
			t.Errorf("%q: got %v, and rows of %v", who, err, f.Devices)
		}
	}
}

// What is noted of the household, and where names lead that others ask for, is not for callers who may
// see some devices alone.
func TestCallersDoNotSeeTheHousehold(t *testing.T) {
	l := &openedLog{ids: newIdentities(&config.Config{}, nil, []corrections.Correction{{ID: 1, Kind: corrections.Note, Text: "away", Time: time.Unix(1, 0)}})}
	if all := l.notes("tv"); len(all) != 1 {
		t.Errorf("got %v, want the note of the household", all)
	}
	l.caller.Limited = true
	if all := l.notes("tv"); len(all) != 0 {
		t.Errorf("somebody who sees the TV alone got %v", all)
	}
	if leads, err := l.leadsOf(t.Context(), nil, "x.example", false); err != nil || len(leads) != 0 {
		t.Errorf("got %v and %v", leads, err) // reading them would fail: there is no log
	}
}

// What would be decided today of a row is decided for its device, whatever address it came from.
func TestRowsAreDecidedForTheirDevices(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "lists", "groups"), 0o700); err != nil {
		t.Fatal(err)
	}
	save(t, filepath.Join(dir, "lists", "groups", "kids.txt"), "site-0.example\n")
	srv := startTestServer(t, dir, everything(t), `devices:
  - {name: tv, mac: 02:00:5e:10:00:01, group: kids}
groups: [{name: kids}]
identity:
  forwarders: ["127.0.0.0/8"]
`)
	srv.asks(0, 1)
	_, answer := srv.route(anybody, "/log?name=site-0.example")
	var page web.LogPage
	if err := json.Unmarshal([]byte(answer), &page); err != nil || len(page.Rows) != 1 {
		t.Fatalf("%v: %s", err, answer)
	}
	_, answer = srv.route(anybody, fmt.Sprintf("/log/%d", page.Rows[0].ID))
	var story web.RowStory
	if err := json.Unmarshal([]byte(answer), &story); err != nil {
		t.Fatal(err)
	}
	if story.Today == nil || story.Row.Verdict != "block" || story.Today.Verdict != "block" {
		t.Errorf("got %s", answer)
	}
}
