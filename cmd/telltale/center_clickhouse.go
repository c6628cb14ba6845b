//go:build !small

package main

import (
	"context"
	"fmt"

	"telltale/config"
	"telltale/fleet/clickhouse"
)

// checkCenterStore checks the address of the server that has a center's merged log; "" is none.
func checkCenterStore(address string) error {
	if address == "" {
		return nil
	}
	if _, err := clickhouse.ParseAddress(address); err != nil {
		return fmt.Errorf("center.store: %w", err)
	}
	return nil
}

// openElsewhere opens a merged log that is in ClickHouse.
func openElsewhere(ctx context.Context, cfg *config.Config) (*openedLog, error) {
	address, err := clickhouse.ParseAddress(cfg.Center.Store)
	if err != nil {
		return nil, fmt.Errorf("center.store: %w", err)
	}
	r, done, err := clickhouse.OpenReader(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("center.store: %w", err)
	}
	return openedOf(ctx, &openedLog{Reader: r, done: done, cfg: cfg})
}
