package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// PortError says that an address cannot be listened on.
type PortError struct {
	Addr   netip.AddrPort
	Err    error
	Holder string // who has the port, if that can be known
}

// Error says what is so and what to do.
func (e *PortError) Error() string { return e.Cause() + ". To do: " + e.Cure() }

// Cause says why the address cannot be listened on.
func (e *PortError) Cause() string {
	cause := fmt.Sprintf("cannot listen on %s: %v", e.Addr, e.Err)
	if e.Holder != "" && !errors.Is(e.Err, syscall.EACCES) {
		cause += "; the port is held by " + e.Holder
	}
	if e.resolved() {
		cause += ", the stub of systemd-resolved"
	}
	return cause
}

// Cure says what to do.
func (e *PortError) Cure() string {
	switch {
	case errors.Is(e.Err, syscall.EACCES):
		return "a port below 1024 needs the capability CAP_NET_BIND_SERVICE (setcap cap_net_bind_service=+ep telltale), " +
			"or the setting net.ipv4.ip_unprivileged_port_start=53, or another port under listen in the settings"
	case e.resolved():
		return "set DNSStubListener=no in /etc/systemd/resolved.conf and restart systemd-resolved, " +
			"or set listen.dns to this machine's own address instead of all addresses"
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		return "set listen.dns to an address that this machine has"
	case e.Holder != "":
		return "stop or move that program, or set listen.dns to an address or port that it does not use"
	}
	return "find out who has the port (as root: ss -lunpt), and stop or move it, or set listen.dns to an address or port that is free"
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
