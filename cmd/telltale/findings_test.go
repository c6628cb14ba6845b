package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/blocklists/subscribe"
	"telltale/config"
	"telltale/querylog"
	"telltale/resolver/dnstest"
	"telltale/resolver/upstream"
	"telltale/web"
)

const homeRouter = "192.168.1.1"

// healthyFacts are those of a home in which all is well.
func healthyFacts() *facts {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	cfg := &config.Config{}
	cfg.Data.Dir, cfg.Lists.Dir = "/var/lib/telltale", "/etc/telltale/lists.d"
	cfg.Log.Size = 1 << 30
	f := &facts{
		now: now, cfg: cfg, clock: clockState{synchronised: true, known: true},
		lists: []web.List{{Name: "ads", Rules: 1000}}, catalogue: web.Catalogue{Edition: "2026-11-01"},
		updates: []subscribe.Status{{List: subscribe.List{Name: "ads", URL: "https://lists.example/ads", Enabled: true, Refresh: 24 * time.Hour}, Path: "/x", Checked: now.Add(-time.Hour)}},
		store:   storeFacts{free: 10 << 30, freeKnown: true},
		day: &day{
			oldest: now.AddDate(0, 0, -30), lookups: 5000, clients: map[string]uint64{"192.168.1.20": 4000, "192.168.1.21": 1000, "127.0.0.1": 10},
			forwarded: map[string]bool{}, systems: map[string]map[string]bool{}, domains: map[string]*failing{}, essential: map[string]*blockedName{},
		},
		own: []netip.Addr{netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("fd00::2")}, listens: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:53")},
		reached: []reached{{netip.MustParseAddrPort("192.168.1.2:53"), nil}},
		probes:  []upstreamProbe{{id: "192.0.2.53:53", madeUp: "telltale-0.com"}},
		devices: []web.Device{{Device: "mac:00:1a:11:00:00:01", Bindings: []web.Binding{
			{Addr: "192.168.1.20", MAC: "00:1a:11:00:00:01", Confidence: "high"}, {Addr: "192.168.1.77", MAC: "00:1a:11:00:00:01", Confidence: "high", Until: now.Add(-time.Hour)}}}},
		status: &web.Status{
			Started: now.Add(-48 * time.Hour), Gateways: []string{homeRouter}, Listen: []string{"0.0.0.0:53"},
			Upstreams: []web.Upstream{{ID: "192.0.2.53:53", Addr: "192.0.2.53:53", Transport: "udp", Source: "configured", State: upstream.Up.String(), Latency: web.Latency{P50: 20 * time.Millisecond, Answers: 1000}}},
			Log:       querylog.Stats{Bytes: 300 << 20, OpenRows: 100, LastCommit: now.Add(-30 * time.Second)},
		},
	}
	return f
}

func judged(f *facts) map[string]web.Finding {
	d := &doctor{}
	d.judge(f)
	found := map[string]web.Finding{}
	for _, x := range d.findings {
		if x.State != stateOK {
			found[x.Code] = x
		}
	}
	return found
}

func TestAHealthySetUpIsQuiet(t *testing.T) {
	if found := judged(healthyFacts()); len(found) > 0 {
		t.Errorf("got %v", found)
	}
}

// A center that answers, or is away for less than it takes to restart it, needs no attention.
func TestACenterThatAnswersIsQuiet(t *testing.T) {
	for _, c := range []fleetContact{{Since: healthyFacts().now.Add(-time.Hour)}, {Since: healthyFacts().now.Add(-4 * time.Minute), Problem: "connection refused"}} {
		f := healthyFacts()
		if f.contact = &c; len(judged(f)) > 0 {
			t.Errorf("%v: got %v", c, judged(f))
		}
	}
}

// provoked are the findings that facts alone provoke.
var provoked = []struct {
	code string
	do   func(*facts)
	says string // in what is said
	cure string // in what is to be done
}{
	{"clock-unset", func(f *facts) { f.now = time.Unix(1e9, 0) }, "2001", "NTP"},
	{"clock-unsynchronised", func(f *facts) { f.clock.synchronised = false }, "not synchronised", "NTP"},
	{"upstreams-none", func(f *facts) { f.status.Upstreams = nil }, "there are none", "upstreams:"},
	{"upstreams-down", func(f *facts) { f.status.Upstreams[0].State, f.status.Upstreams[0].Why = "down", "does not answer" }, "does not answer", "reached from here"},
	{"upstreams-failing", func(f *facts) {
		f.status.Upstreams[0].State, f.status.Upstreams[0].Why = "failing", "answered SERVFAIL"
	}, "SERVFAIL", "telltale upstreams"},
	{"upstreams-looped", func(f *facts) {
		f.status.Upstreams[0].State, f.status.Upstreams[0].Why = "looped", "asks this server in turn"
	}, "in turn", "do not ask this one"},
	{"upstreams-unasked", func(f *facts) { f.status.Upstreams[0].State = "down" }, "none can be asked", "set others"},
	{"upstreams-returns", func(f *facts) { f.status.Upstreams[0].Returned = 7 }, "7 questions", "another upstream"},
	{"upstreams-strays", func(f *facts) { f.status.Upstreams[0].Strays = 9 }, "9 packets", "tls://"},
	{"upstreams-slow", func(f *facts) { f.status.Upstreams[0].Latency.P50 = time.Second }, "more than 1s", "nearer"},
	{"upstreams-lying", func(f *facts) { f.probes[0].answer = []string{"telltale-0.com. 60 IN A 203.0.113.9"} }, "203.0.113.9", "switch that help off"},
	{"upstreams-filtering", func(f *facts) { f.probes[0].filtered = []string{"0.0.0.0"} }, "app-measurement.com it said 0.0.0.0", "switch its filter off"},
	{"upstreams-telltale", func(f *facts) { f.probes[0].telltale = true }, "a Telltale itself", "one of the two"},
	{"center-silent", func(f *facts) {
		f.contact = &fleetContact{Since: f.now.Add(-10 * time.Minute), Problem: "connection refused"}
		f.cfg.Fleet.Center = []string{"https://center.lan:8443", "https://[2001:db8::1]:8443", "https://192.0.2.1:5390"}
	}, "connection refused", "port 8443 or 5390"},
	{"center-refused", func(f *facts) {
		f.contact = &fleetContact{Since: f.now, Problem: "node attic was revoked", Refused: true}
	}, "node attic was revoked", "fleet join"},
	{"pause-on", func(f *facts) {
		f.status.Temporary = []web.Temporary{{Kind: "pause", Of: "device", Name: "tv", Shown: "the tv", Until: f.now}}
	}, "nothing of device the tv is blocked until", `'telltale resume --device "the tv"' ends it`},
	{"observe-on", func(f *facts) {
		f.status.Temporary = []web.Temporary{{Kind: "observe", Of: "everything", Until: f.now}}
	}, "nothing is blocked, all is recorded, until", "'telltale observe --end' ends it"},
	{"access-shared", func(f *facts) { f.status.Server.RefusedShared, f.status.Server.LastShared = 3, "100.101.1.2" }, "100.101.1.2", "access.allow"},
	{"access-refused", func(f *facts) { f.status.Server.Refused = 3 }, "3 queries", "access.allow"},
	{"access-proxies", func(f *facts) { f.status.Server.ProxiesRefused = 1 }, "1 connection", "send-proxy-v2"},
	{"server-options-ignored", func(f *facts) { f.status.Server.OptionsIgnored = 2 }, "2 lookups", "identity.forwarders"},
	{"server-internal-errors", func(f *facts) { f.status.Server.InternalErrors = 1 }, "internal error", "report"},
	{"load-shed", func(f *facts) { f.status.Server.Shed = 1 }, "were shed", "upstreams"},
	{"load-unread", func(f *facts) { f.status.Server.Unread = 1 }, "dropped unread", "ledger"},
	{"reach-loopback", func(f *facts) { f.listens[0] = netip.MustParseAddrPort("127.0.0.1:53") }, "loopback alone", "0.0.0.0:53"},
	{"reach-failed", func(f *facts) { f.reached[0].err = errors.New("nobody answers") }, "192.168.1.2:53: nobody answers", "firewall"},
	{"announcements-unheard", func(f *facts) { f.status.Announcements = web.Announcements{On: true, Problem: "no such device"} }, "no such device", "identity.announcements"},
	{"announcements-flooded", func(f *facts) { f.status.Announcements = web.Announcements{On: true, Limited: 900, Beyond: 100} }, "1000 packets", "floods"},
	{"reports-failed", func(f *facts) {
		f.status.Reports = []web.Report{{Name: "week", Problem: "no space left on device"}}
	}, "no space left on device", "settings"},
	{"alerts-failed", func(f *facts) {
		f.status.Alerts = []web.AlertPlace{{Name: "smtp", To: "smtps://mail.example.org:465", Waiting: 2, Problem: "connection refused", Since: &f.now, Late: true}}
	}, "connection refused", "alerts.smtp"},
	{"corrections-unread", func(f *facts) { f.correctionsErr = errors.New("corrections.jsonl: line 2: it is cut off") }, "line 2", "backup"},
	{"web-closed", func(f *facts) { f.status.Console.Problem = "access.json: unexpected end" }, "unexpected end", "docs/web.md"},
	{"witness-failed", func(f *facts) {
		f.status.Witnesses = []web.Witness{{To: "https://witness.example.org", Problem: "connection refused", Since: &f.now, Late: true}}
	}, "connection refused", "docs/seals.md"},
	{"leases-unread", func(f *facts) { f.status.Leases = []web.LeaseFile{{Path: "/x", Problem: "permission denied"}} }, "permission denied", "docs/devices.md"},
	{"makers-unread", func(f *facts) { f.status.Makers.Problem = "/x: no such file" }, "/x: no such file", "identity.makers"},
	{"makers-missing", func(f *facts) { f.cfg.Groups = []config.Group{{Name: "samsung", Makers: []string{"Samsung"}}} }, "no copy of the IEEE's registry", "identity.makers"},
	{"settings-late", func(f *facts) { f.status.Unwatched = []web.Unwatched{{Files: filesSettings, Why: "no room"}} }, "no room", "room for watches"},
	{"lists-late", func(f *facts) { f.status.Unwatched = []web.Unwatched{{Files: filesLists, Why: "no room"}} }, "no room", "room for watches"},
	{"upstreams-late", func(f *facts) { f.status.Unwatched = []web.Unwatched{{Files: filesResolvConf, Why: "no room"}} }, "no room", "room for watches"},
	{"lists-unread", func(f *facts) { f.listsErr = fs.ErrPermission }, "permission", "lists.dir"},
	{"lists-held", func(f *facts) { f.lists[0].Held, f.lists[0].State = "empty", "held back: it is empty" }, "it is empty", "accept ads"},
	{"lists-failed", func(f *facts) { f.lists[0].Failed, f.lists[0].State = "x", "cannot be read" }, "cannot be read", "correct it"},
	{"lists-bad-lines", func(f *facts) { f.lists[0].BadLines = 2 }, "2 bad lines", "lists --bad"},
	{"lists-warning", func(f *facts) { f.lists[0].Warnings = []string{"www.msftncsi.com is blocked"} }, "is blocked", "own.txt"},
	{"lists-stale", func(f *facts) {
		u := &f.updates[0]
		u.Checked, u.Failures, u.Err = f.now.AddDate(0, 0, -9), 12, "no such host"
	}, "no such host", "lists refresh ads"},
	{"lists-essential", func(f *facts) { f.day.essential["captive.apple.com"] = &blockedName{4, "hosts", 12} }, "blocked 4 times in the last day by hosts, line 12", "allow captive.apple.com"},
	{"catalogue-unread", func(f *facts) { f.catalogueErr = fs.ErrPermission }, "permission", "catalog update"},
	{"catalogue-held", func(f *facts) { f.catalogue.Held = "it is older" }, "older", "catalog accept"},
	{"catalogue-stale", func(f *facts) { f.catalogue.Error, f.catalogue.URL = "no route", "https://c.example" }, "no route", "catalog.url"},
	{"data-foreign", func(f *facts) { f.store.err = fs.ErrPermission }, "another user's", "as root"},
	{"data-unwritable", func(f *facts) { f.store.err = errors.New("read-only file system") }, "read-only", "writable"},
	{"store-full", func(f *facts) { f.store.free = 1 << 20 }, "1 MiB free", "make room"},
	{"store-slow", func(f *facts) { f.status.Log.LastCommit = f.now.Add(-20 * time.Minute) }, "nothing was stored for 20m", "SD card"},
	{"store-limit", func(f *facts) { f.status.Log.Bytes = 1 << 30 }, "log.size", "log.size higher"},
	{"store-growing", func(f *facts) { f.store.free = 80 << 20 }, "10 MiB a day, and the disk has room for 8 days", "log.size"},
	{"log-error", func(f *facts) { f.status.Log.LastError = "disk full" }, "disk full", "tried again"},
	{"log-lost", func(f *facts) { f.status.Log.GivenUp = 5 }, "5 lookups", "ledger"},
	{"clients-unread", func(f *facts) { f.day, f.dayErr = nil, errors.New("malformed") }, "malformed", "ledger"},
	{"clients-none", func(f *facts) { f.day.clients = map[string]uint64{"127.0.0.1": 9, "192.168.1.2": 2} }, "no device has asked", "192.168.1.2"},
	{"clients-one-address", func(f *facts) { f.day.clients = map[string]uint64{homeRouter: 900, "127.0.0.1": 9} }, "192.168.1.1, the router", "server=192.168.1.2, add-mac"},
	{"devices-unknown", func(f *facts) { f.day.bare = 2000 }, "40 % of the lookups", "leases"},
	{"devices-shared-mac", func(f *facts) {
		b := f.devices[0].Bindings
		b[0].Confidence, b[1].Confidence, b[1].Until = "low", "low", time.Time{}
	}, "answers for 2 addresses at once (192.168.1.20, 192.168.1.77)", "repeater"},
	{"rebinding-refused", func(f *facts) {
		f.day.domains["mine.example"] = &failing{names: map[string]bool{"nas.mine.example": true}, rebound: 3}
	}, "nas.mine.example", "rebind.allow"},
	{"answers-failed", func(f *facts) {
		f.day.domains["corp.example"] = &failing{names: map[string]bool{"x.corp.example": true}, failed: 9}
	}, "x.corp.example", "split horizon"},
}

// provokedElsewhere are findings that need more than facts, and the tests that provoke them.
var provokedElsewhere = map[string]string{
	"settings-invalid": "TestBrokenSettingsDoNotEndTheServer", "settings-last-good": "TestBrokenSettingsDoNotEndTheServer", "settings-refused": "TestMistakesInTheSettingsAreFoundOnceAndEachOnALine",
	"server-stopped": "TestDoctorNamesWhoHasThePort", "server-foreign": "TestE2EInstall", "server-silent": "TestDoctorOfAServerThatDoesNotAnswer",
	"port-taken": "TestDoctorNamesWhoHasThePort", "port-silent": "TestDoctorOfAServerThatDoesNotAnswer",
	"lists-missing": "TestDoctorOfFilesThatAreNotThere", "data-missing": "TestDoctorOfFilesThatAreNotThere",
	"tls-unread": "TestDoctorOfFilesThatAreNotThere", "tls-none": "TestDoctorSaysHowCertificatesDo", "tls-not-renewed": "TestDoctorSaysHowCertificatesDo", "tls-refused": "TestDoctorSaysHowCertificatesDo", "tls-ends": "TestDoctorSaysHowCertificatesDo",
	"network-unasked": "TestE2EForeignServersAreFound", "network-foreign-dns": "TestForeignServersAreFound", "network-untold": "TestTheLedgerHasWhatTheNetworkHandsOut",
	"kinds-invalid": "scenario devices-kinds", "tls-names": "TestDoctorSaysWhichNameHasNoCertificate",
	"tls-invalid": "TestDoctorSaysHowCertificatesDo",
}

func TestEachFindingIsProvoked(t *testing.T) {
	var codes []string
	for _, p := range provoked {
		codes = append(codes, p.code)
		f := healthyFacts()
		p.do(f)
		got, ok := judged(f)[p.code]
		if !ok || !strings.Contains(got.Says, p.says) || !strings.Contains(got.Cure, p.cure) {
			t.Errorf("%s: got %+v, want %q and %q in it; all that was found: %v", p.code, got, p.says, p.cure, slices.Sorted(maps.Keys(judged(f))))
		}
		if strings.Contains(got.Cure, "\n") || got.Cure == "" {
			t.Errorf("%s: the cure %q is not one line", p.code, got.Cure)
		}
	}
	codes = append(codes, slices.Collect(maps.Keys(provokedElsewhere))...)
	slices.Sort(codes)
	if found := findingsInCode(t); !slices.Equal(found, codes) {
		t.Errorf("findings in the code: %v\nprovoked: %v", missingFrom(codes, found), missingFrom(found, codes))
	}
	if documented := documentedFindings(t); !slices.Equal(documented, codes) {
		t.Errorf("findings that docs/doctor.md has and tests do not provoke: %v; the other way round: %v", missingFrom(codes, documented), missingFrom(documented, codes))
	}
}

// missingFrom returns the words of all that are not in those.
func missingFrom(those, all []string) (missing []string) {
	for _, word := range all {
		if !slices.Contains(those, word) {
			missing = append(missing, word)
		}
	}
	return missing
}

var (
	codeOfFinding  = regexp.MustCompile(`finds\(state[A-Z]\w+, "([a-z]+(?:-[a-z]+)+)"`)
	missingFinding = regexp.MustCompile(`willBeMade\("([a-z]+)"`)
)

func findingsInCode(t *testing.T) (codes []string) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range codeOfFinding.FindAllStringSubmatch(string(text), -1) {
			codes = append(codes, m[1])
		}
		for _, m := range missingFinding.FindAllStringSubmatch(string(text), -1) {
			codes = append(codes, m[1]+"-missing")
		}
	}
	return sorted(codes)
}

func documentedFindings(t *testing.T) (codes []string) {
	text, err := os.ReadFile(filepath.Join(tree, "docs", "doctor.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		codes = append(codes, m[1])
	}
	return sorted(codes)
}

// What may look odd and is not.
func TestNoFindingWhereAllIsWell(t *testing.T) {
	for name, do := range map[string]func(*facts){
		"one device is all there is":         func(f *facts) { f.day.clients = map[string]uint64{"192.168.1.20": 9000} },
		"a router that says who asks":        func(f *facts) { f.day.clients, f.day.forwarded[homeRouter] = map[string]uint64{homeRouter: 9000}, true },
		"few lookups":                        func(f *facts) { f.day.clients, f.day.lookups, f.day.bare = map[string]uint64{homeRouter: 20}, 20, 20 },
		"a server that has just started":     func(f *facts) { f.day.clients, f.status.Started = nil, f.now.Add(-time.Minute) },
		"a trial on another port":            func(f *facts) { f.listens[0] = netip.MustParseAddrPort("127.0.0.1:5300") },
		"a slow answer or two":               func(f *facts) { f.status.Upstreams[0].Latency = web.Latency{P50: time.Second, Answers: 3} },
		"a list that could not be had today": func(f *facts) { f.updates[0].Failures = 2 },
		"the gateway's MAC has two addresses": func(f *facts) {
			f.devices[0].Bindings = []web.Binding{{Addr: homeRouter, MAC: "00:1a:11:00:00:09", Confidence: "low"}, {Addr: "192.168.1.20", MAC: "00:1a:11:00:00:09", Confidence: "low"}}
		},
		"a young log":                         func(f *facts) { f.day.oldest, f.store.free = f.now.Add(-time.Hour), 100<<20 },
		"a log whose limit the disk can hold": func(f *facts) { f.store.free = 900 << 20; f.cfg.Log.Size = 1 << 30 },
	} {
		f := healthyFacts()
		do(f)
		if found := judged(f); len(found) > 0 {
			t.Errorf("%s: got %v", name, found)
		}
	}
}

func TestWhoHidesTheDevices(t *testing.T) {
	f := healthyFacts()
	f.day.clients = map[string]uint64{"192.168.1.20": 900}
	f.day.systems["192.168.1.20"] = map[string]bool{"Apple": true, "Google": true}
	if got := judged(f)["clients-one-address"].Says; !strings.Contains(got, "connectivity checks of Apple, Google") {
		t.Errorf("got %q", got)
	}
	f = healthyFacts()
	f.container = true
	f.day.clients = map[string]uint64{homeRouter: 900}
	if got := judged(f)["clients-one-address"]; !strings.Contains(got.Says, "the gateway of this container") || !strings.Contains(got.Cure, "docs/containers.md") {
		t.Errorf("got %+v", got)
	}
	f = healthyFacts()
	f.day.clients, f.router = map[string]uint64{homeRouter: 900}, "fritzbox"
	if got := judged(f)["clients-one-address"].Cure; !strings.Contains(got, "docs/routers.md#fritzbox") || !strings.Contains(got, "identity: {forwarders: [192.168.1.1]}") {
		t.Errorf("got %q", got)
	}
}

// The ledger says when a finding begins and when it is over, each once.
func TestFindingsMarkTheLedger(t *testing.T) {
	srv := startTestServer(t, t.TempDir(), netip.AddrPort{}, "")
	a := srv.app
	lying := []web.Finding{{Code: "upstreams-lying", State: stateWarning, Subject: "192.0.2.53:53", Says: "it lies"}, {Code: "upstreams-down", State: stateWarning, Says: "of a kind of its own"}, {State: stateOK}}
	silent := map[string]bool{"192.0.2.53:53": true}
	a.markFindings(lying, nil)
	a.markFindings(lying, nil)
	a.markFindings(nil, silent) // it did not answer: it may lie still
	a.markFindings(nil, nil)
	a.markFindings(lying, silent)
	a.markFindings(append(lying, web.Finding{Code: "clients-none", State: stateWarning, Says: "nobody asks"}), silent)
	a.markFindings(lying, (&facts{status: &web.Status{}, dayErr: errors.New("malformed")}).unanswered()) // nobody may ask still
	a.log.Flush()
	out, _ := srv.run("ledger", "--kind", "finding,finding-over", "--json")
	if got := strings.Count(out, `"finding"`); got != 3 || strings.Count(out, `"finding-over"`) != 1 || strings.Count(out, "upstreams-lying 192.0.2.53:53") != 3 || strings.Contains(out, "kind of its own") {
		t.Errorf("got\n%s", out)
	}
}

// What doctor --network found is told to the server, whose ledger has it.
func TestTheLedgerHasWhatTheNetworkHandsOut(t *testing.T) {
	srv := startTestServer(t, t.TempDir(), netip.AddrPort{}, "")
	c := newClient(srv.app.cfg.Load())
	tell := func(codes ...string) error {
		n := web.NetworkFindings{Findings: []web.Finding{}}
		for _, code := range codes {
			n.Findings = append(n.Findings, web.Finding{Code: code, What: "network", State: stateWarning, Subject: "9.9.9.9 by DHCP", Says: "somebody hands out 9.9.9.9"})
		}
		return c.do(context.Background(), http.MethodPut, "/findings/network", n, nil)
	}
	for _, codes := range [][]string{{foreignDNS}, {foreignDNS}, nil} {
		if err := tell(codes...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tell("clients-none"); err == nil || !strings.Contains(err.Error(), "of the network there is network-foreign-dns") {
		t.Errorf("got %v", err)
	}
	srv.app.log.Flush()
	out, _ := srv.run("ledger", "--kind", "finding,finding-over", "--json")
	if strings.Count(out, `"finding"`) != 1 || strings.Count(out, `"finding-over"`) != 1 || strings.Count(out, "network-foreign-dns 9.9.9.9 by DHCP") != 2 {
		t.Errorf("got\n%s", out)
	}
	srv.stop()
	d := &doctor{}
	d.tell(context.Background(), srv.app.cfg.Load())
	if len(d.findings) != 1 || d.findings[0].Code != "network-untold" {
		t.Errorf("without a server: got %v", d.findings)
	}
}

func TestExitStatusOfDoctor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := startTestServer(t, dir, netip.AddrPort{}, "upstreams: [\"127.0.0.1:9\"]\n")
	writeFile(t, filepath.Join(dir, "lists", "odd.txt"), "not a rule at all\ntracker.example\n")
	var out string
	warned := func() bool {
		out, _ = srv.run("doctor", "--json")
		return strings.Contains(out, `"lists-bad-lines"`) && strings.Contains(out, fmt.Sprintf(`"state":%q`, stateOK))
	}
	dnstest.WaitFor(t, warned, func() string { return "got\n" + out })
	if out, exit := srv.run("doctor", "--fail-on", "warning"); exit != 1 {
		t.Errorf("with a warning: got %d %s", exit, out)
	}
	if out, exit := srv.run("doctor", "--fail-on", "nothing"); exit != 2 || !strings.Contains(out, "wrong or warning") {
		t.Errorf("got %d %s", exit, out)
	}
}

// A list is stale that is asked for and was not confirmed for long; another's time is not its own.
func TestWhichListsAreStale(t *testing.T) {
	f := healthyFacts()
	list := func(name string, enabled bool, checked time.Duration, failures int) subscribe.Status {
		return subscribe.Status{List: subscribe.List{Name: name, Enabled: enabled, Refresh: 24 * time.Hour}, Path: "/x", Checked: f.now.Add(-checked), Failures: failures}
	}
	f.updates = []subscribe.Status{
		list("fresh", true, time.Hour, 3), list("stale", true, 49*time.Hour, 3), list("off", false, 1000*time.Hour, 3), list("quiet", true, 1000*time.Hour, 0), list("just", true, 48*time.Hour, 3),
	}
	for name, want := range map[string]bool{"fresh": false, "stale": true, "off": false, "quiet": false, "just": false, "none": false} {
		if got := isStale(f, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
