package catalog

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestTheShippedFilesPassTheChecker(t *testing.T) {
	problems, err := Check(FS())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

func TestWhatTheCheckerRefuses(t *testing.T) {
	const head = "#@ vendor=Acme product=Phone purpose=telemetry tier=telemetry confidence=stated source=https://acme.example/privacy\n"
	for _, c := range []struct{ name, text, want string }{
		{"an entry without a source", "#@ vendor=Acme purpose=crash tier=telemetry confidence=name\nlog.acme.example\n",
			"acme.txt:2: log.acme.example: no source: add source=URL, or do not ship the entry; docs/catalogue.md says what counts as one"},
		{"an entry without a vendor", "#@ purpose=crash tier=telemetry confidence=name source=a/b:c\nlog.acme.example\n",
			"acme.txt:2: log.acme.example: no vendor: add vendor=NAME to the #@ line above"},
		{"an unknown purpose", head + "log.acme.example #@ purpose=spying\n",
			"acme.txt:2: log.acme.example: purpose=spying is not in the vocabulary: take one of docs/catalogue.md"},
		{"an unknown tier", head + "log.acme.example #@ tier=bad\n",
			"acme.txt:2: tier=bad is unknown: write telemetry, mixed, essential or owner"},
		{"an unknown key", head + "log.acme.example #@ colour=red\n", "acme.txt:2: the key colour is unknown"},
		{"an unknown confidence", head + "log.acme.example #@ confidence=sure\n", "acme.txt:2: log.acme.example: confidence=sure: write stated"},
		{"a purpose stated by a list of names alone", head + "log.acme.example #@ source=hagezi/dns-blocklists:wildcard/native.acme-onlydomains.txt\n",
			"acme.txt:2: log.acme.example: confidence=stated, but its sources are lists of names alone: write confidence=name"},
		{"an unknown region", head + "log.acme.example #@ region=Europe\n", "acme.txt:2: log.acme.example: region=Europe is unknown"},
		{"a country that is none", head + "client-uc.acme.example #@ region=uc\n", "acme.txt:2: client-uc.acme.example: region=uc is unknown"},
		{"a date that is none", head + "log.acme.example #@ since=May\n", "acme.txt:2: log.acme.example: since=May is no date"},
		{"a source that is no address", head + "log.acme.example #@ source=everybody\n", "acme.txt:2: log.acme.example: source=everybody is neither"},
		{"a source that will change", head + "log.acme.example #@ source=https://github.com/a/b/blob/main/c\n", "acme.txt:2: log.acme.example: source=https://github.com/a/b/blob/main/c points to a file that changes"},
		{"an essential name on a line that blocks", head + "log.acme.example #@ tier=essential breaks=all\n",
			"acme.txt:2: log.acme.example: a plain line blocks, but tier=essential never does: write #@ name=log.acme.example"},
		{"telemetry on a line that does not block", head + "#@ name=log.acme.example\n",
			"acme.txt:2: log.acme.example: tier=telemetry is for lines that block: write log.acme.example without #@ name="},
		{"mixed without what breaks", head + "log.acme.example #@ tier=mixed\n", "acme.txt:2: log.acme.example: tier=mixed without breaks: say what stops working"},
		{"telemetry that breaks something", head + "log.acme.example #@ breaks=mail\n", "acme.txt:2: log.acme.example: tier=telemetry means that nothing known breaks"},
		{"an owner with a purpose", head + "#@ name=acme.example tier=owner\n", "acme.txt:2: acme.example: an owner has no purpose"},
		{"a name twice", head + "log.acme.example\nlog.acme.example\n", "acme.txt:3: log.acme.example stands at acme.txt:2 already: keep one"},
		{"a name under two vendors", head + "log.acme.example\nlog.acme.example #@ vendor=Other\n",
			"acme.txt:3: log.acme.example is under Other here and under Acme at acme.txt:2"},
		{"a subtree with an essential name in it", head + "acme.example\n#@ name==time.acme.example purpose=time tier=essential breaks=clock\n",
			"acme.txt:2: acme.example blocks =time.acme.example, which is essential (acme.txt:3): list names below it one by one"},
		{"an observed name in a blocked subtree", head + "acme.example\nlog.acme.example #@ tier=mixed breaks=mail\n",
			"acme.txt:3: log.acme.example is to be observed, but acme.example blocks it (acme.txt:2)"},
		{"the domain of a hoster", head + "web.app\n", "acme.txt:2: web.app: is a public suffix"},
		{"a hosts line", head + "0.0.0.0 log.acme.example\n", "acme.txt:2: 0.0.0.0 log.acme.example is not a form of this catalogue"},
		{"an exception", head + "@@||log.acme.example^\n", "acme.txt:2: @@||log.acme.example^ is not a form of this catalogue"},
		{"a line that is no name", head + "not a name\n", "acme.txt:2: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			problems, err := Check(fstest.MapFS{"acme.txt": {Data: []byte(c.text)}})
			if err != nil {
				t.Fatal(err)
			}
			if len(problems) == 0 {
				t.Fatalf("got no problem, want %q", c.want)
			}
			for _, p := range problems {
				if strings.HasPrefix(p.String(), c.want) {
					return
				}
			}
			t.Errorf("got %v, want %q", problems, c.want)
		})
	}
}

func TestWhatTheCheckerAllows(t *testing.T) {
	const text = `# Acme
#@ vendor=Acme product=Phone purpose=telemetry tier=telemetry confidence=stated since=2026-05 source="https://acme.example/privacy acme/docs:hosts.md"
log.acme.example
=acme.example  #@ region=de
#@ vendor=Acme purpose=update tier=essential confidence=name breaks=updates source=https://github.com/a/b/issues/1
#@ name=update.acme.example
#@ vendor=Acme tier=owner source=acme/docs:domains.md
#@ name=acme.example
`
	problems, err := Check(fstest.MapFS{"acme.txt": {Data: []byte(text)}})
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v %v, want no problems", problems, err)
	}
}

// Whatever a file holds, the checker says where, and what it passes can be read.
func FuzzCheck(f *testing.F) {
	f.Add("#@ vendor=Acme purpose=crash tier=telemetry confidence=name source=a/b:c\nlog.acme.example\n=acme.example\n")
	f.Add("#@ name==acme.example tier=owner\n0.0.0.0 a.example\n||b.example^\n/c/\n")
	f.Add("$ORIGIN rpz.example.\n*.a CNAME .\n")
	f.Add("#@ tier=mixed breaks=\"\n@@=a.example\n.\n*\n")
	f.Fuzz(func(t *testing.T, text string) {
		fsys := fstest.MapFS{"acme.txt": {Data: []byte(text)}}
		problems, err := Check(fsys)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 1
		for _, p := range problems {
			if p.File != "acme.txt" || p.Line < 1 || p.Line > lines || p.What == "" {
				t.Errorf("a problem without its place: %+v", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		c, err := Read(fsys)
		if err != nil {
			t.Fatalf("passed by the checker, and not read: %v", err)
		}
		for _, e := range c.Entries() {
			if e.Vendor == "" || len(e.Sources) == 0 || e.Tier == "" {
				t.Errorf("passed by the checker: %+v", e)
			}
		}
	})
}
