package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// A control is the socket on which the API is served, for this user alone (0600).
type control struct {
	socket string
	server *http.Server
	done   chan struct{}
}

// errAnswered means that the socket is not ours to take over.
var errAnswered = errors.New("another server answers")

// listenControl opens the socket. A socket left by a server that was killed is
// taken over; the lock of the data directory says that it is nobody's. Whatever
// else has its name stays.
func (a *app) listenControl() (*control, error) {
	path := a.cfg.Load().Control.Socket
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("control.socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("control.socket: %s is there and is no socket: remove it, or set control.socket to another path", path)
	default:
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fmt.Errorf("control.socket: %w on %s", errAnswered, path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("control.socket: %w", err)
		}
	}
	l, err := listenPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("control.socket: %w", err)
	}
	c := &control{
		socket: path, done: make(chan struct{}),
		server: &http.Server{Handler: a.api, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second},
	}
	go func() {
		defer close(c.done)
		if err := c.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.logger.Error("the control socket does not answer any more", "error", err)
		}
	}()
	return c, nil
}

// listenPrivate makes the socket in a directory of this user alone, so that
// nobody can connect before its mode is set. Its name is taken by a link, which
// fails where something else has got it meanwhile.
func listenPrivate(path string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".control")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(made, 0o600); err == nil {
		err = os.Link(made, path)
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
