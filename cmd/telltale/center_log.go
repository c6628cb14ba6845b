package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"telltale/config"
	"telltale/fleet"
	"telltale/fleet/authority"
	"telltale/fleet/clickhouse"
	"telltale/querylog"
)

// The merged log of a center.

// mergedLogDir is where a center's log is, where that is SQLite.
func mergedLogDir(cfg *config.Config) string { return filepath.Join(cfg.Center.Dir, "log") }

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
	c.mux.Handle(fleet.RowsPath, r)
	c.mux.Handle(fleet.CursorPath, r)
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
	for pauseFor(ctx, time.Minute) {
		if err := c.store.Retain(ctx, time.Now()); err != nil && ctx.Err() == nil && !errors.Is(err, fleet.ErrNotRetained) {
			c.logger.Error("what is too old is not deleted from the merged log, and is tried again in an hour", "error", err)
		}
		if !pauseFor(ctx, time.Hour) {
			return
		}
	}
}
