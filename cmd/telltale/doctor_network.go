package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"telltale/config"
	"telltale/offered"
	"telltale/sorting"
	"telltale/web"
)

// networkWait is how long a network has to say what it hands out.
const networkWait = 4 * time.Second

// foreignDNS is the finding of a DNS server beside Telltale.
const foreignDNS = "network-foreign-dns"

// network asks the networks of this machine which DNS servers they hand out to devices. A
// server that runs is told, for its ledger.
func (d *doctor) network(ctx context.Context, running *config.Config) {
	interfaces, err := net.Interfaces()
	if err != nil {
		d.finds(stateWarning, "network-unasked", "", err.Error(), "run this as root, on the machine itself")
		return
	}
	asking, cancel := context.WithTimeout(ctx, networkWait)
	defer cancel()
	type result struct {
		on    string
		found []offered.Server
		err   error
	}
	results := make(chan result)
	asked := 0
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagBroadcast == 0 || len(i.HardwareAddr) != 6 || !hasAddress(i) {
			continue
		}
		asked++
		go func() {
			found, err := offered.Ask(asking, i)
			results <- result{i.Name, found, err}
		}()
	}
	var all []offered.Server
	var silent []string
	unasked := false
	for range asked {
		r := <-results
		unasked = unasked || r.err != nil
		switch {
		case errors.Is(r.err, os.ErrPermission):
			d.finds(stateWarning, "network-unasked", r.on, fmt.Sprintf("%s could not be asked: it needs raw sockets", r.on), "run this as root: sudo telltale doctor --network")
		case r.err != nil:
			d.finds(stateWarning, "network-unasked", r.on, fmt.Sprintf("%s could not be asked: %v", r.on, r.err), "run this as root, on the machine itself, on Linux")
		case len(r.found) == 0:
			silent = append(silent, r.on)
		}
		all = append(all, r.found...)
	}
	slices.Sort(silent)
	if len(silent) > 0 {
		d.says("network", "nobody hands out a DNS server on %s, as far as could be heard in %v", strings.Join(silent, ", "), networkWait)
	}
	d.offered(all, everyOwnAddress())
	if running != nil && asked > 0 && !unasked {
		d.tell(ctx, running)
	}
}

// tell has the running server write into its ledger what was found of the network.
func (d *doctor) tell(ctx context.Context, running *config.Config) {
	told := web.NetworkFindings{Findings: slices.DeleteFunc(slices.Clone(d.findings), func(f web.Finding) bool { return f.Code != foreignDNS })}
	if err := newClient(running).do(ctx, http.MethodPut, "/findings/network", told, nil); err != nil {
		d.finds(stateWarning, "network-untold", "", fmt.Sprintf("the ledger does not have what was found of the network: %v", err), "run it again when the server answers")
	}
}

// offered says which of the DNS servers that are handed out are not this machine.
func (d *doctor) offered(all []offered.Server, own []netip.Addr) {
	sorting.By(all, func(a, b offered.Server) int { return strings.Compare(offeredText(&a), offeredText(&b)) })
	for i := range all {
		s := &all[i]
		if slices.Contains(own, s.Addr) {
			d.says("network", "%s: that is this machine", offeredText(s))
			continue
		}
		cure := "let it hand out this machine's address alone (docs/routers.md); a second server is no reserve, devices ask both"
		if s.Way != offered.DHCP {
			cure = "let it announce this machine's IPv6 address alone, or no DNS server for IPv6 (docs/routers.md)"
		}
		d.finds(stateWarning, "network-foreign-dns", s.Addr.String()+" by "+s.Way.String(), offeredText(s)+": devices that ask it are not blocked, and not in the log", cure)
	}
}

// offeredText says who hands out which DNS server, how and where.
func offeredText(s *offered.Server) string {
	return fmt.Sprintf("%s (%s) on %s hands out %s as DNS server, by %s", s.From, s.MAC, s.Interface, s.Addr, s.Way)
}

func hasAddress(i net.Interface) bool {
	addrs, err := i.Addrs()
	return err == nil && len(addrs) > 0
}

// everyOwnAddress are all addresses of this machine, link-local ones without zones.
func everyOwnAddress() (all []netip.Addr) {
	found, _ := net.InterfaceAddrs()
	for _, n := range found {
		if p, err := netip.ParsePrefix(n.String()); err == nil {
			all = append(all, p.Addr().Unmap().WithZone(""))
		}
	}
	return all
}
