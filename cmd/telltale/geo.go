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
	// Ranges are how many of a cloud are there then.
	Ranges int    `json:"ranges,omitempty"`
	State  string `json:"state"` // used, fetched, added, unchanged or failed
	Error  string `json:"error,omitempty"`
}

func (cl *cli) newGeo() *cobra.Command {
	c := &cobra.Command{
		Use:   "geo",
		Short: "Databases that say whose addresses are: show them, fetch free ones",
		Long: `Databases (MMDB) that say which operator's network an address is in, and in which
country: 'telltale destinations' is said by them. They are files; nobody is asked over
the network whose an address is. docs/evidence.md says what they can show and what not.`,
	}
	c.AddCommand(cl.newGeoShow(), cl.newGeoUpdate(), cl.newGeoAdd())
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
Amazon, Google, Oracle, DigitalOcean and Linode publish of their clouds, by which an
address is in one of their regions. 'telltale geo add' has those of others.

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

func (cl *cli) newGeoAdd() *cobra.Command {
	force := false
	c := cl.addJSON(&cobra.Command{
		Use:   "add FILE...",
		Short: "Add the ranges of a cloud that you saved to a file: those of Azure and Alibaba",
		Long: `Add the ranges that an operator of a cloud publishes, from a file that you saved, for
those that have no address from which 'telltale geo update' could fetch them:

  Azure    "Azure IP Ranges and Service Tags - Public Cloud", of Microsoft's download
           page, whose address is another one each week
  Alibaba  what its API answers to DescribePublicIpAddress, for which it wants an
           account: one answer after the other in one file, of each region and page, as
           'aliyun vpc DescribePublicIpAddress --RegionId ap-southeast-1 --PageSize 100'
           prints them. Of a region with more than 100 ranges the further pages
           (--PageNumber 2 and so on) are wanted in the same file. Regions that are not in
           the file stay as they were added before

The forms of the operators that are fetched are read, too. A file that is damaged, or
of which a part is missing, stays out. Nothing is sent. Files that say no date have the
date of the day on which they are added.`,
		Example: "  telltale geo add ServiceTags_Public_20261123.json alibaba.json",
		Args:    args("the file of an operator of a cloud", 1, 20),
		RunE: func(_ *cobra.Command, paths []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var failed error
			for _, path := range paths {
				line := addGeo(cfg, path, force)
				if line.Error != "" {
					failed = errSilent
				}
				if err := cl.showGeo(&line); err != nil {
					return err
				}
			}
			return failed
		},
	})
	c.Flags().BoolVar(&force, "force", false, "also where what is there is newer")
	return c
}

// addGeo puts the ranges of a file in place of those that are there.
func addGeo(cfg *config.Config, path string, force bool) geoLine {
	line := geoLine{Source: geo.Source{Kind: geo.Cloud}, Path: path, State: "failed"}
	b, err := geo.Read(path)
	if err == nil {
		err = line.keepCloud(cfg, path, b, force)
	}
	if err != nil {
		line.State, line.Error = "failed", fmt.Sprintf("%v; nothing was replaced", err)
	} else if line.State == "fetched" {
		line.State = "added"
	}
	return line
}

// keepCloud puts the ranges of a cloud in place of those that are there.
func (g *geoLine) keepCloud(cfg *config.Config, from string, b []byte, force bool) (err error) {
	source, err := geo.VerifyCloud(from, b)
	if err != nil {
		return err
	}
	g.Source = source
	today := time.Now().UTC().Format(time.DateOnly)
	if g.Built == "" {
		g.Fetched = today
	}
	path := filepath.Join(cfg.Data.Dir, "geo", g.File)
	var have []byte
	haveDay := today
	if info, err := os.Stat(path); err == nil {
		haveDay = info.ModTime().UTC().Format(time.DateOnly)
		if have, err = geo.Read(path); err != nil {
			have = nil // it is damaged, and this one takes its place
		}
	}
	if b, g.Ranges, err = geo.AddRegions(g.File, have, haveDay, b, today); err != nil {
		return err
	}
	g.Path = path
	g.State, err = keepGeo(geo.Cloud, g.Path, b, g.Source, force)
	return err
}

func (cl *cli) showGeo(g *geoLine) error {
	if cl.json {
		return cl.encoder().Encode(g)
	}
	text := fmt.Sprintf("%s: %s: %s", g.Kind, cmp.Or(g.Path, "ranges"), g.State)
	switch {
	case g.Error != "":
		text += ": " + g.Error
	case g.State == "added":
		text += ", " + g.Date() + ", " + number(uint64(g.Ranges), "range") + " in all"
	default:
		if g.Built != "" || g.State != "fetched" {
			text += ", " + g.Date()
		}
		if g.Bytes > 0 {
			text += ", " + bytesText(g.Bytes) + " from " + g.URL
		}
	}
	_, err := fmt.Fprintln(cl.out, printable(text))
	return err
}

// A geoFetch is a file that an update fetches, and how it is read through: verify says what it is,
// and names its file. Without it, it is of a cloud.
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
		all = append(all, geoFetch{geo.Source{Kind: geo.Cloud}, url, nil})
	}
	return all
}

// updateGeo fetches a file, and puts it in place of the one that is there.
func updateGeo(ctx context.Context, cfg *config.Config, f *geoFetch, force bool) geoLine {
	line := geoLine{Source: f.Source, URL: f.url, State: "failed"}
	if f.File != "" {
		line.Path = filepath.Join(cfg.Data.Dir, "geo", f.File)
	}
	b, err := fetchGeo(ctx, f.url)
	switch {
	case err != nil:
	case f.verify == nil:
		if err = line.keepCloud(cfg, f.url, b, force); err == nil {
			line.Bytes = int64(len(b))
		}
	default:
		var fetched geo.Source
		if fetched, err = f.verify(b); err == nil {
			line.Source, line.Bytes = fetched, int64(len(b))
			line.State, err = keepGeo(line.Kind, line.Path, b, line.Source, force)
		}
	}
	if err != nil {
		line.State, line.Error = "failed", fmt.Sprintf("%s: %v; nothing was replaced", f.url, err)
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
