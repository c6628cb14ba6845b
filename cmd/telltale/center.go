//go:build !small

package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/fleet"
	"telltale/fleet/authority"
	"telltale/fleet/policy"
	"telltale/fleet/roster"
)

// The command center: this machine keeps the log of a fleet, and says what holds on its
// nodes.

func (cl *cli) newCenter() *cobra.Command {
	c := &cobra.Command{
		Use:   "center",
		Short: "Keep the log of several nodes, and their policy in step, until told to stop",
		Long: `Keep the log of several nodes, and their policy in step, until told to stop.

A node is a machine that answers DNS by 'telltale serve' and has joined: 'telltale center
invite NODE' prints one line to run on it. It sends what it logged, and follows the list
files of this machine's lists.dir and the settings of center.share. It answers DNS and
logs whether the center is there or not.

The center answers no DNS. On a machine that is to do both, run both.`,
		Example: "  telltale center\n  telltale center invite attic",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return cl.serveCenter(c.Context(), func(*center) {}) },
	}
	c.AddCommand(cl.newCenterInvite(), cl.newCenterNodes(), cl.newCenterRollout(), cl.newCenterRevoke(), cl.newCenterFollow(), cl.newCenterPromote(), cl.newCenterForget(), cl.newCenterMigrate())
	return c
}

// A center is a running center of a fleet.
type center struct {
	cfg       *config.Config
	logger    *slog.Logger
	authority *authority.Authority
	mux       *http.ServeMux // for nodes that were admitted: authority.NodeOf says which
	server    *http.Server
	store     fleet.Store // the merged log
	live      *fleet.LiveHub
	listeners []net.Listener

	load    func() (*config.Config, error) // reads the settings anew
	policy  *policy.Publisher
	refused string // why what the files hold is not published; "" where it is
	roster  *roster.Roster

	role       *roleKeeper
	terms      *authority.Terms
	changeRole func() // ends what the center does, for it has another role
	leads      bool   // it was opened as the one that leads
	self       string // of this process alone
	damaged    bool   // the role on disk could not be read, and is replaced

	receiver         *fleet.Receiver // nil: this center does not lead
	started          time.Time
	isPolicyRefused  atomic.Bool   // refused is not ""
	strangersRefused atomic.Uint64 // requests
	metricsAddrs     []net.Addr
}

func authorityDir(cfg *config.Config) string { return filepath.Join(cfg.Center.Dir, "authority") }

// openAuthority opens the authority of the settings with authority.Open or with
// authority.OpenExisting, for commands beside the center.
func (cl *cli) openAuthority(open func(dir string, now func() time.Time) (*authority.Authority, error)) (*config.Config, *authority.Authority, error) {
	cfg, err := cl.load()
	if err != nil {
		return nil, nil, err
	}
	a, err := open(authorityDir(cfg), nil)
	if errors.Is(err, authority.ErrNoAuthority) {
		return nil, nil, fmt.Errorf("%s: %w", cfg.Center.Dir, err)
	}
	if err == nil {
		err = giveCenter(cfg) // also the folders that opening made
	}
	if err != nil {
		return nil, nil, fmt.Errorf("center.dir: %w", err)
	}
	return cfg, a, nil
}

// giveCenter gives what a command wrote of the center to the user that the center runs as.
func giveCenter(cfg *config.Config) error { return giveToOwner(cfg.Center.Dir, cfg.Data.Dir) }

// serveCenter runs the center until ctx ends, in the role that it has. ready is called each time that it answers.
func (cl *cli) serveCenter(ctx context.Context, ready func(*center)) error {
	cl.serving = true
	var listen []netip.AddrPort // as it was answered on before: 0 is a port that is free
	for {
		again, addrs, err := cl.serveInRole(ctx, listen, ready)
		if !again || err != nil || ctx.Err() != nil {
			return err
		}
		listen = addrs
	}
}

// serveInRole runs the center until ctx ends or it has another role, which again reports.
func (cl *cli) serveInRole(ctx context.Context, listen []netip.AddrPort, ready func(*center)) (again bool, addrs []netip.AddrPort, err error) {
	cfg, err := cl.loadStrictly()
	if err != nil {
		return false, nil, err
	}
	if listen != nil {
		cfg.Center.Listen = listen
	}
	ctx, change := context.WithCancelCause(ctx)
	defer change(nil)
	c := &center{cfg: cfg, mux: http.NewServeMux(), load: cl.loadStrictly, started: time.Now(), self: rand.Text(), changeRole: func() { change(errRoleChanged) }}
	err = cl.runCenter(ctx, c, ready)
	return errors.Is(context.Cause(ctx), errRoleChanged), c.addrs(), err
}

// errRoleChanged ends what a center does that has another role.
var errRoleChanged = errors.New("this center has another role")

// runCenter runs a center until ctx ends.
func (cl *cli) runCenter(ctx context.Context, c *center, ready func(*center)) (err error) {
	cfg := c.cfg
	if err := makeLists(cfg.Lists.Dir); err != nil {
		return err
	}
	if c.logger, _, err = cl.newLogger(cfg); err != nil {
		return err
	}
	if c.authority, err = authority.Open(authorityDir(cfg), nil); err != nil {
		return fmt.Errorf("center.dir: %w", err)
	}
	if err := c.openRole(); err != nil {
		return err
	}
	role := c.role.get()
	leads := role.leads()
	c.leads = leads
	c.role.changed = func() {
		c.logger.Error("ANOTHER CENTER WAS PROMOTED: this one leads no more, and answers no nodes ('telltale center follow ADDRESS' has it follow that one)")
		c.changeRole()
	}
	if leads {
		if err := errors.Join(c.openPublisher(), c.openRoster()); err != nil {
			return err
		}
		c.mux.HandleFunc("GET "+copyPath, c.serveCopy)
	}
	if err := c.listen(); err != nil {
		return err
	}
	end := func() error { return nil }
	if leads {
		if end, err = c.takeLogs(ctx); err != nil {
			c.closeListeners()
			return err
		}
	}
	if endCommands, err := c.serveCommands(); err != nil {
		c.logger.Warn("commands that ask the running center cannot", "error", err)
	} else {
		defer endCommands()
	}
	if leads {
		c.publish()
	}
	endMetrics, err := c.serveMetrics()
	if err != nil {
		c.closeListeners()
		return errors.Join(err, end())
	}
	defer endMetrics()
	if leads {
		fmt.Fprintf(cl.out, "The center of Telltale %s answers its nodes on %v.\n", buildVersion(), c.addrs())
	} else {
		fmt.Fprintf(cl.out, "The center of Telltale %s does not lead, and listens on %v. %s\n", buildVersion(), c.addrs(), role.String())
	}
	ready(c)
	return errors.Join(c.run(ctx), end())
}

// listen binds center.listen.
func (c *center) listen() error {
	for _, addr := range c.cfg.Center.Listen {
		l, err := net.Listen(networkOf(addr), addr.String())
		if err != nil {
			c.closeListeners()
			return fmt.Errorf("center.listen: %w (take another address or port, or end what has it)", err)
		}
		c.listeners = append(c.listeners, l)
	}
	if len(c.listeners) == 0 {
		return errors.New("center.listen is empty: no node can reach this center")
	}
	return nil
}

func (c *center) closeListeners() {
	for _, l := range c.listeners {
		l.Close()
	}
}

// addrs returns where it listens, with the ports that were chosen for 0.
func (c *center) addrs() (all []netip.AddrPort) {
	for _, l := range c.listeners {
		if at, ok := l.Addr().(*net.TCPAddr); ok {
			all = append(all, at.AddrPort())
		}
	}
	return all
}

// run serves until ctx ends.
func (c *center) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.server = &http.Server{
		Handler: inTime(c.front(c.authority.Handler(ofCenters(c.mux), c.tellJoining))), ConnState: newStrangers(c.isNode).connState, TLSConfig: c.authority.ServerTLS(),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog:    log.New(serverMessages{c.logger}, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
		HTTP2:       &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer stop()
	role := c.role.get()
	switch {
	case role.leads():
		tasks.Go(func() { c.followPolicy(ctx) })
		tasks.Go(func() { c.askPeers(ctx) })
	case len(role.Follows) > 0:
		tasks.Go(func() { c.followCenter(ctx) })
	}
	failed := make(chan error, len(c.listeners))
	for _, l := range c.listeners {
		go func() { failed <- c.server.ServeTLS(l, "", "") }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop() // ends held requests
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if c.server.Shutdown(end) != nil {
		c.server.Close()
	}
	return err
}

// isNode reports whether a connection's client is a node of this fleet.
func (c *center) isNode(conn *tls.Conn) bool {
	shown := conn.ConnectionState().PeerCertificates
	if len(shown) == 0 {
		return false
	}
	_, err := c.authority.Admit(shown[0])
	return err == nil
}

// tellJoining says who joined, and who was refused.
func (c *center) tellJoining(node, remote, what string, err error) {
	switch {
	case err != nil:
		c.strangersRefused.Add(1)
		c.logger.Warn("a node was refused", "node", node, "from", remote, "at", what, "why", err)
	case what == "join":
		c.logger.Info("a node joined", "node", node, "from", remote)
	default:
		c.logger.Info("a node's certificate was renewed", "node", node)
	}
}

func (cl *cli) newCenterInvite() *cobra.Command {
	lasts := time.Hour
	c := &cobra.Command{
		Use:   "invite NODE",
		Short: "Print the line by which a node joins",
		Long: `Print one line, which is run on the machine that is to be the node. It has a token that is
good once and for an hour, and the fingerprint of the center's key, by which the node
knows the center. NODE is what the machine is called in the merged log.

A node that joined already and joins anew has new certificates; the earlier ones end then.`,
		Example: "  telltale center invite attic",
		Args:    oneArg("name of a node"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, a, err := cl.openAuthority(authority.Open)
			if err != nil {
				return err
			}
			if err := checkLeads(cfg); err != nil {
				return err
			}
			if lasts <= 0 {
				return usage("--lasts is to be more than 0")
			}
			centers := cfg.Center.Address
			if len(centers) == 0 {
				centers = ownCenters(cfg.Center.Listen)
			}
			if len(centers) == 0 {
				return errors.New("by which address nodes reach this machine is not known: set center.address, for example to https://192.168.1.2:5390")
			}
			i, err := a.Invite(args[0], centers, lasts)
			if err != nil {
				return err
			}
			if err := giveCenter(cfg); err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(struct {
					Node    string    `json:"node"`
					Join    string    `json:"join"`
					Expires time.Time `json:"expires"`
				}{i.Node, i.String(), time.Now().Add(lasts).UTC()})
			}
			_, err = fmt.Fprintf(cl.out, "telltale fleet join '%s'\n", i)
			return err
		},
	}
	c.Flags().DurationVar(&lasts, "lasts", lasts, "how long the line is good")
	return cl.addJSON(c)
}

// ownCenters returns by which addresses of this machine nodes may reach its center.
func ownCenters(listen []netip.AddrPort) (all []string) {
	for _, on := range listen {
		if !on.Addr().IsUnspecified() {
			all = append(all, "https://"+on.String())
			continue
		}
		own, _ := net.InterfaceAddrs()
		for _, a := range own {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || p.Addr().Is4() != on.Addr().Is4() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() || len(all) == mostOwnCenters {
				continue
			}
			all = append(all, "https://"+netip.AddrPortFrom(p.Addr(), on.Port()).String())
		}
	}
	return all
}

// mostOwnCenters is how many addresses an invitation has that nobody chose.
const mostOwnCenters = 3

func (cl *cli) newCenterRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NODE",
		Short: "Refuse a node from now on",
		Long: `Refuse a node from now on, and end an invitation of that name. What it sent stays. The
node goes on answering DNS by the policy that it has; it may come back by a new invitation.`,
		Example: "  telltale center revoke attic",
		Args:    oneArg("name of a node"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, a, err := cl.openAuthority(authority.OpenExisting)
			if err != nil {
				return err
			}
			if err := checkLeads(cfg); err != nil {
				return err
			}
			if err := a.Revoke(args[0]); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if err := giveCenter(cfg); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cl.out, "Node %s is refused from now on.\n", args[0])
			return err
		},
	}
}
