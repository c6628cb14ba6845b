package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"

	"telltale/config"
)

// errStopped means that no server runs with these settings.
var errStopped = errors.New("no server is running with these settings")

// A client asks the running server over its socket.
type client struct {
	http   http.Client
	socket string
}

func newClient(cfg *config.Config) *client {
	c := &client{socket: cfg.Control.Socket}
	c.http = http.Client{
		Timeout: 30 * time.Minute, // a refresh of lists takes its time
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", c.socket)
		}},
	}
	return c
}

// get asks for something and decodes it into v.
func (c *client) get(ctx context.Context, path string, v any) error {
	return c.do(ctx, http.MethodGet, path, nil, v)
}

// post gives an order.
func (c *client) post(ctx context.Context, path string, o order) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, body, nil)
}

func (c *client) do(ctx context.Context, method, path string, body []byte, v any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if v == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// stream gives an order whose answer comes line by line.
func (c *client) stream(ctx context.Context, path string, o order, each func(*json.Decoder) error) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	resp, err := c.send(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for d := json.NewDecoder(resp.Body); d.More(); {
		if err := each(d); err != nil {
			return err
		}
	}
	return nil
}

// send returns the answer to a request that the server did not refuse.
func (c *client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://telltale"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (looked for %s; --config or --data-dir say where another one is)", errStopped, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s belongs to another user: ask as that user or as root", c.socket)
	case err != nil:
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		var refusal struct{ Error string }
		if err := json.NewDecoder(resp.Body).Decode(&refusal); err != nil || refusal.Error == "" {
			return nil, fmt.Errorf("the server answered %s", resp.Status)
		}
		return nil, errors.New(refusal.Error)
	}
	return resp, nil
}
