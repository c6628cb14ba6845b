package peerlogs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"telltale/dnswire"
)

// Exchanges put a query and the reply to it together, where a log has both as DNS messages.
type exchanges struct {
	chain
	backlog
	queries bool // a client's query was in it
	byKey   map[string]*exchange
}

// An exchange is a query whose reply may still come; or a reply where the log has no
// queries.
type exchange struct {
	waitingLookup
	key string // what its reply has, too
}

// seen takes over a message: a query waits for its reply, and a reply ends that.
func (x *exchanges) seen(q *exchange, reply bool) {
	if !reply {
		x.queries = true
	} else if before := x.byKey[q.key]; before != nil {
		before.Rcode, before.done = q.Rcode, true
		before.Elapsed = q.Elapsed
		return
	} else if x.queries {
		return // its query was taken long before
	}
	x.wait(&q.waitingLookup, func() {
		if x.byKey[q.key] == q {
			delete(x.byKey, q.key)
		}
	})
	if x.byKey == nil {
		x.byKey = map[string]*exchange{}
	}
	x.byKey[q.key] = q
}

// question takes over the question of a packet.
func (q *exchange) question(packet []byte) error {
	if len(packet) < 12 {
		return errors.New("it has no DNS message")
	}
	if binary.BigEndian.Uint16(packet[4:]) != 1 {
		return errors.New("the DNS message has not one question")
	}
	end, err := q.Name.Read(packet, 12)
	if err != nil || len(packet) < end+4 {
		return errors.New("the DNS message is damaged")
	}
	q.Type = binary.BigEndian.Uint16(packet[end:])
	if class := binary.BigEndian.Uint16(packet[end+2:]); class != dnswire.ClassIN {
		return fmt.Errorf("class %d is not the Internet's", class)
	}
	return nil
}
