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
	"time"

	"github.com/spf13/cobra"

	"telltale/atomicfile"
	"telltale/blocklists/catalog"
	"telltale/blocklists/subscribe"
	"telltale/config"
	"telltale/web"
)

var errNoCatalogueURL = errors.New("catalog.url is not set, so that only this program's edition is used: set it, and catalog.key beside it, to the address and the public key of whoever publishes a catalogue")

func (cl *cli) newCatalogEdition() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "edition",
		Short: "Show which edition of the catalogue is in force, and where later ones come from",
		Long: `Show the edition of the shipped lists that is in force, the one in this program,
the address that later ones are fetched from (catalog.url), by whose key they must
be signed (catalog.key), and how the last attempt ended.`,
		Example: "  telltale catalog edition\n  telltale catalog edition --json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			k, err := catalogueStatus(c.Context(), cfg)
			if err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(k)
			}
			_, err = fmt.Fprint(cl.out, catalogueText(k))
			return err
		},
	})
}

// catalogueStatus asks the running server, or else looks at what it left.
func catalogueStatus(ctx context.Context, cfg *config.Config) (k web.Catalogue, err error) {
	err = newClient(cfg).get(ctx, "/catalogue", &k)
	if !errors.Is(err, errStopped) {
		return k, err
	}
	e, notFetched := editionInForce(cfg)
	o := catalogueOptions(cfg, func() *catalog.Edition { return e })
	o.ReadOnly = true
	s, err := subscribe.New(o)
	if err != nil {
		return k, err
	}
	k = catalogueOf(e, s.Status())
	if notFetched != nil {
		k.Error = notFetched.Error()
	}
	return k, nil
}

// catalogueText says for a person what edition is in force.
func catalogueText(k web.Catalogue) string {
	var b strings.Builder
	from := "in this program"
	if k.Fetched {
		from = "fetched; that in the program is " + k.Program
	}
	fmt.Fprintf(&b, "edition %s (%s), %s\n", printable(k.Edition), k.Version, from)
	if k.URL == "" {
		b.WriteString("later editions are not fetched: catalog.url is not set\n")
		return b.String()
	}
	printPair(&b, "url", k.URL)
	printPair(&b, "key", k.Key)
	if k.Checked != nil {
		printPair(&b, "checked", when(*k.Checked))
	}
	if !k.Next.IsZero() {
		printPair(&b, "next", when(k.Next))
	}
	printPair(&b, "held back", catalogueHeld(&k))
	if k.Error != "" {
		printPair(&b, "failed", fmt.Sprintf("%s (%d attempts)", k.Error, k.Failures))
	}
	return b.String()
}

// catalogueHeld says what is held back, and what to do; "" for nothing.
func catalogueHeld(k *web.Catalogue) string {
	switch {
	case k.Held == "":
		return ""
	case k.Acceptable:
		return k.Held + " ('telltale catalog accept' takes it)"
	}
	return k.Held
}

func (cl *cli) newCatalogUpdate() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "update",
		Short: "Fetch a later edition of the catalogue now",
		Long: `Fetch the catalogue from catalog.url now instead of when it is due, once a day, and
put it in force. It must be signed by catalog.key, be later than the edition in
force, and have no mistake that 'telltale catalog check' would find; one that has
shrunk by half waits for 'telltale catalog accept'. Else nothing changes, and the
output says why; exit status 1. Without a running server it is fetched for the next
start, as the user whose the cache directory is.`,
		Example: "  telltale catalog update",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cl.changeCatalogue(c.Context(), "/catalogue/update", func(s *subscribe.Subscriber) (web.CatalogueUpdate, error) { return refreshCatalogue(c.Context(), s) })
		},
	})
}

func (cl *cli) newCatalogAccept() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:     "accept",
		Short:   "Put the edition of the catalogue in force that is held back",
		Long:    "Put the edition in force that was held back because it shrank: 'telltale catalog edition' shows it.",
		Example: "  telltale catalog accept",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cl.changeCatalogue(c.Context(), "/catalogue/accept", func(s *subscribe.Subscriber) (web.CatalogueUpdate, error) {
				return web.CatalogueUpdate{Outcome: subscribe.Updated.String()}, s.Accept(catalogueName)
			})
		},
	})
}

// changeCatalogue lets the running server do something, or does it for its next
// start, and says what came of it.
func (cl *cli) changeCatalogue(ctx context.Context, path string, stopped func(*subscribe.Subscriber) (web.CatalogueUpdate, error)) error {
	cfg, err := cl.load()
	if err != nil {
		return err
	}
	if cfg.Catalog.URL == "" {
		return errNoCatalogueURL
	}
	var u web.CatalogueUpdate
	err = newClient(cfg).do(ctx, http.MethodPost, path, nil, &u)
	if errors.Is(err, errStopped) {
		u, err = cl.changeStopped(cfg, stopped)
	}
	if err != nil {
		return err
	}
	if cl.json {
		err = cl.encoder().Encode(u)
	} else {
		_, err = fmt.Fprint(cl.out, updateText(&u))
	}
	if err == nil && u.Error != "" {
		return errSilent
	}
	return err
}

// changeStopped does what the server would do, where none runs.
func (cl *cli) changeStopped(cfg *config.Config, change func(*subscribe.Subscriber) (web.CatalogueUpdate, error)) (u web.CatalogueUpdate, err error) {
	if err := checkSameUser(cfg.Data.Dir, cfg.Cache.Dir); err != nil {
		return u, err
	}
	e := cl.editionOf(cfg)
	o := catalogueOptions(cfg, func() *catalog.Edition { return e })
	o.Logger = slog.New(slog.DiscardHandler)
	s, err := subscribe.New(o)
	if err != nil {
		return u, err
	}
	if u, err = change(s); err != nil {
		return u, err
	}
	u.Catalogue = catalogueOf(cl.editionOf(cfg), s.Status())
	return u, nil
}

// updateText says for a person how an update ended.
func updateText(u *web.CatalogueUpdate) string {
	in := fmt.Sprintf("edition %s is in force", printable(u.Catalogue.Edition))
	if u.Error != "" {
		return fmt.Sprintf("%s: %s; %s, as before\n", u.Outcome, printable(strings.TrimPrefix(u.Error, "the list ")), in)
	}
	return fmt.Sprintf("%s: %s\n", u.Outcome, in)
}

func (cl *cli) newCatalogPack() *cobra.Command {
	return &cobra.Command{
		Use:   "pack FOLDER FILE.zip",
		Short: "Pack a catalogue of your own to be signed and published",
		Long: `Check the catalogue in a folder (list files, tables, and a file named edition with
the day on which it is published), and write it as the one file that catalog.url
leads to. Each mistake is printed with file, line and what to do, and then nothing
is written. Sign it with minisign, and publish both files side by side.`,
		Example: "  telltale catalog pack ./catalogue catalogue.zip && minisign -Sm catalogue.zip",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage("a folder and the file to be written are expected")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return cl.pack(args[0], args[1]) },
	}
}

func (cl *cli) pack(folder, file string) error {
	if info, err := os.Stat(folder); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s: %w: name the folder that has the list files", folder, fs.ErrInvalid)
	}
	f, err := atomicfile.Create(filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", file, err)
	}
	problems, err := catalog.Pack(f, os.DirFS(folder), time.Now())
	if err != nil || len(problems) > 0 {
		atomicfile.Discard(f)
		if err != nil {
			return err
		}
		return cl.printProblems(folder, problems)
	}
	if err := f.Chmod(0o644); err != nil { // to be published
		atomicfile.Discard(f)
		return err
	}
	if err := atomicfile.Commit(f, file); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cl.out, "%s is written: 'minisign -Sm %s' signs it; publish it and %s.minisig side by side\n", printable(file), printable(file), printable(file))
	return err
}
