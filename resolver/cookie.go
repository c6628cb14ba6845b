package resolver

import (
	"crypto/rand"
	"encoding/binary"
	"time"

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

// answer returns the COOKIE option for the reply to q; nil if q has none.
func (c *cookies) answer(q *query) []byte {
	sent := q.Cookie()
	if len(sent) == 0 {
		return nil
	}
	return c.make([clientCookie]byte(sent), q.client.Addr().AsSlice(), q.received)
}

func (c *cookies) make(client [clientCookie]byte, addr []byte, now time.Time) []byte {
	b := make([]byte, 0, fullCookie+16)
	b = append(b, client[:]...)
	b = append(b, 1, 0, 0, 0) // version, reserved
	b = binary.BigEndian.AppendUint32(b, uint32(now.Unix()))
	hash := siphash.Hash(c.key0, c.key1, append(b, addr...))
	return binary.LittleEndian.AppendUint64(b[:16], hash)
}
