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
	"telltale/web"
)

// errStopped means that no server runs with these settings.
var errStopped = errors.New("no server is running with these settings")

// errForeign means that the server is another user's.
var errForeign = errors.New("the server belongs to another user")

// A client asks the running server over its socket. Paths are below web.Prefix.
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

// do sends a request with a body, or none where it is nil, and decodes the response
// into v, unless that is nil.
func (c *client) do(ctx context.Context, method, path string, body, v any) error {
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

// doRaw posts a body as it is, of a kind, and decodes the response into v.
func (c *client) doRaw(ctx context.Context, path, kind string, body []byte, v any) error {
	resp, err := c.request(ctx, http.MethodPost, path, kind, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(v)
}

// stream posts a request whose response comes line by line.
func (c *client) stream(ctx context.Context, path string, body any, each func(*json.Decoder) error) error {
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

// send returns the response to a request that the server did not refuse.
func (c *client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	if body == nil {
		return c.request(ctx, method, path, "", nil)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return c.request(ctx, method, path, "application/json", text)
}

// request is send for a body as it is, of a kind; "" for none.
func (c *client) request(ctx context.Context, method, path, kind string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://telltale"+web.Prefix+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (looked for %s; --config or --data-dir say where another one is)", errStopped, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w (%s): ask as that user or as root", errForeign, c.socket)
	case err != nil:
		return nil, err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		defer resp.Body.Close()
		return nil, refusalOf(resp)
	}
	return resp, nil
}

// refusalOf returns the error of a response (RFC 9457).
func refusalOf(resp *http.Response) error {
	var problem struct {
		Detail string
		Errors []struct{ Message, Location string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil || problem.Detail == "" {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	err := errors.New(problem.Detail)
	for _, e := range problem.Errors {
		err = fmt.Errorf("%w; %s: %s", err, e.Location, e.Message)
	}
	return err
}
