// Package post sends a text to a server by HTTP: bounded in time and size, without
// following redirects, and with errors that do not have the URL, whose path is often the
// secret by which one may post.
package post

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// Timeout is for all of a post.
	Timeout = 30 * time.Second
	// MaxAnswer is how many octets of an answer are read, and one more.
	MaxAnswer = 4 << 10
)

// Transport is how posts are sent: one connection each, headers of bounded size. settings
// may be nil for the system's authorities.
func Transport(dial func(ctx context.Context, network, address string) (net.Conn, error), settings *tls.Config) *http.Transport {
	return &http.Transport{DialContext: dial, TLSClientConfig: settings, DisableKeepAlives: true, TLSHandshakeTimeout: 15 * time.Second, MaxResponseHeaderBytes: 64 << 10}
}

// A Post is what is sent. Setting names the setting of its URL.
type Post struct {
	URL, Setting string
	Header       http.Header
	Body         []byte
	Transport    http.RoundTripper
	Timeout      time.Duration // 0 for the constant
	MaxAnswer    int64         // the same
}

// Send sends it, and returns what the server answered once that took it.
func (p *Post) Send(ctx context.Context) (answer []byte, err error) {
	limit := Timeout
	if p.Timeout > 0 {
		limit = p.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, bytes.NewReader(p.Body))
	if err != nil {
		return nil, withoutURL(err)
	}
	r.Header = p.Header
	client := http.Client{Transport: p.Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return fmt.Errorf("it redirects, which is not followed: set %s to where it leads", p.Setting)
	}}
	reply, err := client.Do(r)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer reply.Body.Close()
	most := int64(MaxAnswer)
	if p.MaxAnswer > 0 {
		most = p.MaxAnswer
	}
	answer, err = io.ReadAll(io.LimitReader(reply.Body, most+1))
	if reply.StatusCode < 200 || reply.StatusCode > 299 {
		return nil, fmt.Errorf("it says %q: %.200q", reply.Status, answer)
	}
	if err != nil { // it may have taken it, and may not
		return nil, fmt.Errorf("its answer breaks off: %w", withoutURL(err))
	}
	return answer, nil
}

// withoutURL is an error of an HTTP client without the URL.
func withoutURL(err error) error {
	var with *url.Error
	if errors.As(err, &with) {
		err = with.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it does not answer in time")
	}
	return err
}

// Shown is a URL for messages: its scheme and host.
func Shown(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "a URL that is not valid"
	}
	return u.Scheme + "://" + u.Host
}
