package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"

	"telltale/blocklists/catalog"
	"telltale/blocklists/subscribe"
	"telltale/config"
	"telltale/web"
)

// The edition of the catalogue that is in force: the later one of the program's own
// and the one that was fetched from catalog.url.

// catalogueName is what the catalogue is called among the files of its directory,
// and in the quality ledger.
const catalogueName = "catalogue"

// catalogueLists is the catalogue as something to be fetched; nothing where no URL
// is set.
func catalogueLists(cfg *config.Config) []subscribe.List {
	if cfg.Catalog.URL == "" {
		return nil
	}
	return []subscribe.List{{Name: catalogueName, URL: cfg.Catalog.URL, Key: cfg.Catalog.Key, Enabled: true}}
}

// catalogueOptions are those of what fetches the catalogue. inForce is asked when an
// edition has come.
func catalogueOptions(cfg *config.Config, inForce func() *catalog.Edition) subscribe.Options {
	return subscribe.Options{
		Dir: filepath.Join(cfg.Cache.Dir, catalogueName), Lists: catalogueLists(cfg), MaxSize: catalog.MaxPacked,
		Read: func(path string, l subscribe.List) (subscribe.Content, error) {
			e, err := openEdition(path, l.Key)
			if err != nil {
				return subscribe.Content{}, err
			}
			j, err := e.Judge(inForce())
			return subscribe.Content{Rules: j.Entries, Problem: j.Problem, Refusal: j.Refusal}, err
		},
	}
}

// openEdition opens the copy of an edition, if it is signed by the key. The file
// stays open as long as anything refers to the edition.
func openEdition(path, key string) (*catalog.Edition, error) {
	k, err := catalog.ParseKey(key)
	if err != nil {
		return nil, fmt.Errorf("catalog.key: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	size, signature, err := subscribe.SplitSigned(f)
	if err == nil {
		var e *catalog.Edition
		if e, err = catalog.ReadEdition(f, size, signature, k); err == nil {
			return e, nil
		}
	}
	f.Close()
	return nil, err
}

// editionInForce returns the edition that a server with these settings uses. The
// error says why that is the program's own, where one was fetched.
func editionInForce(cfg *config.Config) (*catalog.Edition, error) {
	shipped := catalog.Shipped()
	if cfg.Catalog.URL == "" {
		return shipped, nil
	}
	o := catalogueOptions(cfg, func() *catalog.Edition { return shipped })
	o.ReadOnly = true
	s, err := subscribe.New(o)
	if err != nil {
		return shipped, err
	}
	for _, f := range s.Files() {
		e, err := openEdition(f.Path, f.List.Key)
		if err != nil {
			return shipped, fmt.Errorf("the copy of the catalogue, %s: %w", f.Path, err)
		}
		if e.IsNewer(shipped) {
			return e, nil
		}
	}
	return shipped, nil
}

// edition is editionInForce for a command.
func (cl *cli) edition() *catalog.Edition {
	cfg, err := cl.load()
	if err != nil {
		fmt.Fprintf(cl.err, "telltale: the settings cannot be read, and what follows is of this program's edition of the catalogue: %v\n", err)
		return catalog.Shipped()
	}
	return cl.editionOf(cfg)
}

func (cl *cli) editionOf(cfg *config.Config) *catalog.Edition {
	e, err := editionInForce(cfg)
	if err == nil && cfg.Catalog.URL != "" && e.IsShipped() {
		_, err = os.ReadDir(filepath.Join(cfg.Cache.Dir, catalogueName)) // another user's may have a later one
		if os.IsNotExist(err) {
			err = nil
		}
	}
	if err != nil {
		fmt.Fprintf(cl.err, "telltale: what follows is of this program's edition of the catalogue: %v\n", err)
	}
	return e
}

// catalogue reads the entries of the edition in force.
func (cl *cli) catalogue() (*catalog.Catalog, error) { return cl.edition().Load() }

// openCatalogue prepares fetching the catalogue. It does not use the network.
func (a *app) openCatalogue(cfg *config.Config) (err error) {
	o := catalogueOptions(cfg, a.edition.Load)
	o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) { return a.server.Lookup(ctx, host) }
	o.Dial = new(net.Dialer).DialContext
	o.Changed = func(string) { wake(a.fetched) }
	o.Report, o.Logger = a.log.Report, a.logger
	a.catalogue, err = subscribe.New(o)
	return err
}

// chooseEdition makes the edition that a server with these settings uses the one in
// force, and returns the one before it. The lists are still those of before.
func (a *app) chooseEdition(cfg *config.Config) (before *catalog.Edition) {
	e, err := editionInForce(cfg)
	a.tellEditionFailed(err)
	if before = a.edition.Load(); before != nil && before.Name() == e.Name() {
		return before // and its text stays open
	}
	a.edition.Store(e)
	return before
}

// tellEditionFailed says why the edition in force is the program's own; nil for no
// reason.
func (a *app) tellEditionFailed(err error) {
	if err == nil {
		return
	}
	a.logger.Error("the fetched edition of the catalogue is not in force, the program's own is", "error", err)
	a.log.Report("list-failed", catalogueName, err.Error()+"; the program's own edition is in force")
}

// tellEdition says that another edition is in force than before.
func (a *app) tellEdition(before *catalog.Edition) {
	now := a.edition.Load()
	if now == before {
		return
	}
	a.logger.Info("another edition of the catalogue is in force", "edition", now.Name(), "before", before.Name())
	a.log.Report("catalogue", catalogueName, fmt.Sprintf("edition %s is in force instead of %s", now, before))
	debug.FreeOSMemory() // of the check
}

// updateCatalogue fetches the catalogue now, and puts what has come in force.
func (a *app) updateCatalogue(ctx context.Context) (web.CatalogueUpdate, error) {
	if a.cfg.Load().Catalog.URL == "" {
		return web.CatalogueUpdate{}, web.Invalid(errNoCatalogueURL)
	}
	u, err := refreshCatalogue(ctx, a.catalogue)
	if err == nil {
		err = a.applyLists()
	}
	u.Catalogue = a.catalogueStatus()
	return u, err
}

// refreshCatalogue fetches the catalogue, and says how that ended.
func refreshCatalogue(ctx context.Context, s *subscribe.Subscriber) (u web.CatalogueUpdate, err error) {
	err = s.Refresh(ctx, nil, func(p subscribe.Progress) {
		if p.Done {
			u.Outcome = p.Outcome.String()
			if p.Err != nil {
				u.Error = p.Err.Error()
			}
		}
	})
	return u, err
}

// acceptCatalogue puts the edition in force that is held back.
func (a *app) acceptCatalogue() (web.CatalogueUpdate, error) {
	if a.cfg.Load().Catalog.URL == "" {
		return web.CatalogueUpdate{}, web.Invalid(errNoCatalogueURL)
	}
	err := a.catalogue.Accept(catalogueName)
	if err == nil {
		err = a.applyLists()
	}
	return web.CatalogueUpdate{Catalogue: a.catalogueStatus(), Outcome: subscribe.Updated.String()}, err
}

func (a *app) catalogueStatus() web.Catalogue {
	return catalogueOf(a.edition.Load(), a.catalogue.Status())
}

// catalogueOf is what the API says of an edition in force, and of where later ones
// come from.
func catalogueOf(e *catalog.Edition, from []subscribe.Status) web.Catalogue {
	c := web.Catalogue{Edition: e.Name(), Version: e.Version(), Fetched: !e.IsShipped(), Program: catalog.Shipped().Name()}
	for i := range from {
		s := &from[i]
		c.URL, c.Key, c.Next, c.Failures = s.URL, s.Key, s.Next, s.Failures
		c.Error = s.Err
		if !s.Checked.IsZero() {
			checked := s.Checked.UTC()
			c.Checked = &checked
		}
		if s.Held != nil {
			c.Held, c.Acceptable = "the edition of "+when(s.Held.At)+" "+s.Held.Reason, !s.Held.NoList
			c.Error = ""
		}
	}
	return c
}
