//go:build e2e && !small

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	homes "telltale/evidence/household"
	"telltale/resolver/dnstest"
)

// A person uses the console of a real server, behind a path, with the made-up home's log, in a
// browser: web/ui/e2e/walk.mjs. CONSOLE_UI is a copy of web/ui with its packages; without it web/ui
// itself must have them ('make ui'). CONSOLE_ALL=1 looks at each page at each size by axe;
// CONSOLE_SHOTS is a directory for pictures.
func TestE2EConsole(t *testing.T) {
	dir := os.Getenv("CONSOLE_UI")
	if dir == "" {
		dir = filepath.Join(tree, "web", "ui")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "playwright-core")); err != nil {
		t.Skip("skipped: web/ui has no packages: 'make ui' fetches them")
	}
	chrome, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("skipped: chromium is not installed")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("skipped: node is not installed")
	}

	x := newHomeTest(t, homes.New(homes.Options{Begin: time.Date(2025, time.October, 6, 0, 0, 0, 0, time.UTC)}))
	home := x.dir
	addresses := map[string]string{"mistat.india.xiaomi.com.": "8.209.64.1", "mistat.xiaomi.com.": "13.248.118.1"} // that the tests' databases know
	upstream := dnstest.Start(t, func(w dns.ResponseWriter, q *dns.Msg) {
		dnstest.AnswerA(cmp.Or(addresses[q.Question[0].Name], "203.0.113.80"))(w, q)
	})
	databases, err := filepath.Abs("../../evidence/geo/testdata")
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	writeFile(t, filepath.Join(home, "telltale.yaml"), fmt.Sprintf(
		"listen:\n  dns: [\"127.0.0.1:0\"]\nupstreams: [%q]\nlists:\n  dir: lists.d\ndata:\n  dir: store\nweb:\n  listen: [%q]\n  path: /home/telltale\ndestinations: {asn: %q, country: %q, registered: %q}\n",
		upstream.Addr, address, databases+"/asn.mmdb", databases+"/country.mmdb", databases+"/registered.mmdb"))
	p := startServe(t, home, nil, "--config", filepath.Join(home, "telltale.yaml"))

	out := x.run("web", "link", "--json")
	var made struct{ URLs []string }
	if err := json.Unmarshal([]byte(out), &made); err != nil || len(made.URLs) == 0 {
		t.Fatalf("web link --json says %s (%v)", out, err)
	}
	for name := range addresses {
		for range 3 {
			if _, _, err := (&dns.Client{Timeout: patience}).Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), p.addr.String()); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The log takes lookups ten times a second.
	dnstest.WaitFor(t, func() bool {
		return strings.Count(x.run("top", "names", "--vendor", "Xiaomi", "--json"), `"key"`) == len(addresses)
	}, func() string { return x.run("top", "names") })
	x.run("destinations", "--refresh")
	device, vendor := "mac:02:00:5e:00:00:01", "Aurora"
	printed := map[string]json.RawMessage{}
	for of, words := range map[string][]string{"all": nil, "device": {device}, "vendor": {"--vendor", vendor}} {
		printed[of] = json.RawMessage(x.run(append([]string{"report", "--since", "2025-10-06T00:00:00Z", "--until", "2025-10-20T00:00:00Z", "--tz", "UTC", "--json"}, words...)...))
	}
	printed["xiaomi"] = json.RawMessage(x.run("report", "--vendor", "Xiaomi", "--last", "24h", "--json"))
	console, err := json.Marshal(map[string]any{
		"link": made.URLs[0], "dns": []any{p.addr.Addr().String(), p.addr.Port()}, "chrome": chrome,
		"period": map[string]string{"from": "2025-10-06T00:00:00Z", "until": "2025-10-20T00:00:00Z"},
		"device": device, "vendor": vendor, "printed": printed, "example": filepath.Join(tree, "docs", "verify", "example"),
		"shots": os.Getenv("CONSOLE_SHOTS"), "all": os.Getenv("CONSOLE_ALL") != "",
	})
	if err != nil {
		t.Fatal(err)
	}
	says := filepath.Join(t.TempDir(), "console.json") // longer than a variable may be
	writeFile(t, says, string(console))
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	walk := exec.CommandContext(ctx, node, filepath.Join(dir, "e2e", "walk.mjs"))
	walk.Env = append(os.Environ(), "CONSOLE="+says)
	said, err := walk.CombinedOutput()
	t.Logf("%s", said)
	if err != nil || !strings.Contains(string(said), "\nSEEN ") && !strings.HasPrefix(string(said), "SEEN ") {
		t.Errorf("%v; the server says:\n%s", err, p.errs.String())
	}
}
