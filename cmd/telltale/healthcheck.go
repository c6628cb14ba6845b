package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/dnswire"
	"telltale/resolver"
	"telltale/web"
)

func (cl *cli) newHealthcheck() *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the server of these settings for a name of ours; exit status 0 if it answers",
		Long: `Ask the listener of these settings over UDP for ` + resolver.HealthName + `, which
any Telltale answers itself, without an upstream. Exit status 0 if a Telltale
answers within two seconds, 1 otherwise. The question is not logged, and the
answer tells nobody which version this is.`,
		Example: "  telltale healthcheck",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			addr, err := health(c.Context(), cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cl.out, "Telltale answers on %s\n", addr)
			return err
		},
	}
}

// health asks the first configured listener whether it is a Telltale's, and
// returns its address.
func health(ctx context.Context, cfg *config.Config) (netip.AddrPort, error) {
	if len(cfg.Listen.DNS) == 0 {
		return netip.AddrPort{}, errors.New("listen.dns names no address to ask")
	}
	addr := cfg.Listen.DNS[0]
	if addr.Port() == 0 { // the kernel chose one: only the server knows
		var st web.Status
		if err := newClient(cfg).get(ctx, "/status", &st); err != nil {
			return addr, err
		}
		addr, _ = netip.ParseAddrPort(st.Listen[0])
	}
	return addr, askHealth(ctx, addr)
}

// askHealth asks a listener the question that any Telltale answers by itself, and
// that no Telltale logs.
func askHealth(ctx context.Context, addr netip.AddrPort) error {
	if addr.Addr().IsUnspecified() {
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if addr.Addr().Is6() {
			loopback = netip.IPv6Loopback()
		}
		addr = netip.AddrPortFrom(loopback, addr.Port())
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "udp", addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	query := healthQuery()
	if _, err := conn.Write(query); err != nil {
		return err
	}
	for reply := make([]byte, 512); ; {
		n, err := conn.Read(reply)
		if err != nil {
			return fmt.Errorf("nobody answers on %s: %w", addr, err)
		}
		text, ok := healthText(query, reply[:n])
		switch {
		case ok && text == resolver.HealthText:
			return nil
		case ok:
			return fmt.Errorf("what answers on %s is no Telltale: it says %q", addr, text)
		case n >= len(query) && bytes.Equal(reply[:2], query[:2]) && reply[2]&0x80 != 0:
			return fmt.Errorf("what answers on %s is no Telltale: it does not know %s", addr, resolver.HealthName)
		}
	}
}

// healthQuery makes a TXT question for the name of ours.
func healthQuery() []byte {
	b := make([]byte, dnswire.HeaderLen, 64)
	rand.Read(b[:2])
	b[5] = 1
	b, _ = dnswire.AppendName(b, resolver.HealthName)
	b = binary.BigEndian.AppendUint16(b, dnswire.TypeTXT)
	return binary.BigEndian.AppendUint16(b, dnswire.ClassIN)
}

// healthText returns the text of the reply, if it is one to query.
func healthText(query, reply []byte) (string, bool) {
	const record = 2 + 2 + 2 + 4 + 2 // owner (a pointer), type, class, TTL, size
	at := len(query) + record
	if len(reply) <= at || reply[0] != query[0] || reply[1] != query[1] || reply[2]&0x80 == 0 || reply[7] != 1 {
		return "", false
	}
	n := int(reply[at])
	if len(reply) < at+1+n {
		return "", false
	}
	return string(reply[at+1 : at+1+n]), true
}
