//go:build !small

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"telltale/clock"
	"telltale/fleet"
	"telltale/fleet/authority"
	"telltale/fleet/clickhouse"
	"telltale/querylog"
)

// The merged log of a center.

// openStore opens the merged log of the settings.
func (c *center) openStore(ctx context.Context) (fleet.Store, error) {
	keep := logOptions(c.cfg).Retention
	if c.cfg.Center.Store == "" {
		o := querylog.Options{Dir: mergedLogDir(c.cfg), Node: nodeName(c.cfg), Retention: keep, Program: "center of telltale " + buildVersion(), Logger: c.logger}
		s, err := fleet.OpenSQLite(o)
		if err != nil {
			return nil, fmt.Errorf("center.dir: the merged log: %w", err)
		}
		return s, nil
	}
	address, err := clickhouse.ParseAddress(c.cfg.Center.Store)
	if err != nil {
		return nil, fmt.Errorf("center.store: %w", err)
	}
	s, err := clickhouse.Open(ctx, clickhouse.Options{Address: address, Keep: keep})
	if err != nil {
		return nil, fmt.Errorf("center.store: %w", err)
	}
	return s, nil
}

// takeLogs begins to take what nodes send. end stores what has come.
func (c *center) takeLogs(ctx context.Context) (end func() error, err error) {
	if c.store, err = c.openStore(ctx); err != nil {
		return nil, err
	}
	r := fleet.NewReceiver(fleet.ReceiverOptions{Store: c.store, Logger: c.logger, Node: func(req *http.Request) (string, error) {
		if node := authority.NodeOf(req.Context()); node != "" {
			return node, nil
		}
		return "", errors.New("rows are taken of nodes of this fleet alone")
	}})
	c.receiver = r
	c.mux.Handle(fleet.RowsPath, r)
	c.mux.Handle(fleet.CursorPath, r)
	c.mux.Handle(fleet.ForgetPath, r)
	c.live = fleet.NewLiveHub()
	c.mux.Handle(fleet.LivePath, c.live.Handler(requestNode, c.authority.Again))
	ctx, stop := context.WithCancel(ctx)
	var retaining sync.WaitGroup
	retaining.Go(func() { c.retain(ctx) })
	return func() error {
		stop()
		retaining.Wait()
		r.Close()
		return c.store.Close()
	}, nil
}

// retain deletes what is too old, once an hour, until ctx ends.
func (c *center) retain(ctx context.Context) {
	for clock.Sleep(ctx, time.Minute) {
		if err := c.store.Retain(ctx, time.Now()); err != nil && ctx.Err() == nil && !errors.Is(err, fleet.ErrNotRetained) {
			c.logger.Error("what is too old is not deleted from the merged log, and is tried again in an hour", "error", err)
		}
		if !clock.Sleep(ctx, time.Hour) {
			return
		}
	}
}

func (cl *cli) newCenterMigrate() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring the tables of center.store to this version",
		Long: `Bring the tables of a merged log in ClickHouse to this version of Telltale, on every
server of center.store, and make those that are missing. What is in them stays; back them
up first. A center does not start with tables of another version.

A merged log in SQLite needs no such command: it is brought forward as the center starts.`,
		Example: "  telltale center migrate",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			if cfg.Center.Store == "" {
				_, err := fmt.Fprintln(cl.out, "The merged log is SQLite (center.store is empty). It is brought forward as the center starts: there is nothing to do.")
				return err
			}
			address, err := clickhouse.ParseAddress(cfg.Center.Store)
			if err == nil {
				err = clickhouse.Migrate(c.Context(), address)
			}
			if err != nil {
				return fmt.Errorf("center.store: %w", err)
			}
			_, err = fmt.Fprintln(cl.out, "The tables of center.store are of this version.")
			return err
		},
	}
}
