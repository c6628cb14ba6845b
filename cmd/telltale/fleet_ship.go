package main

import (
	"context"

	"telltale/config"
	"telltale/fleet"
	"telltale/fleet/authority"
	"telltale/querylog"
)

// What a node sends to its center, and what becomes of it there.

// shipping returns which rows of the log of a machine travel: none where it has not joined a fleet.
func shipping(cfg *config.Config) querylog.Shipping {
	switch {
	case authority.NodeName(identityDir(cfg)) == "":
		return querylog.NothingShipped
	case cfg.Fleet.Unlisted:
		return querylog.AllShipped
	}
	return querylog.ListedShipped
}

// endShipping has the log of a machine that left its fleet not account any more for what was not sent. Where it joined anew, or the
// server ends, nothing changes.
func (a *app) endShipping() {
	cfg := a.cfg.Load()
	if a.background.Err() != nil || shipping(cfg) != querylog.NothingShipped {
		return
	}
	if err := a.log.Ship(a.background, querylog.NothingShipped); err != nil && a.background.Err() == nil {
		a.logger.Warn("rows that are deleted by age are still counted as not sent, until the next start", "error", err)
	}
}

// ship sends the log until ctx ends.
func (m *fleetMember) ship(ctx context.Context, a *app) {
	cfg := a.cfg.Load()
	r, err := querylog.OpenReader(cfg.Data.Dir)
	if err == nil {
		err = a.log.Ship(ctx, shipping(cfg))
	}
	if err != nil {
		if ctx.Err() == nil {
			a.logger.Error("the log is not sent to the center", "error", err)
		}
		return
	}
	s := fleet.NewShipper(fleet.ShipperOptions{
		Log: a.log, Reader: r, Node: m.Node, Centres: m.centers, Client: m.client,
		Forgotten: func() (*fleet.Forgetting, func() error, error) { return nextForgotten(cfg) }, Unlisted: cfg.Fleet.Unlisted, Bandwidth: m.bandwidth, Logger: a.logger,
	})
	m.shipper.Store(s)
	s.Run(ctx)
}

// handOn hands rows on as they come while somebody follows the merged log, until ctx ends.
func (m *fleetMember) handOn(ctx context.Context, a *app) {
	cfg := a.cfg.Load()
	fleet.NewLiveNode(fleet.LiveOptions{
		Open:    func() (*querylog.Reader, error) { return querylog.OpenReader(cfg.Data.Dir) },
		Centers: m.centers, Client: m.client, Unlisted: cfg.Fleet.Unlisted, Bandwidth: m.bandwidth, Logger: a.logger,
	}).Run(ctx)
}
