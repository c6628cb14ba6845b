package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"telltale/config"
	"telltale/resolver/listen/certs"
	"telltale/web"
	"telltale/web/access"
)

// accessPath is the file of who may use the API from the network.
func accessPath(cfg *config.Config) string { return filepath.Join(cfg.Data.Dir, "access.json") }

// openAccess reads who may use the API from the network. Where that cannot be read,
// nobody may, and the control socket works.
func (a *app) openAccess(cfg *config.Config) {
	a.access = access.Open(accessPath(cfg), access.Options{Logger: a.logger})
	if err := a.access.Err(); err != nil {
		a.logger.Error("NOBODY GETS IN BY THE NETWORK until this is put right; commands on this machine work", "error", err)
	}
}

// identityOf returns the identity of a device, by any word for it.
func (a *app) identityOf(_ context.Context, who string) (string, error) {
	all, ids := a.knownDevices()
	d, ok := findDevice(all, ids, who)
	if !ok {
		return "", web.NotFound(fmt.Errorf("no device %q is known; 'telltale devices' lists them", who))
	}
	return d.Device, nil
}

// consoleURLs returns by which addresses a browser reaches the console; none where
// web.listen is not set.
func (a *app) consoleURLs() (all []string) {
	if a.network == nil {
		return nil
	}
	a.network.mu.Lock()
	w := a.network.settings
	a.network.mu.Unlock()
	scheme := "http"
	if w.TLS != "none" {
		scheme = "https"
	}
	add := func(host string, port uint16) {
		if u := scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(port))) + w.Path + "/"; !slices.Contains(all, u) {
			all = append(all, u)
		}
	}
	for _, at := range a.network.addrs() {
		if !at.Addr().IsLoopback() {
			for _, h := range w.Hosts {
				add(h, at.Port())
			}
		}
		if !at.Addr().IsUnspecified() {
			add(at.Addr().String(), at.Port())
			continue
		}
		for _, own := range certs.MachineAddresses() {
			if own.Is4() == at.Addr().Is4() && !own.IsLoopback() && own.Zone() == "" && !own.IsLinkLocalUnicast() {
				add(own.String(), at.Port())
			}
		}
		if len(all) == 0 {
			add("localhost", at.Port())
		}
	}
	return all
}

func (a *app) consoleStatus() web.Console {
	c := web.Console{URLs: append([]string{}, a.consoleURLs()...), NeedsSetUp: a.access.NeedsSetUp()}
	if err := a.access.Err(); err != nil {
		c.Problem = err.Error()
	}
	return c
}

// console says why nobody gets in by the network.
func (d *doctor) console(c *web.Console) {
	if c.Problem != "" {
		d.finds(stateWrong, "web-closed", "", c.Problem, "put that file right, as it says (docs/web.md)")
	}
	switch {
	case len(c.URLs) == 0:
	case c.NeedsSetUp && c.Problem == "":
		d.says("web", "the console answers at %s, and nobody has an account: 'telltale web link' makes the first", c.URLs[0])
	default:
		d.says("web", "the console answers at %s", c.URLs[0])
	}
}

// linkURLs returns by which addresses a browser opens a link. What is behind # stays in
// the browser.
func (a *app) linkURLs(secret string) []string {
	all := a.consoleURLs()
	for i := range all {
		all[i] += "#/setup/" + secret
	}
	return all
}

// welcomeToConsole says where the console is, and how the first account is made.
func (a *app) welcomeToConsole(out io.Writer) {
	urls := a.consoleURLs()
	if len(urls) == 0 {
		return
	}
	if !a.access.NeedsSetUp() {
		fmt.Fprintf(out, "Console:           %s\n", urls[0])
		return
	}
	secret, _, err := a.access.NewLink("")
	if err != nil {
		a.logger.Error("there is no link to set up the console", "error", err)
		return
	}
	fmt.Fprintf(out, "Set up the console: open this within an hour; it works once ('telltale web link' makes another)\n")
	for _, u := range a.linkURLs(secret) {
		fmt.Fprintf(out, "                   %s\n", u)
	}
}

// forgetInAccounts takes devices away from accounts that see them. Where the accounts
// cannot be read, whoever puts them right finds an identity that is nobody's.
func (a *app) forgetInAccounts(gone map[string]bool) error {
	if a.access.Err() != nil {
		return nil
	}
	return a.access.Forget(gone)
}
