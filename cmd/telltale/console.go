package main

import (
	"context"
	"fmt"
	"path/filepath"

	"telltale/config"
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

// linkURLs returns by which addresses a browser opens a link.
func (a *app) linkURLs(secret string) []string { return nil }
