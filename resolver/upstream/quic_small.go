//go:build small

package upstream

import (
	"context"
	"errors"
)

// errNoQUIC is why nothing is asked by QUIC. cmd refuses such upstreams before.
var errNoQUIC = errors.New("this program was built without QUIC (-tags small)")

func (u *Client) newQUIC(h *health, _ Server, retired <-chan struct{}) carrier {
	return u.newRequester(h, retired, func(context.Context) (requestConn, error) { return nil, errNoQUIC })
}

func (u *Client) newHTTP3(h *health, s Server, retired <-chan struct{}) carrier {
	return u.newQUIC(h, s, retired)
}

func isQUICTimeout(error) bool { return false }
