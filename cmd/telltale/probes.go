package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// What monitors ask: whether the process serves (/healthz), and whether it does all that it is
// for (/readyz). Neither says more than that: whoever reaches the listener may ask.

// A readyCheck is one thing that has to be so for the server to be ready.
type readyCheck struct {
	what, problem string // problem: "" where it is so
}

// readiness looks at all that has to be so.
func (a *app) readiness(ctx context.Context) []readyCheck {
	checks := []readyCheck{{what: "lists"}, {what: "listener"}, {what: "log"}}
	if a.lists.Current() == nil {
		checks[0].problem = "they are not loaded"
	}
	if _, err := a.health(ctx); err != nil {
		checks[1].problem = "it does not answer DNS"
	}
	if a.cfg.Load().Log.Enabled && a.log.Stats().LastError != "" {
		checks[2].problem = "it does not take rows"
	}
	return checks
}

// readyFor is how long what was looked at holds: who asks all the time has nothing looked at
// more often.
const readyFor = time.Second

// A prober answers monitors. Any goroutine may use it.
type prober struct {
	look func(context.Context) []readyCheck
	next http.Handler // answers what is neither

	mu     sync.Mutex
	checks []readyCheck
	at     time.Time
}

// newProber returns what answers monitors, and has next answer all others.
func (a *app) newProber(next http.Handler) *prober { return &prober{look: a.readiness, next: next} }

// ServeHTTP answers /healthz and /readyz with a line of text for each thing that was looked
// at; the status is 503 where one is not so.
func (p *prober) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/healthz" && r.URL.Path != "/readyz" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		p.next.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	text, ready := "ok\n", true
	if r.URL.Path == "/readyz" {
		text, ready = readyText(p.ready(r.Context()))
	}
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	io.WriteString(w, text)
}

func (p *prober) ready(ctx context.Context) []readyCheck {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.checks == nil || time.Since(p.at) > readyFor {
		p.checks = p.look(context.WithoutCancel(ctx)) // it counts for others, too, where this one goes away
		p.at = time.Now()
	}
	return p.checks
}

func readyText(checks []readyCheck) (text string, ready bool) {
	var b strings.Builder
	ready = true
	for _, c := range checks {
		if c.problem == "" {
			fmt.Fprintf(&b, "%s: ok\n", c.what)
			continue
		}
		ready = false
		fmt.Fprintf(&b, "%s: %s; 'telltale doctor' says why\n", c.what, c.problem)
	}
	return b.String(), ready
}
