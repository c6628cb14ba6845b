//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// alertsScenario makes an alert of five conditions, while the server of MQTT is away; NAME stands
// for the address of a place. A heartbeat that is new needs a week: TestANewHeartbeatIsToldOnce.
const alertsScenario = `
-- config.yaml --
alerts:
  tell: [first-lookup, went-around, coverage, destination-moved, stopped-telemetry, new-heartbeat]
  at_once: [first-lookup, went-around, coverage, destination-moved, stopped-telemetry, new-heartbeat]
  coverage: 100
  webhook: {url: "WEBHOOK", secret_file: keys/secret}
  ntfy: {url: "NTFY"}
  mqtt: {server: "mqtt://MQTT"}
  smtp: {server: "smtp://SMTP", from: telltale@home.example, to: [you@home.example]}
identity: {forwarders: [127.0.0.8]}
destinations: {asn: "{geo}/asn.mmdb", country: "{geo}/country.mmdb", registered: "{geo}/registered.mmdb"}
forward: [{zones: [xiaomi.com], upstreams: ["{one.zone}"]}]
-- keys/secret --
correct-horse
-- upstream.zone --
shop.example. 300 A 192.0.2.1
ns1.xiaomi.example. 300 A 104.16.1.1
-- one.zone --
mistat.india.xiaomi.com. 60 A 8.209.64.1
xiaomi.com. 60 NS ns1.xiaomi.example.
-- two.zone --
mistat.india.xiaomi.com. 60 A 13.248.118.1
xiaomi.com. 60 NS ns1.xiaomi.example.
-- lists/more.txt --
#@ vendor=Acme tier=telemetry purpose=ads source=https://example.org
tracker.example
#@ vendor=Lookaway product="Lookaway DNS" purpose=dns-bypass tier=telemetry source=https://example.org
doh.example
-- past --
days 5
habit phone-3 stats.eyrie.example 80 2d6h
plan gone opt-out phone-3 0d4h
start gone 0d6h
mark gone 2d6h opted out
stop gone 4d6h
-- steps --
past past
query tracker.example. A from=127.0.0.7
want tracker.example. A 0.0.0.0
query doh.example. A from=127.0.0.7
want doh.example. A 0.0.0.0
query token.mistat.india.xiaomi.com. A from=127.0.0.7
want token.mistat.india.xiaomi.com. A 0.0.0.0
query stats.eyrie.example. A from=127.0.0.8 mac=MACOFPHONE3
want stats.eyrie.example. A 0.0.0.0
run destinations --refresh
exit 0
eventually
run alerts
out first-lookup
out went-around
out still to be told: mqtt
file moved.yaml telltale.yaml
restart
run destinations --refresh
exit 0
out "(1 moved)"
call mqtt
stop
call away
restart
eventually
run alerts
out coverage
out destination-moved
out stopped-telemetry
out !still to be told
restart
run alerts
out !still to be told
`

// Each alert comes to each place once, over restarts, also where the place was away: to real
// servers of MQTT and of mail, to a webhook and by the form of ntfy.
func TestE2EAlertsComeToEachPlaceOnce(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"mosquitto", "mosquitto_sub", "aiosmtpd"} {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("no %s: .ci/tools installs it", p)
			}
			t.Skipf("no %s", p)
		}
	}
	var mu sync.Mutex
	var hooks, texts []string
	take := func(into *[]string) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			*into = append(*into, string(b))
		}
	}
	hook, ntfy := httptest.NewServer(take(&hooks)), httptest.NewServer(take(&texts))
	defer hook.Close()
	defer ntfy.Close()
	mails := filepath.Join(t.TempDir(), "mails")
	smtp, mqtt := freeAddress(t), freeAddress(t)
	startProgram(t, smtp, "aiosmtpd", "-n", "-l", smtp, "-c", "aiosmtpd.handlers.Mailbox", mails)
	text := strings.NewReplacer("WEBHOOK", hook.URL, "NTFY", ntfy.URL+"/topic", "MQTT", mqtt, "SMTP", smtp, "MACOFPHONE3", "02:00:5e:00:00:03").Replace(alertsScenario)
	settings := partsOf(text)["config.yaml"].text
	text = strings.Replace(text, "-- keys/secret --", "-- moved.yaml --\n"+strings.Replace(settings, "{one.zone}", "{two.zone}", 1)+"-- keys/secret --", 1)
	calls := map[string]func(){
		// A restart alone takes less than is told of.
		"away": func() { time.Sleep(1100 * time.Millisecond) },
		"mqtt": func() {
			_, port, _ := net.SplitHostPort(mqtt)
			conf := filepath.Join(t.TempDir(), "mosquitto.conf")
			if err := os.WriteFile(conf, []byte("listener "+port+" 127.0.0.1\nallow_anonymous true\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			startProgram(t, mqtt, "mosquitto", "-c", conf)
			// A session that stays: what comes is kept for it.
			if out, err := exec.Command("mosquitto_sub", append(session(mqtt), "-E")...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		},
	}
	runScenario(t, "alerts_e2e_test.go", text, calls)

	kinds, told := map[string]int{}, map[string]string{} // of the webhook; text by identity
	mu.Lock()
	defer mu.Unlock()
	for _, body := range hooks {
		var m struct {
			Alerts []struct{ ID, Kind, Text string }
		}
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatal(err)
		}
		for _, a := range m.Alerts {
			if told[a.ID] != "" {
				t.Errorf("the webhook got %s twice", a.ID)
			}
			told[a.ID] = a.Text
			kinds[a.Kind]++
		}
	}
	for _, kind := range []string{"first-lookup", "went-around", "coverage", "destination-moved", "stopped-telemetry"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s was told: %v", kind, kinds)
		}
	}
	events, err := exec.Command("mosquitto_sub", append(session(mqtt), "-C", strconv.Itoa(len(told)), "-W", "30")...).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, events)
	}
	byMail := ""
	files, _ := filepath.Glob(filepath.Join(mails, "*", "*"))
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(f))
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		byMail += strings.Join(strings.Fields(string(b)), " ") + "\n"
	}
	for id, text := range told {
		words := strings.Join(strings.Fields(text), " ")
		for place, got := range map[string]string{"ntfy": strings.Join(strings.Fields(strings.Join(texts, "\n")), " "), "mail": byMail} {
			if n := strings.Count(got, words); n != 1 {
				t.Errorf("%s has %q %d times:\n%s", place, words, n, got)
			}
		}
		if n := strings.Count(string(events), id); n != 1 {
			t.Errorf("MQTT has %s (%s) %d times:\n%s", id, words, n, events)
		}
	}
}

// session are the arguments of a subscriber whose session stays.
func session(server string) []string {
	host, port, _ := net.SplitHostPort(server)
	return []string{"-h", host, "-p", port, "-c", "-i", "reader", "-q", "1", "-t", "telltale/alert"}
}

// startProgram starts a program until the test ends, and waits until it takes connections.
func startProgram(t *testing.T, at, program string, args ...string) {
	t.Helper()
	c := exec.Command(program, args...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	for limit := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", at)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(limit) {
			t.Fatal(fmt.Errorf("%s does not listen: %w", program, err))
		}
	}
}
