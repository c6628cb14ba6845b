package upstream

import (
	"time"

	"telltale/dnswire"
)

// A Query is a question under way on a shared socket.
type Query interface {
	// Question returns what is asked, also when the query has ended already.
	Question() *dnswire.Question
}

// A Receiver takes answers from shared sockets. It belongs to one goroutine.
type Receiver interface {
	// Answered ends q with a, which is valid until it returns. epoch is the
	// availability epoch in which q was asked. q may have been given to the fallback
	// before, and may even have ended: then a is late.
	Answered(q Query, a *Answer, epoch uint32, now time.Time)
	// Flush is called when all packets that came together have been looked at.
	Flush()
}

// SharedOptions are what shared sockets need beside a client.
type SharedOptions struct {
	Client *Client
	// NewReceiver returns a receiver for a goroutine of its own.
	NewReceiver func() Receiver
	// Fallback ends a query by Exchange, on a goroutine of its own.
	Fallback func(q Query, start Start)
	// CatchPanic runs f and survives a panic in it.
	CatchPanic func(f func()) (ok bool)
}
