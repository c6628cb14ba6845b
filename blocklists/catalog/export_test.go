package catalog

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

var exported = []Entry{
	{Name: "ads.example", listed: true},
	{Name: "alone.example", Exact: true, listed: true},
	{Name: "known.example", Tier: "essential"},
}

func exportText(t *testing.T, f Format, entries []Entry, all bool) string {
	t.Helper()
	var b strings.Builder
	if err := Export(&b, f, "Test", entries, all); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEachFormatIsAsItsReaderWantsIt(t *testing.T) {
	const head = "# Test\n# From Telltale's catalogue. Apache-2.0.\n"
	for _, test := range []struct {
		format Format
		want   string
	}{
		{"telltale", head + "# name: it and everything below it; =name: it alone\n# never blocked: known.example\n=alone.example\nads.example\n"},
		{"adblock", "! Test\n! From Telltale's catalogue. Apache-2.0.\n! for AdGuard Home, and others that read AdBlock rules for DNS\n! never blocked: known.example\n|alone.example^\n||ads.example^\n"},
		{"pihole", head + "# for Pi-hole 6, and 5 from 5.22 on: a name alone, and ||name^ for it and everything below it\n# never blocked: known.example\nalone.example\n||ads.example^\n"},
		{"hosts", head + "# for hosts files: each name alone, as they have no way to say what is below it\n# never blocked: known.example\n0.0.0.0 alone.example\n0.0.0.0 ads.example\n"},
		{"domains", head + "# for programs that block a name with everything below it\n# left out, as it is meant without what is below it: alone.example\n# never blocked: known.example\nads.example\n"},
		{"dnsmasq", head + "# for dnsmasq 2.86 and later: conf-file=, or a file of conf-dir\n# never blocked: known.example\nhost-record=alone.example,0.0.0.0,::\nlocal=/alone.example/\nserver=/*.alone.example/#\nlocal=/ads.example/\n"},
		{"rpz", "; Test\n; From Telltale's catalogue. Apache-2.0.\n; a response policy zone (BIND, Knot Resolver, PowerDNS Recursor, unbound)\n$TTL 300\n@ IN SOA localhost. hostmaster.localhost. 1 3600 600 86400 300\n@ IN NS localhost.\n; never blocked: known.example\nalone.example CNAME .\nads.example CNAME .\n*.ads.example CNAME .\n"},
		{"unbound", head + "# for unbound 1.10 and later: include: it outside of other clauses\nserver:\n# never blocked: known.example\nlocal-data: \"alone.example A 0.0.0.0\"\nlocal-data: \"alone.example AAAA ::\"\nlocal-zone: \"ads.example\" always_null\n"},
	} {
		if got := exportText(t, test.format, exported, false); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.format, got, test.want)
		}
	}
	if err := Export(&strings.Builder{}, "none", "Test", exported, false); err == nil {
		t.Error("a format that is not there was taken")
	}
}

// What a name above says already is left out where it would change what that name means.
func TestCoveredNamesAreNotExported(t *testing.T) {
	entries := []Entry{
		{Name: "ads.example", listed: true}, {Name: "ads.example", Exact: true, listed: true}, {Name: "x.ads.example", Exact: true, listed: true},
		{Name: "a.b.ads.example", listed: true}, {Name: "known.example"}, {Name: "a.known.example", listed: true},
	}
	for _, test := range []struct {
		format Format
		want   string
	}{
		{"telltale", "# never blocked: known.example\n=x.ads.example\na.b.ads.example\na.known.example\nads.example\n"},
		{"domains", "# never blocked: known.example\na.known.example\nads.example\n"},
		{"rpz", "; never blocked: known.example\na.known.example CNAME .\n*.a.known.example CNAME .\nads.example CNAME .\n*.ads.example CNAME .\n"},
		{"hosts", "# never blocked: known.example\n0.0.0.0 x.ads.example\n0.0.0.0 a.b.ads.example\n0.0.0.0 a.known.example\n0.0.0.0 ads.example\n"},
	} {
		if got := exportText(t, test.format, entries, false); !strings.HasSuffix(got, test.want) {
			t.Errorf("%s: got\n%s\nwant at its end\n%s", test.format, got, test.want)
		}
	}
}

// Telltale reads the whole catalogue back from each format, as no more and, but for
// what the format cannot say, no less than it is.
func TestWhatIsExportedIsReadBack(t *testing.T) {
	c := load(t)
	entries, _ := c.Tier("mixed")
	covers := map[string]bool{}
	for i := range entries {
		covers[entries[i].Name] = !entries[i].Exact || covers[entries[i].Name]
	}
	for _, f := range Formats {
		got, want := map[string]bool{}, map[string]bool{}
		for i := range entries {
			if !isCovered(covers, &entries[i], f == "hosts" || f == "telltale") {
				want[entries[i].String()] = true
			}
		}
		report := format.Parse(strings.NewReader(exportText(t, f, entries, false)), format.Options{Exact: f == "pihole"}, func(r *format.Rule) {
			name := string(dnswire.AppendText(nil, r.Name))
			switch {
			case r.Match == format.Below && r.Action == format.Allow: // behind the name with all below it
				delete(got, name)
				got["="+name] = true
			case r.Match == format.Below: // beside the name alone, in a zone
				delete(got, "="+name)
				got[name] = true
			case r.Match == format.Exact && !got[name]:
				got["="+name] = true
			case r.Match == format.Subtree:
				got[name] = true
			}
		})
		switch f {
		case "hosts":
			if len(got) != len(want) || report.BadTotal > 0 {
				t.Errorf("%s: got %d names, bad lines %v, want %d", f, len(got), report.Bad, len(want))
			}
			continue
		case "dnsmasq": // our own reader leaves host-record to dnsmasq
		default:
			if report.BadTotal > 0 {
				t.Errorf("%s: bad lines %v", f, report.Bad)
			}
		}
		for name := range got {
			if !want[name] {
				t.Errorf("%s: %s is read, and was not written", f, name)
			}
		}
		for name := range want {
			if !got[name] && !(strings.HasPrefix(name, "=") && f == "domains") {
				t.Errorf("%s: %s is not read", f, name)
			}
		}
	}
}

// The programs that the formats are for find no mistake in them.
func TestOthersReadWhatIsExported(t *testing.T) {
	c := load(t)
	entries, _ := c.Tier("mixed")
	for _, test := range []struct {
		format  Format
		program string
		args    []string // FILE is the exported one
		around  string   // a file that reads it, where one is needed
	}{
		{"rpz", "named-checkzone", []string{"rpz.example", "FILE"}, ""},
		{"dnsmasq", "dnsmasq", []string{"--test", "--conf-file=FILE"}, ""},
		{"unbound", "unbound-checkconf", []string{"AROUND"}, "server:\n\tchroot: \"\"\n\tusername: \"\"\ninclude: \"FILE\"\n"},
	} {
		program, err := exec.LookPath(test.program)
		if err != nil {
			t.Logf("skipped: there is no %s", test.program)
			continue
		}
		file, around := filepath.Join(t.TempDir(), "list"), filepath.Join(t.TempDir(), "around")
		for path, text := range map[string]string{file: exportText(t, test.format, entries, false), around: strings.ReplaceAll(test.around, "FILE", file)} {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		args := strings.NewReplacer("FILE", file, "AROUND", around)
		var line []string
		for _, arg := range test.args {
			line = append(line, args.Replace(arg))
		}
		if out, err := exec.Command(program, line...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", test.program, err, out)
		}
	}
}
