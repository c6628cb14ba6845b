package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"telltale/blocklists/inspect"
	"telltale/blocklists/subscribe"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/resolver"
	"telltale/resolver/upstream"
)

// A control is the socket by which the other commands ask what only the running
// server knows: HTTP and JSON, for this user alone (0600).
type control struct {
	socket string
	server *http.Server
	done   chan struct{}
}

// A status is what `telltale doctor` wants to know.
type status struct {
	Version   string            `json:"version"`
	PID       int               `json:"pid"`
	Started   time.Time         `json:"started"`
	Settings  settingsStatus    `json:"settings"`
	Listen    []string          `json:"listen"`
	Paused    *time.Time        `json:"paused,omitempty"`
	Server    resolver.Stats    `json:"server"`
	Upstreams []upstream.Status `json:"upstreams"`
	Log       querylog.Stats    `json:"log"`
	Gateways  []string          `json:"gateways"`
}

// A settingsStatus says which settings are in force.
type settingsStatus struct {
	File     string     `json:"file,omitempty"`
	Overlay  string     `json:"overlay"`
	LastGood *time.Time `json:"last_good,omitempty"` // those kept then are in force, since those on disk had mistakes at the start
	Refused  string     `json:"refused,omitempty"`   // why those on disk are not in force
}

// A command to the server, as the body of a POST.
type order struct {
	List  string    `json:"list,omitempty"`
	Lists []string  `json:"lists,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// errRefused is what a client gets with status 409: the order cannot be done.
type errRefused struct{ err error }

func (e errRefused) Error() string { return e.err.Error() }

// errAnswered means that the socket is not ours to take over.
var errAnswered = errors.New("another server answers")

// listenControl opens the socket. A socket left by a server that was killed is
// taken over; the lock of the data directory says that it is nobody's.
func (a *app) listenControl() (*control, error) {
	path := a.cfg.Load().Control.Socket
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fmt.Errorf("control.socket: %w on %s", errAnswered, path)
		}
		os.Remove(path)
	}
	l, err := listenPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("control.socket: %w", err)
	}
	c := &control{socket: path, server: &http.Server{Handler: a.routes(), ReadTimeout: 10 * time.Second}, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		if err := c.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.logger.Error("the control socket does not answer any more", "error", err)
		}
	}()
	return c, nil
}

// listenPrivate makes the socket in a directory of this user alone, so that
// nobody can connect before its mode is set.
func listenPrivate(path string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".control")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(filepath.Join(dir, "s"), 0o600); err == nil {
		err = os.Rename(filepath.Join(dir, "s"), path)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (c *control) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		c.server.Close()
	}
	<-c.done
	os.Remove(c.socket) // no harm where it stays
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, f func(*http.Request) (any, error)) { mux.HandleFunc("GET "+path, answer(f)) }
	post := func(path string, f func(context.Context, order) error) {
		mux.HandleFunc("POST "+path, answer(func(r *http.Request) (any, error) {
			var o order
			if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<16)).Decode(&o); err != nil {
				return nil, errRefused{err}
			}
			return struct{}{}, f(r.Context(), o)
		}))
	}
	get("/status", func(*http.Request) (any, error) { return a.status(), nil })
	get("/lists", func(*http.Request) (any, error) { return withUpdates(a.lists.Status(), a.subscriptions.Status()), nil })
	get("/devices", func(*http.Request) (any, error) { return a.ledger.Load().List(), nil })
	get("/explain", a.explain)
	get("/subscriptions", func(*http.Request) (any, error) { return a.subscriptions.Status(), nil })
	get("/lists/diff", a.diff)
	mux.HandleFunc("POST /lists/refresh", a.refresh)
	post("/log/flush", func(context.Context, order) error { a.log.Flush(); return nil })
	post("/lists/accept", func(_ context.Context, o order) error { return a.accept(o.List) })
	post("/pause", func(_ context.Context, o order) error { return a.lists.Pause(o.Until) })
	post("/resume", func(context.Context, order) error { return a.lists.Resume() })
	return mux
}

// answer makes a function an HTTP handler that speaks JSON.
func answer(f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(http.StatusConflict)
			v = map[string]string{"error": err.Error()}
		}
		json.NewEncoder(w).Encode(v)
	}
}

func (a *app) status() status {
	st := status{
		Version: buildVersion(), PID: os.Getpid(), Started: a.started, Settings: a.settingsStatus(),
		Server: a.server.Stats(), Upstreams: a.server.Upstreams(), Log: a.log.Stats(),
	}
	for _, addr := range a.server.Addrs() {
		st.Listen = append(st.Listen, addr.String())
	}
	for _, addr := range a.ledger.Load().Gateways() {
		st.Gateways = append(st.Gateways, addr.String())
	}
	if until, ok := a.lists.Paused(); ok {
		st.Paused = &until
	}
	return st
}

func (a *app) settingsStatus() settingsStatus {
	cfg := a.cfg.Load()
	s := settingsStatus{File: cfg.File, Overlay: cfg.Overlay, Refused: a.refusal()}
	if !cfg.LastGood.IsZero() {
		s.LastGood = &cfg.LastGood
	}
	return s
}

// explain judges a name as the running server does.
func (a *app) explain(r *http.Request) (any, error) {
	q := r.URL.Query()
	name, err := parseName(q.Get("name"))
	if err != nil {
		return nil, errRefused{err}
	}
	typ, ok := dnswire.ParseType(q.Get("type"))
	if !ok {
		return nil, errRefused{fmt.Errorf("%q is no record type", q.Get("type"))}
	}
	settings, addr, err := a.asker(q.Get("device"))
	if err != nil {
		return nil, errRefused{err}
	}
	e := inspect.Explain(a.lists, &name, typ, a.lists.Current().GroupOf(settings, addr))
	return explanationOf(e, a.server.Special(&name, typ, e.Verdict.Action)), nil
}

// asker returns the settings and the address with which somebody asks: an
// address, or a device by what findDevice takes; "" is anybody.
func (a *app) asker(who string) (settings uint16, addr netip.Addr, err error) {
	if who == "" {
		return 0, addr, nil
	}
	if addr, err := netip.ParseAddr(who); err == nil {
		if b := a.ledger.Load().Lookup(addr); b != nil {
			settings = b.Group
		}
		return settings, addr, nil
	}
	d, ok := findDevice(a.ledger.Load().List(), who)
	if !ok {
		return 0, addr, fmt.Errorf("no device %q is known; 'telltale devices' lists them", who)
	}
	if len(d.Bindings) > 0 {
		addr = d.Bindings[0].Addr
	}
	return d.Group, addr, nil
}

// findDevice finds a device by identity, shown name, MAC or address.
func findDevice(all []devices.DeviceStatus, who string) (devices.DeviceStatus, bool) {
	for _, d := range all {
		if d.Device == who || d.Name == who {
			return d, true
		}
		for _, b := range d.Bindings {
			if b.Addr.String() == who || b.MAC == who {
				return d, true
			}
		}
	}
	return devices.DeviceStatus{}, false
}

// accept puts in force what is held back of a list: an update that was fetched,
// or what its file holds now.
func (a *app) accept(name string) error {
	for _, s := range a.subscriptions.Status() {
		if s.Name == name && s.Held != nil {
			return a.subscriptions.Accept(name)
		}
	}
	return a.lists.Accept(name)
}

// diff returns what the last update of a subscribed list changed; with held=1
// what the update that waits would.
func (a *app) diff(r *http.Request) (any, error) {
	name := r.URL.Query().Get("name")
	if r.URL.Query().Get("held") != "" {
		return a.subscriptions.HeldDiff(name)
	}
	return a.subscriptions.Diff(name)
}

// A refreshed is one line of the answer to a refresh.
type refreshed struct {
	Name    string `json:"name"`
	Bytes   int64  `json:"bytes"`
	Total   int64  `json:"total,omitempty"`
	Done    bool   `json:"done,omitempty"`
	Outcome string `json:"outcome,omitempty"`
	Rules   int    `json:"rules,omitempty"`     // in force
	Bad     int    `json:"bad_lines,omitempty"` // that are not
	Error   string `json:"error,omitempty"`
}

// refresh fetches lists now, and answers with a line for each step.
func (a *app) refresh(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	enc, flush := json.NewEncoder(w), http.NewResponseController(w)
	err := a.subscriptions.Refresh(r.Context(), o.Lists, func(p subscribe.Progress) {
		line := refreshed{Name: p.Name, Bytes: p.Bytes, Total: p.Total, Done: p.Done, Rules: p.Rules}
		if p.Done {
			line.Outcome = p.Outcome.String()
		}
		switch p.Outcome {
		case subscribe.Updated:
			a.applyFetched() // so that what is said is so
			line.Rules, line.Bad = a.inForce(p)
		case subscribe.Unchanged:
			line.Rules, line.Bad = a.inForce(p)
		}
		if p.Err != nil {
			line.Error = p.Err.Error()
		}
		enc.Encode(line)
		flush.Flush()
	})
	if err != nil {
		enc.Encode(refreshed{Done: true, Error: err.Error()})
	}
}
