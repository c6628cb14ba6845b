package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/atomicfile"
	"telltale/config"
	"telltale/evidence/geo"
)

// geoNames are the files that are fetched from destinations.source, by what they are asked
// for.
var geoNames = map[geo.Kind]string{geo.ASN: "origin-asn.mmdb", geo.Country: "server-country.mmdb", geo.Registered: "iptoasn-country.mmdb"}

// geoTimeout is how long all of an update may take.
const geoTimeout = 20 * time.Minute

// A geoLine is what is said of one database.
type geoLine struct {
	geo.Source
	Path  string `json:"path"`
	URL   string `json:"url,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
	State string `json:"state"` // used, fetched, unchanged or failed
	Error string `json:"error,omitempty"`
}

func (cl *cli) newGeo() *cobra.Command {
	c := &cobra.Command{
		Use:   "geo",
		Short: "Databases that say whose addresses are: show them, fetch free ones",
		Long: `Databases (MMDB) that say which operator's network an address is in, and in which
country: 'telltale destinations' is said by them. They are files; nobody is asked over
the network whose an address is. docs/evidence.md says what they can show and what not.`,
	}
	c.AddCommand(cl.newGeoShow(), cl.newGeoUpdate())
	return c
}

func (cl *cli) newGeoShow() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:     "show",
		Short:   "Show which databases are used, of which date, and what bears on them",
		Example: "  telltale geo show",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			files := geoFiles(cfg)
			var failed error
			for _, kind := range append(slices.Clip(geo.Kinds), geo.Cloud) {
				for _, path := range files[kind] {
					line := geoLine{Source: geo.Source{Kind: kind, File: filepath.Base(path)}, Path: path, State: "used"}
					set, err := geo.Open(geo.Files{kind: {path}})
					if err != nil {
						line.State, line.Error = "failed", err.Error()
						failed = errSilent
					} else {
						line.Source = set.Sources()[0]
					}
					if err := cl.showGeo(&line); err != nil {
						return err
					}
				}
			}
			set, _ := geo.Open(files) // what is wrong is said above
			for _, caveat := range set.Caveats(time.Now()) {
				fmt.Fprintln(cl.err, printable(caveat))
			}
			return failed
		},
	})
}

func (cl *cli) newGeoUpdate() *cobra.Command {
	force := false
	c := cl.addJSON(&cobra.Command{
		Use:   "update",
		Short: "Fetch free databases of addresses, and use them from then on",
		Long: `Fetch three databases from destinations.source: of operators (origin-asn.mmdb), of
where addresses of servers are (server-country.mmdb), and of where networks are
registered (iptoasn-country.mmdb). Unless that is set, it is the releases of the
project ip-location-db. Each may be used as its project says: look at the README
at https://github.com/sapics/ip-location-db. They are kept in "geo" in data.dir, and
used where the settings name no others. And from destinations.clouds the ranges that
Amazon, Google and Oracle publish of their clouds, by which an address is in one of
their regions.

Each is read through before it takes the place of the one that is there; one that is
damaged, of another kind, or older stays out, and the old one is used. Nothing is sent
but the requests for these files. 'telltale destinations' asks them the next time.`,
		Example: "  telltale geo update",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), geoTimeout)
			defer cancel()
			var failed error
			for _, f := range geoFetches(cfg) {
				line := updateGeo(ctx, cfg, &f, force)
				if line.Error != "" {
					failed = errSilent
				}
				if err := cl.showGeo(&line); err != nil {
					return err
				}
			}
			if d := &cfg.Destinations; len(d.ASN)+len(d.Country)+len(d.Registered) > 0 {
				fmt.Fprintln(cl.err, "the databases are not used: the settings name others under destinations")
			}
			return failed
		},
	})
	c.Flags().BoolVar(&force, "force", false, "also where what is there is newer")
	return c
}

func (cl *cli) showGeo(g *geoLine) error {
	if cl.json {
		return cl.encoder().Encode(g)
	}
	text := fmt.Sprintf("%s: %s: %s", g.Kind, g.Path, g.State)
	switch {
	case g.Error != "":
		text += ": " + g.Error
	default:
		text += ", of " + cmp.Or(g.Built, "an unknown date")
		if g.Bytes > 0 {
			text += ", " + bytesText(g.Bytes) + " from " + g.URL
		}
	}
	_, err := fmt.Fprintln(cl.out, printable(text))
	return err
}

// A geoFetch is a file that an update fetches, and how it is read through: verify says what it is,
// and names its file.
type geoFetch struct {
	geo.Source
	url    string
	verify func(b []byte) (geo.Source, error)
}

// geoFetches are the files that an update fetches.
func geoFetches(cfg *config.Config) (all []geoFetch) {
	for _, kind := range geo.Kinds {
		path := geoPath(cfg, kind)
		all = append(all, geoFetch{geo.Source{Kind: kind, File: filepath.Base(path)}, strings.TrimSuffix(cfg.Destinations.Source, "/") + "/" + geoNames[kind],
			func(b []byte) (geo.Source, error) { return geo.Verify(kind, path, b) }})
	}
	for _, url := range cfg.Destinations.Clouds {
		all = append(all, geoFetch{geo.Source{Kind: geo.Cloud}, url, geo.VerifyCloud})
	}
	return all
}

// updateGeo fetches a file, and puts it in place of the one that is there.
func updateGeo(ctx context.Context, cfg *config.Config, f *geoFetch, force bool) geoLine {
	line := geoLine{Source: f.Source, URL: f.url, State: "failed"}
	b, err := fetchGeo(ctx, f.url)
	if err == nil {
		var fetched geo.Source
		if fetched, err = f.verify(b); err == nil {
			line.Source, line.Bytes = fetched, int64(len(b))
		}
	}
	if line.File != "" { // that of a cloud is named by what is in it
		line.Path = filepath.Join(cfg.Data.Dir, "geo", line.File)
	}
	if err == nil {
		line.State, err = keepGeo(line.Kind, line.Path, b, line.Source, force)
	}
	if err != nil {
		line.Error = fmt.Sprintf("%s: %v; what was there before is used", f.url, err)
	}
	return line
}

// fetchGeo fetches a file of bounded size. A server that was asked by HTTPS may not lead to
// one that is not.
func fetchGeo(ctx context.Context, url string) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	q.Header.Set("User-Agent", "telltale")
	client := &http.Client{CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return errors.New("it leads from one address to another, too often")
		}
		if via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
			return errors.New("it leads to an address without encryption")
		}
		return nil
	}}
	defer client.CloseIdleConnections()
	r, err := client.Do(q)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server says %s", r.Status)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, geo.MostBytes+1))
	if err == nil && len(b) > geo.MostBytes {
		err = fmt.Errorf("it is larger than %d MB", geo.MostBytes>>20)
	}
	return b, err
}

// keepGeo puts a database in its place, unless that one is newer.
func keepGeo(kind geo.Kind, path string, b []byte, fetched geo.Source, force bool) (state string, err error) {
	if have, err := geo.Open(geo.Files{kind: {path}}); err == nil && !force {
		switch built := have.Sources()[0].Built; {
		case built > fetched.Built:
			return "failed", fmt.Errorf("it is of %s, and the one that is there of %s: --force takes it", cmp.Or(fetched.Built, "an unknown date"), built)
		case built == fetched.Built && built != "":
			return "unchanged", nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "failed", err
	}
	if err := atomicfile.Write(path, b, 0o644); err != nil { // the server's user may be another
		return "failed", err
	}
	return "fetched", nil
}
