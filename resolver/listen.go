package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// A listener is one address to answer on, over UDP and TCP.
type listener struct {
	addr netip.AddrPort
	udp  []udpConn
	tcp  *net.TCPListener
}

// PortError says that an address cannot be listened on.
type PortError struct {
	Addr   netip.AddrPort
	Err    error
	Holder string // who has the port, if that can be known
}

func (e *PortError) Error() string {
	msg := fmt.Sprintf("cannot listen on %s: %v", e.Addr, e.Err)
	switch {
	case errors.Is(e.Err, syscall.EACCES):
		msg += "; a port below 1024 needs the capability CAP_NET_BIND_SERVICE (setcap cap_net_bind_service=+ep telltale), " +
			"or the setting net.ipv4.ip_unprivileged_port_start=53, or another port in listen.dns"
	case e.Holder != "":
		msg += "; the port is held by " + e.Holder
	}
	if e.resolved() {
		msg += ". That is the stub of systemd-resolved: set DNSStubListener=no in /etc/systemd/resolved.conf and restart it, " +
			"or set listen.dns to this machine's own address instead of all addresses"
	}
	return msg
}

func (e *PortError) Unwrap() error { return e.Err }

// resolved reports whether it is systemd-resolved's stub that has the port. Where
// the holder cannot be known, it is taken to be that if it runs and something is
// at the stub's address.
func (e *PortError) resolved() bool {
	switch {
	case !errors.Is(e.Err, syscall.EADDRINUSE) || e.Addr.Port() != 53:
		return false
	case e.Holder != "":
		return strings.HasPrefix(e.Holder, "systemd-resolve")
	}
	_, err := os.Stat(stubResolvers)
	return err == nil && stubRuns()
}

// stubResolvers is written by systemd-resolved while it runs.
const stubResolvers = "/run/systemd/resolve/stub-resolv.conf"

// stubRuns reports whether something is at the address of systemd-resolved's stub
// listener.
func stubRuns() bool {
	c, err := net.ListenPacket("udp", "127.0.0.53:53")
	if err == nil {
		c.Close()
		return false
	}
	return errors.Is(err, syscall.EADDRINUSE)
}

// portTries is how often a port is chosen anew that is free for UDP and taken
// for TCP.
const portTries = 20

// listen binds all addresses, so that a server that starts answers on all.
func (s *Server) listen(addrs []netip.AddrPort, readers int) error {
	if readers == 0 {
		readers = min(runtime.NumCPU(), 4) // not GOMAXPROCS, which leaves room for others
	}
	for _, addr := range addrs {
		var l *listener
		var err error
		for try := 0; l == nil && try < portTries; try++ {
			if l, err = bindBoth(addr, readers); err != nil && addr.Port() != 0 {
				break
			}
		}
		if errors.Is(err, syscall.EAFNOSUPPORT) && addr.Addr().IsUnspecified() && len(addrs) > 1 {
			s.logger.Warn("this machine has no such addresses: not listening there", "listen", addr)
			continue
		}
		if err != nil {
			return err
		}
		for _, c := range l.udp {
			c.srv = s
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

func bindBoth(addr netip.AddrPort, readers int) (*listener, error) {
	udp, bound, err := listenUDP(addr, readers)
	if err != nil {
		return nil, &PortError{Addr: addr, Err: err, Holder: portHolder("udp", addr)}
	}
	l := &listener{addr: bound, udp: udp}
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6" // and IPv6 alone: IPv4 has a socket of its own
	}
	config := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: false}}
	tcp, err := config.Listen(context.Background(), network, bound.String())
	if err != nil {
		l.close()
		return nil, &PortError{Addr: addr, Err: err, Holder: portHolder("tcp", bound)}
	}
	l.tcp = tcp.(*net.TCPListener)
	return l, nil
}

func (l *listener) close() {
	for _, c := range l.udp {
		c.close()
	}
	if l.tcp != nil {
		l.tcp.Close()
	}
}

// wakeListeners ends all waiting on the listeners' sockets, which stay open for
// replies under way.
func (s *Server) wakeListeners() {
	for _, l := range s.listeners {
		for _, c := range l.udp {
			c.wake()
		}
		l.tcp.Close()
	}
	s.streams.stop()
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		l.close()
	}
}
