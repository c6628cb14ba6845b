//go:build !small

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"telltale/config"
	"telltale/fleet"
)

// Commands beside a running center speak with it by a socket in its directory, for this user alone (0600).

func centerSocket(cfg *config.Config) string { return filepath.Join(cfg.Center.Dir, "control.sock") }

// serveCommands answers commands. What it returns ends that.
func (c *center) serveCommands() (end func(), err error) {
	path := centerSocket(c.cfg)
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("center.dir: another center answers on %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed
		return nil, fmt.Errorf("center.dir: %w", err)
	}
	l, err := listenPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("center.dir: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /role", c.serveRole)
	mux.HandleFunc("POST /forget", c.serveForget)
	mux.HandleFunc("GET /live", c.serveLive)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	return func() {
		s.Close()
		<-done
		os.Remove(path)
	}, nil
}

// A forgetAsked is what a command asks a center to forget.
type forgetAsked struct {
	Node string `json:"node,omitempty"`
	fleet.Forgetting
}

func (c *center) serveForget(w http.ResponseWriter, r *http.Request) {
	var asked forgetAsked
	err := json.NewDecoder(r.Body).Decode(&asked)
	said := centerSaid{}
	if err == nil && c.store == nil {
		err = errors.New(c.role.get().String())
	}
	if err == nil {
		asked.Forgetting.Node = asked.Node
		said.Rows, err = forgetIn(r.Context(), c.store, asked.Forgetting)
	}
	if err != nil {
		said.Error = err.Error()
	}
	json.NewEncoder(w).Encode(said)
}

// A centerSaid is what a running center answers to a command. The keys of its JSON never change.
type centerSaid struct {
	Rows  int64  `json:"rows"` // that were forgotten
	Error string `json:"error,omitempty"`
}

// errNoCenter means that no center runs in a directory.
var errNoCenter = errors.New("no center runs here")

// askCenter sends something to the center that runs here.
func askCenter(ctx context.Context, cfg *config.Config, method, path string, body io.Reader) (*http.Response, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", centerSocket(cfg))
	}}}
	req, err := http.NewRequestWithContext(ctx, method, "http://center"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "dial" && !errors.Is(err, fs.ErrPermission) {
		return nil, errNoCenter
	}
	return resp, err
}
