package upstream

import (
	"net/netip"
	"slices"
	"strconv"

	"telltale/dnswire"
)

// The default gateway can be an upstream wherever it is: Server.Router. While there is none,
// the last one stays in use, as the last servers of a resolv.conf do: a route is gone for
// a moment whenever it changes.

// routerID names a Router: it stays as the address changes.
func (s *Server) routerID() string {
	id := "router"
	if s.Addr.Port() != 53 {
		id += ":" + strconv.Itoa(int(s.Addr.Port()))
	}
	if s.Transport != UDP {
		id = s.Transport.String() + "://" + id
	}
	return id
}

func isRouter(s Server) bool { return s.Router }

// lacksRouterLocked reports whether the default gateway is one of servers, and there was none yet.
func (u *Client) lacksRouterLocked(servers []Server) bool {
	return !u.router.IsValid() && slices.ContainsFunc(servers, isRouter)
}

// noRouter says why nobody is asked where the default gateway alone would be.
func noRouter() *Error {
	return &Error{dnswire.EDENotReady, "no upstream: router stands for the default gateway, and there is no default route", true}
}

// followGateway has the default gateway asked where it is, until the client is closed.
func (u *Client) followGateway(moved <-chan struct{}) {
	for {
		select {
		case <-u.ctx.Done():
			return
		case <-moved:
			u.moveRouter(u.gateway())
		}
	}
}

// moveRouter asks a default gateway at another address from now on. What the old one said of
// its own names is not so in another network.
func (u *Client) moveRouter(to netip.Addr) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !to.IsValid() || to == u.router || u.ctx.Err() != nil {
		return
	}
	from := u.router
	u.router = to
	general := slices.ContainsFunc(u.servers, isRouter)
	forward := slices.ContainsFunc(u.forwarded, func(f Forward) bool { return slices.ContainsFunc(f.Servers, isRouter) })
	if !general && !forward {
		return
	}
	u.log.Info("the router that is asked is another: the default route has changed", "router", to, "before", from)
	if general {
		u.swapLocked(u.servers, "configured")
	}
	if forward {
		u.setForwardsLocked(u.forwarded, u.forwards.Load().zones)
	}
	u.changed()
}
