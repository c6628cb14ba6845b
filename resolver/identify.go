package resolver

// maxIdentifying bounds the queries that wait for who asks them. A device's first
// query from a new address waits for milliseconds; strangers who make up
// addresses may take all places, and then a query is decided as a stranger's.
const maxIdentifying = 256

// mayIdentify reports whether nobody knows yet who asks q, and somebody can say.
func (s *Server) mayIdentify(q *query) bool { return q.binding == nil && s.identifyClient != nil }

// identify finds out who asks q before it is decided, where it may matter: a known
// device may have rules of its own, and keeps what it gets
// as long as a TTL lasts. It returns false where q is to be decided as it is.
func (s *Server) identify(q *query, later replyWriter) bool {
	if !s.byDevice() {
		return false
	}
	select {
	case s.identifying <- struct{}{}:
	default:
		return false
	}
	w := s.newWaiter(q, later)
	s.work.Go(func() {
		defer func() { <-s.identifying }()
		s.catchPanic(func() {
			w.binding = s.identifyClient(w.path.Client.Addr())
			if w.clientID != "" {
				w.binding = s.named(w.clientID, w.binding)
			}
			reply, source := s.answerNow(w.dst[:0], &w.query)
			w.answered = true // here, or by what it waits for next
			if source == 0 {
				s.wait(&w.query, w.out, w.out)
				return
			}
			s.finish(&w.query, reply, source, w.out)
		})
		s.release(w)
	})
	return true
}
