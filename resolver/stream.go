package resolver

import (
	"telltale/querylog"
	"telltale/resolver/cache"
	"telltale/resolver/listen"
)

// A streamHandler answers the messages of one TCP connection.
type streamHandler struct {
	srv    *Server
	stream *listen.Stream
	q      query
	out    []byte
}

// NewStreamHandler returns what answers the messages of a connection.
func (s *Server) NewStreamHandler(st *listen.Stream) listen.StreamHandler {
	h := &streamHandler{srv: s, stream: st, out: make([]byte, 0, 4096)}
	h.q.cached = new(cache.Entry)
	return h
}

// ServeMessage answers one message.
func (h *streamHandler) ServeMessage(packet []byte) (ok bool) {
	h.srv.stats.queries.Add(1)
	return h.srv.catchPanic(func() {
		h.q.path.Client, h.q.transport = h.stream.Client(), querylog.TCP
		h.srv.prepare(&h.q, h.srv.policy(), h.srv.now())
		h.srv.serve(packet, &h.q, h.out, h, h)
	})
}

func (h *streamHandler) send(_ *query, reply []byte) { h.stream.Send(reply) }

func (h *streamHandler) log(q *query, reply []byte, source querylog.Source) {
	h.srv.append([]querylog.Record{q.record(reply, source, h.srv.now())})
}
