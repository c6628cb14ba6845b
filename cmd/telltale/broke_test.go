package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/config"
	"telltale/devices"
	"telltale/web"
)

const trialInOwn = "a trial of 'telltale broke'"

// startBroken starts a server that blocks 40 names, all of which a device has asked for.
func startBroken(t *testing.T) (srv *testServer, own string) {
	t.Helper()
	dir := t.TempDir()
	upstream, stop := serveZone(t, "*.acme.example. 300 A 192.0.2.1\n", "")
	t.Cleanup(stop)
	srv = startTestServer(t, dir, upstream, "devices:\n  - {name: tv, address: 127.0.0.1}\n")
	own = filepath.Join(dir, "lists", "own.txt")
	var list strings.Builder
	for i := range 40 {
		fmt.Fprintf(&list, "n%d.acme.example\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "lists", "acme.txt"), []byte(list.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := srv.app.applyLists(); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		if m, err := srv.ask([]string{fmt.Sprintf("n%d.acme.example", i), "A"}); err != nil || !isBlocked(m) {
			t.Fatalf("got %v, %v; want it blocked", m, err)
		}
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		out, _ := srv.run("broke", "tv", "--json")
		var b web.Breakage
		if err := json.Unmarshal([]byte(out), &b); err == nil && len(b.Suspects) == 40 {
			return srv, own
		}
		if time.Now().After(end) {
			t.Fatalf("not all names are there: %s", out)
		}
	}
}

// isBlocked reports whether a name was blocked: others have no address here, either.
func isBlocked(m *dns.Msg) bool {
	if len(m.Answer) != 1 {
		return false
	}
	a, ok := m.Answer[0].(*dns.A)
	return ok && a.A.IsUnspecified()
}

// A person tries what needs a name each time the command asks, and says whether it works.
type person struct {
	t     *testing.T
	srv   *testServer
	needs string // a name; "" for something else
	asked int
}

func (p *person) Read(b []byte) (int, error) {
	p.asked++
	m, err := p.srv.ask([]string{"n0.acme.example", "A"})
	if p.needs != "" {
		m, err = p.srv.ask([]string{p.needs, "A"})
	}
	if err != nil {
		return 0, err
	}
	if p.needs == "" || isBlocked(m) {
		return copy(b, "no\n"), nil
	}
	return copy(b, "yes\n"), nil
}

func ownText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Done 5 of issue 12, through the front door: by the answers of a person whose device
// needs one of 40 names, which is tried by asking for it.
func TestTheOneNameOf40IsFoundByAskingAPerson(t *testing.T) {
	t.Parallel()
	srv, own := startBroken(t)
	before := ownText(t, own)
	for _, needs := range []string{"n23.acme.example", ""} {
		p := &person{t: t, srv: srv, needs: needs}
		var out bytes.Buffer
		exit := commandWith(context.Background(), p, append([]string{"broke", "tv", "--bisect"}, srv.flags...), &out, &out, srv.env)
		if exit != 0 || p.asked > 6 || p.asked == 0 {
			t.Errorf("%q: exit %d after %d questions, want at most 6\n%s", needs, exit, p.asked, out.String())
		}
		if needs == "" {
			if !strings.Contains(out.String(), "None of the names") {
				t.Errorf("got\n%s", out.String())
			}
			continue
		}
		if !strings.Contains(out.String(), "Question 1 of at most ") || !strings.Contains(out.String(), "let through on tv") {
			t.Errorf("got\n%s\nwant what is tried", out.String())
		}
		if !strings.Contains(out.String(), "It is "+needs) || !strings.Contains(out.String(), "Something stops working while "+needs+" is blocked") {
			t.Errorf("got\n%s\nwant the name, and a report of it", out.String())
		}
		added, ok := strings.CutPrefix(ownText(t, own), before)
		if !ok || strings.Count(added, "\n") != 1 || !strings.HasPrefix(added, "@@||"+needs+"^$client='tv'  # needed, found by 'telltale broke'") {
			t.Errorf("own.txt got %q more, want one commented rule for the device", added)
		}
		_, report, _ := strings.Cut(out.String(), "Something stops working")
		for _, personal := range []string{"tv", "127.0.0.1"} {
			if slices.Contains(strings.Fields(report), personal) {
				t.Errorf("the report names %s:\n%s", personal, report)
			}
		}
		before = ownText(t, own)
	}
	if text := ownText(t, own); text != before {
		t.Errorf("a search that found nothing left\n%s", text)
	}
}

// A silent person never answers.
type silent struct{ asked, end chan struct{} }

func (s *silent) Read([]byte) (int, error) {
	close(s.asked)
	<-s.end
	return 0, context.Canceled
}

func TestASearchThatIsInterruptedLeavesNoRule(t *testing.T) {
	srv, own := startBroken(t)
	before := ownText(t, own)
	ctx, interrupt := context.WithCancel(context.Background())
	s := &silent{make(chan struct{}), make(chan struct{})}
	defer close(s.end)
	done := make(chan int, 1)
	var out lockedBuffer
	go func() {
		done <- commandWith(ctx, s, append([]string{"broke", "tv", "--bisect"}, srv.flags...), &out, &out, srv.env)
	}()
	<-s.asked
	if text := ownText(t, own); !strings.Contains(text, trialInOwn) {
		t.Errorf("while it asks, own.txt is\n%s\nwant the trial's rules", text)
	}
	interrupt()
	if exit := <-done; exit != 1 || !strings.Contains(out.String(), "leaves no rule") {
		t.Errorf("exit %d\n%s", exit, out.String())
	}
	if text := ownText(t, own); text != before {
		t.Errorf("afterwards own.txt is\n%s\nwant\n%s", text, before)
	}
	if got, _ := srv.run("broke", "tv", "--answer", "yes"); !strings.Contains(got, "no search runs") {
		t.Errorf("got %s", got)
	}
}

func TestATrialEndsByItself(t *testing.T) {
	t.Parallel()
	srv, own := startBroken(t)
	before := ownText(t, own)
	if out, exit := srv.run("broke", "tv", "--bisect"); exit != 0 {
		t.Fatal(out)
	}
	text := ownText(t, own)
	if n := strings.Count(text, trialInOwn); n < 10 || strings.Count(text, "until=") != n-1 {
		t.Errorf("own.txt is\n%s\nwant rules that end", text)
	}
	if _, err := srv.app.expireDue(time.Now().Add(trialTime + time.Second)); err != nil {
		t.Fatal(err)
	}
	if text := ownText(t, own); text != before {
		t.Errorf("after its time own.txt is\n%s\nwant\n%s", text, before)
	}
	if out, _ := srv.run("broke", "tv"); !strings.Contains(out, "The time to try was over") {
		t.Errorf("got %s", out)
	}
	out, _ := srv.run("broke", "tv", "--answer", "yes")
	if !strings.Contains(out, "does not count") || !strings.Contains(out, "Question 1 of") || !strings.Contains(ownText(t, own), trialInOwn) {
		t.Errorf("got %s\nwant the same question again", out)
	}
	if _, err := srv.app.expireDue(time.Now().Add(searchKept + time.Minute)); err != nil {
		t.Fatal(err)
	}
	if out, _ := srv.run("broke", "tv", "--answer", "yes"); !strings.Contains(out, "no search runs") {
		t.Errorf("a search that nobody answered is there for ever: %s", out)
	}
	if text := ownText(t, own); text != before {
		t.Errorf("a search that nobody answered left\n%s", text)
	}
}

func TestAnAnswerThatCannotBeWrittenMayBeGivenAgain(t *testing.T) {
	t.Parallel()
	srv, own := startBroken(t)
	var begun, again web.Search
	out, _ := srv.run("broke", "tv", "--bisect", "--json")
	if err := json.Unmarshal([]byte(out), &begun); err != nil {
		t.Fatal(out)
	}
	text := ownText(t, own)
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(own, 0o700); err != nil { // no file can be put in its place
		t.Fatal(err)
	}
	if out, exit := srv.run("broke", "tv", "--answer", "no"); exit != 1 {
		t.Errorf("got %s", out)
	}
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, _ = srv.run("broke", "tv", "--json")
	var b web.Breakage
	if err := json.Unmarshal([]byte(out), &b); err != nil || b.Search == nil {
		t.Fatal(out)
	}
	if again = *b.Search; again.Question != 1 || !slices.Equal(again.Trial, begun.Trial) {
		t.Errorf("got question %d with %q, want the first one again with %q", again.Question, again.Trial, begun.Trial)
	}
	if _, err := srv.app.answerSearch(context.Background(), web.SearchAnswer{Device: "tv", Question: 2}); err == nil {
		t.Error("an answer to another question counts")
	}
	if out, exit := srv.run("broke", "tv", "--stop"); exit != 0 {
		t.Error(out)
	}
}

// With a pause everything works, whichever names are tried: an answer says nothing then.
func TestAnAnswerDuringAPauseDoesNotCount(t *testing.T) {
	t.Parallel()
	srv, _ := startBroken(t)
	ctx := context.Background()
	if _, err := srv.app.beginSearch(ctx, web.NewSearch{Device: "tv"}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []web.Pause{
		{Kind: "pause", Of: "everything", Seconds: 600}, {Kind: "pause", Of: "list", Name: "acme", Seconds: 600}, {Kind: "observe", Of: "device", Name: "tv", Seconds: 600},
	} {
		if _, err := srv.app.pause(p); err != nil {
			t.Fatal(err)
		}
		s, err := srv.app.answerSearch(ctx, web.SearchAnswer{Device: "tv", Works: true})
		if err != nil || s.Question != 1 || !s.Again || s.Why == "" {
			t.Errorf("%s of %s %s: got question %d, again %t, %q, %v; want the first one again, and why", p.Kind, p.Of, p.Name, s.Question, s.Again, s.Why, err)
		}
		if _, err := srv.app.resume(web.Resume{Kind: p.Kind, Of: p.Of, Name: p.Name}); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := srv.app.answerSearch(ctx, web.SearchAnswer{Device: "tv", Works: true}); err != nil || s.Question != 2 || s.Again {
		t.Errorf("got question %d, again %t, %q, %v; want the next one", s.Question, s.Again, s.Why, err)
	}
}

// Two devices are searched at once, and do not get in each other's way. A stop of the
// server ends what is left.
func TestTwoSearches(t *testing.T) {
	t.Parallel()
	srv, own := startBroken(t)
	if m, err := srv.ask([]string{"n7.acme.example", "A", "from=127.0.0.2"}); err != nil || !isBlocked(m) {
		t.Fatal(m, err)
	}
	if out, exit := srv.run("broke", "tv", "--bisect"); exit != 0 {
		t.Fatal(out)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		out, exit := srv.run("broke", "this-host", "--bisect")
		if exit == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal(out)
		}
	}
	if out, exit := srv.run("broke", "tv", "--stop"); exit != 0 {
		t.Fatal(out)
	}
	if m, err := srv.ask([]string{"n7.acme.example", "A", "from=127.0.0.2"}); err != nil || isBlocked(m) {
		t.Errorf("got %v, %v; want the other search to go on", m, err)
	}
	srv.stop()
	if text := ownText(t, own); strings.Contains(text, trialInOwn) {
		t.Errorf("a server that stopped left\n%s", text)
	}
}

func TestListChangesAreKnownByTheirFiles(t *testing.T) {
	srv, _ := startBroken(t)
	changed := srv.app.listChanges(time.Now())
	if at, added := changed("acme", "n1.acme.example"); time.Since(at) > time.Hour || added {
		t.Errorf("got %s, %t; want the time of the file, and nothing known of the rule", at, added)
	}
	if at, _ := changed(blocklists.ListName(ownFile), "x"); !at.IsZero() {
		t.Errorf("the user's own file changed at %s", at)
	}
}

// A rule of a device that the settings do not know is by its identity: its addresses
// change. Only who is known by nothing but an address has it there.
func TestWhoARuleOfASearchIsFor(t *testing.T) {
	bound := func(device, addr string, source devices.Source) devices.Binding {
		return devices.Binding{Device: device, Addr: netip.MustParseAddr(addr), Source: source}
	}
	a := &app{}
	a.cfg.Store(&config.Config{Devices: []config.Device{{Name: "tv"}}})
	for _, c := range []struct {
		device   string
		bindings []devices.Binding
		want     []string // none: no rule can be for it
	}{
		{"mac:02:00:5e:10:00:01", []devices.Binding{
			bound("mac:02:00:5e:10:00:01", "192.168.1.7", devices.Neighbour), bound("mac:02:00:5e:10:00:01", "2001:db8::7", devices.Neighbour),
		}, []string{"mac:02:00:5e:10:00:01"}},
		{"mac:02:00:5e:10:00:01", []devices.Binding{bound("mac:02:00:5e:10:00:01", "192.168.1.7", devices.Forwarder)}, []string{"mac:02:00:5e:10:00:01"}},
		{"id:phone", nil, []string{"id:phone"}},
		{"addr:192.168.1.7", []devices.Binding{bound("addr:192.168.1.7", "192.168.1.7", devices.BareAddress)}, []string{"192.168.1.7"}},
		{"addr:192.168.1.7", nil, nil},
		{"tv", []devices.Binding{bound("tv", "192.168.1.8", devices.ConfiguredMAC), bound("mac:02:00:5e:10:00:01", "192.168.1.7", devices.Neighbour)}, []string{"tv"}},
	} {
		got, err := a.clientsInRules(&suspected{DeviceStatus: devices.DeviceStatus{Device: c.device, Bindings: c.bindings}})
		if !slices.Equal(got, c.want) || (err != nil) != (c.want == nil) {
			t.Errorf("%s: got %q, %v, want %q", c.device, got, err, c.want)
		}
	}
}
