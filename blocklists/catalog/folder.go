package catalog

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

//go:embed schema.json
var schema []byte

// Schema is the JSON schema of what WriteJSON writes.
func Schema() []byte { return schema }

// listFiles are the lists of an export: their formats by the ends of their names.
var listFiles = []struct {
	end    string
	format Format
}{
	{"adguard.txt", "adblock"}, {"pihole.txt", "pihole"}, {"dnsmasq.conf", "dnsmasq"}, {"rpz", "rpz"},
	{"unbound.conf", "unbound"}, {"hosts", "hosts"}, {"domains.txt", "domains"},
}

// WriteFolder writes the catalogue into a folder as data for others: JSON and CSV,
// the schema, a licence file, what changed since an earlier edition (nil for none),
// and the names that are blocked as lists for other programs.
func (c *Catalog) WriteFolder(dir string, since *Document) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	d := c.Document()
	write := func(name string, fill func(io.Writer) error) error {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		return errors.Join(fill(f), f.Close())
	}
	err := errors.Join(
		write("catalogue.json", d.WriteJSON),
		write("catalogue.csv", d.WriteCSV),
		write("schema.json", func(w io.Writer) error { _, err := w.Write(schema); return err }),
		write("LICENSE", func(w io.Writer) error { _, err := io.WriteString(w, d.licenceText()); return err }),
	)
	if since != nil {
		err = errors.Join(err, write("CHANGES.md", func(w io.Writer) error { return WriteChanges(w, since, d) }))
	}
	for _, tier := range []string{"telemetry", "mixed"} {
		entries, _ := c.Tier(tier)
		for _, l := range listFiles {
			err = errors.Join(err, write(tier+"."+l.end, func(w io.Writer) error {
				return Export(w, l.format, fmt.Sprintf("Telltale: tier %s, edition %s", tier, d.Edition), entries, false)
			}))
		}
	}
	return err
}

func (d *Document) licenceText() string {
	return fmt.Sprintf(`SPDX-License-Identifier: %s

Telltale's catalogue, edition %s: the files beside this one.
Licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0

It holds facts and our own words on them. The documents that it cites have licences
of their own, which catalogue.json names where they are known; none of their text is here.
`, d.Licence, d.Edition)
}
