package resolver

import (
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/listen"
)

// A streamHandler answers the messages of one connection or request. It has nothing
// else: most connections wait, most of the time.
type streamHandler struct {
	srv  *Server
	from listen.Correspondent
}

// NewStreamHandler returns what answers the messages that c sends.
func (s *Server) NewStreamHandler(c listen.Correspondent) listen.StreamHandler {
	return &streamHandler{s, c}
}

// transports are those of the log.
var transports = [...]querylog.Transport{
	listen.UDP: querylog.UDP, listen.TCP: querylog.TCP, listen.TLS: querylog.TLS, listen.HTTPS: querylog.HTTPS, listen.QUIC: querylog.QUIC,
}

// A streamQuery is what serving one message takes.
type streamQuery struct {
	query
	out []byte
}

func makeStreamQuery() any {
	q := &streamQuery{out: make([]byte, 0, 4096)}
	q.cached = new(cache.Entry)
	return q
}

// ServeMessage answers one message.
func (h *streamHandler) ServeMessage(packet []byte) (ok bool) {
	s := h.srv
	s.stats.messages.Add(1)
	return s.catchPanic(func() {
		q, arrival := s.streamQueries.Get().(*streamQuery), h.from.Arrival()
		q.path.Client, q.transport, q.arrival = arrival.Client, transports[arrival.Transport], arrival
		q.clientID = arrival.ClientID
		s.prepare(&q.query, s.policy(), s.now())
		s.serve(packet, &q.query, q.out, h, h)
		q.forget()
		s.streamQueries.Put(q)
	})
}

func (h *streamHandler) send(_ *query, reply []byte) { h.from.Send(reply) }

func (h *streamHandler) log(q *query, reply []byte, source querylog.Source) {
	h.srv.append([]querylog.Record{q.record(reply, source, h.srv.now())})
}
