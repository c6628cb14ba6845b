package metrics

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestPage(t *testing.T) {
	gauge := &Family{"x_bytes", Gauge, []string{"name"}, "What."}
	summary := &Family{"y_seconds", Summary, nil, "How long."}
	histogram := &Family{"z_seconds", Histogram, nil, "How long."}
	var h durations
	h.add(60 * time.Microsecond)
	h.add(time.Minute)
	var p Page
	p.Add(gauge, 1.5, "a\"b\\c\nd")
	p.Add(gauge, 1<<40, strings.Repeat("é", 60))
	p.Add(gauge, math.Inf(1), "\xff")
	p.AddSummary(summary, []Quantile{{0.5, 0.25}}, 1.25, 3)
	p.addHistogram(histogram, &h)
	got := string(p.Bytes())
	for _, want := range []string{
		"# HELP x_bytes What.\n# TYPE x_bytes gauge\nx_bytes{name=\"a\\\"b\\\\c\\nd\"} 1.5\nx_bytes{name=\"" + strings.Repeat("é", 50) + "\"} 1099511627776\nx_bytes{name=\"?\"} +Inf\n",
		"# TYPE y_seconds summary\ny_seconds{quantile=\"0.5\"} 0.25\ny_seconds_sum 1.25\ny_seconds_count 3\n",
		"z_seconds_bucket{le=\"5e-05\"} 0\nz_seconds_bucket{le=\"0.0001\"} 1\n",
		"z_seconds_bucket{le=\"5\"} 1\nz_seconds_bucket{le=\"+Inf\"} 2\nz_seconds_sum 60.00006\nz_seconds_count 2\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant in it\n%s", got, want)
		}
	}
	if strings.Count(got, "# TYPE") != 3 {
		t.Errorf("got\n%s\nwant each family's head once", got)
	}
}

func TestNamesOfFamilies(t *testing.T) {
	seen := map[string]bool{}
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	for _, f := range Families() {
		switch {
		case seen[f.Name]:
			t.Errorf("%s is there twice", f.Name)
		case !name.MatchString(f.Name) || strings.ContainsAny(f.Help, "\n\\|") || !strings.HasSuffix(f.Help, "."):
			t.Errorf("%s %q: not a name or not a line", f.Name, f.Help)
		case !strings.HasPrefix(f.Name, "telltale_") && !strings.HasPrefix(f.Name, "process_") && !strings.HasPrefix(f.Name, "go_"):
			t.Errorf("%s has no prefix", f.Name)
		case (f.Kind == Counter) != strings.HasSuffix(f.Name, "_total"):
			t.Errorf("%s is a %s", f.Name, f.Kind)
		}
		seen[f.Name] = true
	}
}

// What Prometheus itself says of a page with everything that is counted here.
func TestPromtoolHasNothingToSay(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool (Debian: prometheus)")
	}
	c := NewCounts(true)
	var p Page
	c.Write(&p)
	for _, f := range Families() {
		if f.Kind == Counter || f.Kind == Gauge {
			p.Add(f, 1, make([]string, len(f.Labels))...)
		}
	}
	AddProcess(&p)
	check := exec.Command(promtool, "check", "metrics")
	text := string(p.Bytes())
	first, _, _ := strings.Cut(text, "# HELP "+Goroutines.Name) // those of the process are in it twice
	check.Stdin = strings.NewReader(first)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

func TestWhoMayAskByWhichName(t *testing.T) {
	write := func(_ context.Context, p *Page) { p.Add(&StartTime, 1) }
	h := Handler("attic.example.net", write, http.NotFoundHandler())
	for host, want := range map[string]int{
		"127.0.0.1:9530": 200, "127.0.0.1": 200, "[::1]:9530": 200, "[fd00::1]": 200, "localhost:9530": 200, "telltale:9530": 200, "nas.lan:9530": 200,
		"telltale.monitoring.svc.cluster.local:9530": 200, "Attic.example.net.:9530": 200,
		"attacker.example:9530": 421, "": 421, "attic.example.net.attacker.example": 421, "127.0.0.1.attacker.example": 421, "lan": 200,
	} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || (want == 200) != strings.Contains(w.Body.String(), "telltale_start_time_seconds 1\n") {
			t.Errorf("%q: got %d %s, want %d", host, w.Code, w.Body, want)
		}
	}
	for _, of := range []struct {
		method, path string
		want         int
	}{{"POST", "/metrics", 405}, {"GET", "/other", 404}, {"HEAD", "/metrics", 200}, {"DELETE", "/healthz", 405}} {
		r := httptest.NewRequest(of.method, of.path, nil)
		r.Host = "127.0.0.1"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != of.want {
			t.Errorf("%s %s: got %d, want %d", of.method, of.path, w.Code, of.want)
		}
	}
}

func TestSoManyMayAskAtOnce(t *testing.T) {
	inside, free := make(chan struct{}), make(chan struct{})
	h := Handler("", func(context.Context, *Page) { inside <- struct{}{}; <-free }, http.NotFoundHandler())
	done := make(chan int, atOnce+1)
	ask := func() {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		done <- w.Code
	}
	for range atOnce {
		go ask()
		<-inside
	}
	ask()
	if got := <-done; got != http.StatusServiceUnavailable {
		t.Errorf("one more: got %d", got)
	}
	close(free)
	for range atOnce {
		if got := <-done; got != http.StatusOK {
			t.Errorf("got %d", got)
		}
	}
}
