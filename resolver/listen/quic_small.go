//go:build small

package listen

import (
	"errors"
	"net/netip"
)

// SpeaksQUIC reports whether this program was built with QUIC and HTTP/3.
const SpeaksQUIC = false

// A quicListener is of a program with QUIC: here there is none.
type quicListener struct{}

func (*quicListener) stop()  {}
func (*quicListener) close() {}

// listenQUIC refuses what cannot be: cmd does so before.
func (l *Listeners) listenQUIC() error {
	if len(l.options.QUIC) > 0 {
		return errors.New("this program was built without QUIC (-tags small)")
	}
	return nil
}

// listenHTTP3 does nothing: HTTPS is without HTTP/3.
func (w *web) listenHTTP3(netip.AddrPort) error { return nil }

func (l *Listeners) startQUIC() {}

// QUICAddrs returns none.
func (l *Listeners) QUICAddrs(bool) []netip.AddrPort { return nil }
