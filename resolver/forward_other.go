//go:build !linux

package resolver

// shortWay is not to be had where the kernel has no batches.
type shortWay struct{}

func newShortWay(*Server) *shortWay { return nil }

func (*shortWay) take(*flight, *asking) bool { return false }

func (*shortWay) close() {}

// An asking is the queries of one batch to an upstream.
type asking struct{}

func (*asking) leave() {}

func sendAll(s *Server, replies []departure) {
	for _, d := range replies {
		d.conn.send(d.q, d.reply)
	}
}
