package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale/evidence/bundle"
	"telltale/querylog"
)

const exampleBundle = "../../docs/verify/example"

// Each end of 'evidence verify' has its exit status, which docs/bundles.md promises, and
// needs nothing of the machine.
func TestEvidenceVerifySaysWhatIsProven(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(exampleBundle, "bundle.zip"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(exampleBundle, "key"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := put("good.zip", b)
	known, checkpoint := "--key="+strings.TrimSpace(string(key)), "--checkpoint="+filepath.Join(exampleBundle, "checkpoint")
	changed := bytes.Clone(b)
	changed[len(b)/2] ^= 4
	for _, c := range []struct {
		name string
		args []string
		exit int
		want []string
	}{
		{"nothing is known", []string{good}, 3, []string{"CONSISTENT, KEY UNKNOWN", "nothing says whose it is", "\nNot proven:", "--key"}},
		{"the key", []string{good, known}, 0, []string{"is VERIFIED", "which you gave", "That a connection was made", "was true when it was written", "From 2025-11-24 17:12:00 to 2025-11-24 17:14:00 sealing was off", "not yet signed", "Since when it is sealed"}},
		{"the key in a file", []string{good, "--key", put("key.txt", key)}, 0, []string{"is VERIFIED"}},
		{"a checkpoint", []string{good, checkpoint}, 0, []string{"is VERIFIED", "were sealed\n  before that was signed"}},
		{"both, as JSON", []string{good, known, checkpoint, "--json"}, 0, []string{`"verified":true`, `"rows_before":24`}},
		{"as JSON without a key", []string{good, "--json"}, 3, []string{`"verified":false`}},
		{"another key", []string{good, "--key=telltale/0123456789abcdef+86bebb24+AXLIJUvhbKo4wqvu0CZ/a1XHW1d0q3cmI9K2kgyqQlhb"}, 2, []string{"is no key of Telltale"}},
		{"a private key", []string{good, "--key=PRIVATE+KEY+telltale/0123456789abcdef+86bebb24+AXLIJ"}, 2, []string{"show it to nobody"}},
		{"a checkpoint that is not there", []string{good, "--checkpoint=" + filepath.Join(dir, "none")}, 2, []string{"--checkpoint"}},
		{"one octet is another", []string{put("changed.zip", changed), known}, 1, []string{"is NOT verified"}},
		{"cut short", []string{put("cut.zip", b[:len(b)-100]), known}, 1, []string{"is NOT verified", "cut short"}},
		{"no bundle", []string{put("text.zip", []byte("hello")), known}, 1, []string{"is NOT verified", "no bundle"}},
		{"empty", []string{put("empty.zip", nil)}, 1, []string{"is NOT verified"}},
		{"a checkpoint that is none", []string{good, "--checkpoint=" + put("hello", []byte("hello"))}, 1, []string{"is NOT verified"}},
		{"garbage as a key", []string{good, "--key=garbage"}, 2, []string{"is no key of Telltale"}},
		{"a space before the key", []string{good, "--key= " + strings.TrimSpace(string(key))}, 2, []string{"is no key of Telltale"}},
		{"garbage in the key's file", []string{good, "--key", put("garbage", []byte("\xff"))}, 2, []string{"is no key of Telltale"}},
		{"a directory as a key", []string{good, "--key", dir}, 2, []string{"--key"}},
		{"a directory", []string{dir}, 2, []string{"not a file"}},
		{"no authority", []string{good, "--authority", filepath.Join(dir, "none.pem")}, 2, []string{"--authority"}},
		{"an authority that is none", []string{good, "--authority", put("text.pem", []byte("hello"))}, 2, []string{"has no certificate"}},
		{"none there", []string{filepath.Join(dir, "none.zip")}, 2, []string{"none.zip"}},
		{"no file", nil, 2, []string{"exactly one file"}},
	} {
		var out bytes.Buffer
		exit := command(context.Background(), append([]string{"evidence", "verify"}, c.args...), &out, &out, nil)
		if exit != c.exit {
			t.Errorf("%s: exit status %d, want %d:\n%s", c.name, exit, c.exit, out.String())
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is not in\n%s", c.name, want, out.String())
			}
		}
		if strings.Contains(out.String(), "is NOT verified") != (c.exit == 1) {
			t.Errorf("%s: exit status %d, and it says:\n%s", c.name, exit, out.String())
		}
		if exit != 0 && strings.Contains(out.String(), "is VERIFIED") {
			t.Errorf("%s: it says VERIFIED:\n%s", c.name, out.String())
		}
	}
}

func TestRowsLaterThanTheBundleAreTold(t *testing.T) {
	r := bundle.Result{Counts: map[bundle.What]int64{bundle.Row: 1}, First: 5000, Last: 6000, Off: []bundle.Off{{From: 1000}}}
	for made, want := range map[int64]bool{5999: true, 6000: false} {
		var out bytes.Buffer
		r.About.Made = made
		if err := printVerified(&out, "x.zip", &r, &bundle.Trust{}, stampsOf(&r, nil), false); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "later than the file"); got != want || !strings.Contains(out.String(), "From 1970-01-01 00:00:01 on sealing was off") {
			t.Errorf("made %d: it says\n%s", made, out.String())
		}
	}
}

func TestAnAuditSaysWhatACheckpointShows(t *testing.T) {
	for _, c := range []struct {
		r     querylog.SealReport
		want  []string
		never string
	}{
		{querylog.SealReport{Agreed: []string{"cp"}, Unchanged: []string{"cp"}}, []string{"cp: all that it counts is in the log, unchanged."}, "go on from it"},
		{querylog.SealReport{Agreed: []string{"cp"}, Problems: []querylog.SealProblem{{Leaf: 43, Kind: "row", What: "it was removed"}}}, []string{"cp: the hashes of the log go on from it; not all"}, "all that it counts is in the log, unchanged"},
	} {
		var out bytes.Buffer
		if err := (&cli{out: &out}).printAudit(&c.r, &querylog.SealAudit{}); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is not in\n%s", want, out.String())
			}
		}
		if c.never != "" && strings.Contains(out.String(), c.never) {
			t.Errorf("%q is in\n%s", c.never, out.String())
		}
	}
}

// A time-stamp is in the way of nothing: what is wrong with one is told.
func TestATimestampThatIsNoneIsTold(t *testing.T) {
	r := bundle.Result{Counts: map[bundle.What]int64{bundle.Row: 3}, Stamps: []bundle.Stamp{{Leaves: 5, Note: "note", Timestamp: []byte("thank you")}}}
	var out bytes.Buffer
	if err := printVerified(&out, "x.zip", &r, &bundle.Trust{}, stampsOf(&r, nil), false); err != nil {
		t.Fatal(err)
	}
	_, unproven, _ := strings.Cut(out.String(), "Not proven:")
	if !strings.Contains(unproven, "The time-stamp of the first 5 leaves: ") {
		t.Errorf("it says\n%s", out.String())
	}
	if s := verifiedOf(&r, nil).Stamps; len(s) != 1 || s[0].Trusted || s[0].Time != "" || s[0].Problem == "" {
		t.Errorf("%+v", s)
	}
}

// What a time-stamp of a trusted authority proves is not said to be unknown.
func TestATrustedTimestampSaysSinceWhenTheLogIsSealed(t *testing.T) {
	r := bundle.Result{Counts: map[bundle.What]int64{bundle.Row: 3}}
	for _, c := range []struct {
		name      string
		stamps    []stamp
		authority bool
		since     bool
		none      bool
	}{
		{"no time-stamp", nil, false, true, false},
		{"no time-stamp for an authority", nil, true, true, true},
		{"one that nobody trusts", []stamp{{Leaves: 5, Time: "2026-11-01 00:00:00", Signer: "TSA"}}, false, true, false},
		{"one that is wrong", []stamp{{Leaves: 5, Problem: "it is of another note"}}, true, true, false},
		{"one that is trusted", []stamp{{Leaves: 5, Problem: "it is of another note"}, {Leaves: 6, RowsBefore: 3, Time: "2026-11-01 00:00:00", Signer: "TSA", Trusted: true}}, true, false, false},
	} {
		var out bytes.Buffer
		if err := printVerified(&out, "x.zip", &r, &bundle.Trust{}, c.stamps, c.authority); err != nil {
			t.Fatal(err)
		}
		_, unproven, _ := strings.Cut(out.String(), "Not proven:")
		if got := strings.Contains(unproven, "Since when it is sealed"); got != c.since {
			t.Errorf("%s: that since when is not known is said: %v, want %v:\n%s", c.name, got, c.since, out.String())
		}
		if got := strings.Contains(unproven, "no time-stamp is in this file"); got != c.none {
			t.Errorf("%s: that there is none is said: %v, want %v:\n%s", c.name, got, c.none, out.String())
		}
	}
}
