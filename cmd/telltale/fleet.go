package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"telltale/clock"
	"telltale/config"
	"telltale/fleet"
	"telltale/fleet/authority"
	"telltale/fleet/policy"
)

// This machine as a node of a fleet.

func (cl *cli) newFleet() *cobra.Command {
	c := &cobra.Command{
		Use:   "fleet",
		Short: "Join a fleet, or leave it",
		Long: `Join a fleet, or leave it. A node of a fleet sends what it logged to the center of the
fleet, and follows the center's lists and shared settings. It answers DNS and logs whether
the center is there or not. docs/fleet.md says how a fleet is set up.`,
	}
	c.AddCommand(cl.newFleetJoin(), cl.newFleetStatus(), cl.newFleetLeave())
	return c
}

func identityDir(cfg *config.Config) string { return filepath.Join(cfg.Data.Dir, "fleet") }

func (cl *cli) newFleetJoin() *cobra.Command {
	return &cobra.Command{
		Use:   "join INVITATION",
		Short: "Join the fleet of an invitation",
		Long: `Join the fleet of an invitation, which 'telltale center invite NODE' printed. This
machine makes a key, which never leaves it, and gets a certificate from the center. A
server that runs here takes part within seconds; no restart is needed.`,
		Example: "  telltale fleet join 'https://192.168.1.2:5390/attic/TOKEN/FINGERPRINT'",
		Args:    invitationArgs,
		RunE: func(c *cobra.Command, args []string) error {
			i, err := authority.ParseInvitation(strings.Join(args, " "))
			if err != nil {
				return err
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			if cfg.Node != "" && cfg.Node != i.Node {
				return fmt.Errorf("this machine is called %q in its log (the setting node), and the invitation is for %q: run 'telltale center invite %s' at the center, or change the setting", cfg.Node, i.Node, cfg.Node)
			}
			id, err := authority.Join(c.Context(), identityDir(cfg), i, nil)
			if err != nil {
				return err
			}
			if err := errors.Join(removeContact(cfg), removeForgotten(cfg), giveToOwner(identityDir(cfg), cfg.Data.Dir)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cl.out, "This machine is node %s of the fleet of %s.\n", id.Node, id.Centers[0])
			return err
		},
	}
}

// invitationArgs takes an invitation, also with the command in front of it that 'telltale
// center invite' prints.
func invitationArgs(c *cobra.Command, args []string) error {
	if n := len(args) - 1; n > 0 && strings.HasSuffix(strings.Join(args[:n], " "), c.CommandPath()) {
		args = args[n:]
	}
	return oneArg("invitation")(c, args)
}

func (cl *cli) newFleetLeave() *cobra.Command {
	return &cobra.Command{
		Use:   "leave",
		Short: "Leave the fleet",
		Long: `Leave the fleet: the key and the certificate are removed here, and nothing is sent any
more. What the center shared holds until the server's next start. The center keeps what it got; 'telltale center revoke NODE' there makes sure that
the certificate is worth nothing, wherever there may be a copy.`,
		Example: "  telltale fleet leave",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			node := authority.NodeName(identityDir(cfg))
			if node == "" {
				return authority.ErrNotJoined
			}
			for _, file := range authority.IdentityFiles {
				if err := os.Remove(filepath.Join(identityDir(cfg), file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			if err := errors.Join(removeContact(cfg), removeForgotten(cfg)); err != nil {
				return err
			}
			if err := policy.Use(cfg.PolicyDir(), ""); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			_, err = fmt.Fprintf(cl.out, "This machine is no node any more. Run 'telltale center revoke %s' at the center.\n", node)
			return err
		},
	}
}

// A fleetMember is this machine as a node that has joined.
type fleetMember struct {
	*authority.Identity
	client  *http.Client // for the centers alone
	centers []string     // addresses, the first to be asked first

	bandwidth *fleet.Bandwidth // of the log and of rows as they come; nil: no bound

	policy  *policy.Follower              // nil: this node does not follow
	shipper atomic.Pointer[fleet.Shipper] // nil: nothing is sent yet
	changed chan struct{}                 // of one: what the center is to know of this node is another now
}

// followFleet waits until this machine has joined a fleet, and takes part in it until ctx
// ends or it has left.
func (a *app) followFleet(ctx context.Context) {
	told := ""
	for {
		id, err := authority.OpenIdentity(identityDir(a.cfg.Load()), nil)
		if err == nil {
			err = checkNodeName(a.cfg.Load(), id.Node)
		}
		switch {
		case err == nil:
			a.takePart(ctx, id)
			told = ""
		case errors.Is(err, authority.ErrNotJoined) && len(a.cfg.Load().Fleet.Center) == 0: // no node
		case err.Error() != told:
			told = err.Error()
			a.logger.Error("this node takes no part in its fleet", "error", err)
		}
		if !clock.Sleep(ctx, joinedEvery) {
			return
		}
	}
}

const (
	joinedEvery = 3 * time.Second // how often is looked whether this machine joined or left
	renewEvery  = time.Hour       // how often is looked whether the certificate is to be renewed
)

// checkNodeName refuses to take part by another name than that of the log.
func checkNodeName(cfg *config.Config, joined string) error {
	if cfg.Node != "" && cfg.Node != joined {
		return fmt.Errorf("the setting node is %q, and this machine joined its fleet as %q: remove the setting, or join anew as %s", cfg.Node, joined, cfg.Node)
	}
	return nil
}

// takePart runs what a node does, until ctx ends or the node has left.
func (a *app) takePart(ctx context.Context, id *authority.Identity) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cfg := a.cfg.Load()
	client := id.Client()
	defer client.CloseIdleConnections()
	m := &fleetMember{Identity: id, client: client, centers: cfg.Fleet.Center, bandwidth: fleet.NewBandwidth(int(cfg.Fleet.Bandwidth)), changed: make(chan struct{}, 1)}
	if len(m.centers) == 0 {
		m.centers = id.Centers
	}
	a.logger.Info("this machine takes part in a fleet", "node", id.Node, "center", m.centers)
	var tasks sync.WaitGroup
	tasks.Go(func() { m.keepCertificate(ctx, a.logger) })
	if cfg.Fleet.Policy {
		m.policy = policy.NewFollower(policy.FollowerOptions{Dir: cfg.PolicyDir(), Client: m.client, Centers: m.centers, Apply: a.applyPolicy})
		tasks.Go(func() { m.policy.Run(ctx, func(st policy.Status) { a.tellPolicy(st); wake(m.changed) }) })
	}
	tasks.Go(func() { a.reportState(ctx, m) })
	tasks.Go(func() { m.ship(ctx, a) })
	tasks.Go(func() { m.handOn(ctx, a) })
	for clock.Sleep(ctx, joinedEvery) {
		if now, err := authority.OpenIdentity(identityDir(cfg), nil); err != nil || !now.Expires().Equal(id.Expires()) {
			a.logger.Info("this machine left its fleet, or joined anew", "node", id.Node)
			break
		}
	}
	stop()
	tasks.Wait()
	a.endShipping()
}

// keepCertificate renews the certificate before it ends.
func (m *fleetMember) keepCertificate(ctx context.Context, logger *slog.Logger) {
	for {
		switch renewed, err := m.RenewIfDue(ctx, m.client, m.centers); {
		case err != nil && ctx.Err() == nil:
			logger.Warn("the certificate of this node is not renewed, and is tried again", "ends", m.Expires(), "error", err)
		case renewed:
			logger.Info("the certificate of this node was renewed", "ends", m.Expires())
		}
		if !clock.Sleep(ctx, renewEvery) {
			return
		}
	}
}
