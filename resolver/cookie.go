package resolver

import (
	"crypto/rand"
	"encoding/binary"

	"github.com/dchest/siphash"
)

// cookies makes server cookies (RFC 7873, in the form of RFC 9018, 4.1). No
// reply depends on a cookie here; it lets a client tell our replies from
// forgeries.
type cookies struct {
	key0, key1 uint64
}

const (
	clientCookie = 8
	fullCookie   = clientCookie + 16
)

func newCookies() cookies {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return cookies{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
}

// answer returns the COOKIE option for the reply to q; nil if q has none. It
// lies in q.
func (c *cookies) answer(q *query) []byte {
	sent := q.Cookie()
	if len(sent) == 0 {
		return nil
	}
	b := append(q.serverCookie[:0], sent[:clientCookie]...)
	b = append(b, 1, 0, 0, 0) // version, reserved
	b = binary.BigEndian.AppendUint32(b, uint32(q.received.Unix()))
	var room [fullCookie + 16]byte
	signed, client := append(room[:0], b...), q.path.Client.Addr()
	if client.Is4() {
		a := client.As4()
		signed = append(signed, a[:]...)
	} else {
		a := client.As16()
		signed = append(signed, a[:]...)
	}
	return binary.LittleEndian.AppendUint64(b, siphash.Hash(c.key0, c.key1, signed))
}
