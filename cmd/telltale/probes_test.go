package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestProbes(t *testing.T) {
	checks := []readyCheck{{what: "lists"}, {what: "log"}}
	looked := 0
	p := &prober{look: func(context.Context) []readyCheck { looked++; return checks }, next: http.NotFoundHandler()}
	ask := func(path string) (status int, text string) {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	if status, text := ask("/readyz"); status != 200 || text != "lists: ok\nlog: ok\n" {
		t.Errorf("ready: got %d %q", status, text)
	}
	checks = []readyCheck{{what: "lists"}, {what: "log", problem: "it does not take rows"}}
	p.at = time.Time{} // long ago
	if status, text := ask("/readyz"); status != 503 || text != "lists: ok\nlog: it does not take rows; 'telltale doctor' says why\n" {
		t.Errorf("not ready: got %d %q", status, text)
	}
	if status, text := ask("/healthz"); status != 200 || text != "ok\n" {
		t.Errorf("healthz: got %d %q", status, text)
	}
	if status, _ := ask("/healthz/more"); status != 404 {
		t.Errorf("another path: got %d", status)
	}
	p.at = time.Now().Add(time.Hour) // a moment ago, for as long as this takes
	for range 100 {
		ask("/readyz")
	}
	if looked != 2 {
		t.Errorf("looked %d times, want 2: what was seen holds for a while", looked)
	}
}

func TestUpstreamsOnAPageAreToldApartAndHaveNoPath(t *testing.T) {
	for id, want := range map[string]string{
		"192.0.2.1:53":                             "192.0.2.1:53",
		"https://dns.example:443/account-17/dns":   "https://dns.example:443",
		"https://192.0.2.1:443/secret#dns.example": "https://192.0.2.1:443#dns.example",
		"tls://192.0.2.1:853#dns.example":          "tls://192.0.2.1:853#dns.example",
	} {
		if got := withoutPath(id); got != want || strings.Contains(got, "secret") {
			t.Errorf("%s: got %q, want %q", id, got, want)
		}
	}
}
