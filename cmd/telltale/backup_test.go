package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/querylog"
	"telltale/resolver/dnstest"
)

// treeOf returns what is in files below a directory, by name.
func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(dir, path)
			all[rel] = string(text)
		}
		return nil
	})
	return all
}

// What a person has comes back from a backup that was made while the server ran: log,
// settings, lists and, where asked for, keys. What was there meanwhile is kept.
func TestABackupIsBroughtBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, own := filepath.Join(dir, "telltale.yaml"), filepath.Join(dir, "lists.d", "own.txt")
	settings := "listen: {dns: [127.0.0.1:0]}\nupstreams: [127.0.0.1:9]\nlists: {dir: lists.d}\nnode: attic\n" +
		"data: {dir: data}\ntls: {authority: local, names: [dns.example], certificates: [{certificate: cert.pem, key: key.pem}]}\n"
	c := dnstest.NewCertificate(t, time.Now().Add(time.Hour), "dns.example")
	writeFile(t, filepath.Join(dir, "cert.pem"), c.Cert)
	writeFile(t, filepath.Join(dir, "key.pem"), c.Key)
	os.Chmod(filepath.Join(dir, "key.pem"), 0o600)
	writeFile(t, file, settings)
	writeFile(t, own, "ads.example # mine\n")
	p := startServe(t, dir, nil, "--config", file)
	if err := p.ask("before.ads.example."); err != nil {
		t.Fatal(err)
	}
	dnstest.WaitFor(t, func() bool { return len(p.rows()) == 1 }, func() string { return "the lookup is not in the log" })
	run := func(want int, args ...string) string {
		t.Helper()
		out, exit := commandIn(t, dir, append(args, "--config", file)...)
		if exit != want {
			t.Fatalf("telltale %v: exit status %d, want %d\n%s", args, exit, want, out)
		}
		return out
	}
	kept := filepath.Join(dir, "kept")
	os.Mkdir(kept, 0o755)
	plain, whole := filepath.Join(kept, "plain.tar.gz"), filepath.Join(kept, "whole.tar.gz")
	if out := run(0, "backup", plain); !strings.Contains(out, "Not in it: "+filepath.Join(dir, "key.pem")) || !strings.Contains(out, "authority.pem") {
		t.Errorf("the keys are not named:\n%s", out)
	}
	run(0, "backup", whole, "--keys")
	run(1, "backup", whole)
	run(0, "backup", whole, "--keys", "--force")
	run(1, "backup", filepath.Join(dir, "data", "b.tar.gz"))
	if info, _ := os.Stat(plain); info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the backup: %v", info.Mode())
	}
	if left, _ := filepath.Glob(filepath.Join(kept, ".*")); left != nil {
		t.Errorf("left over: %v", left)
	}
	if text, _ := os.ReadFile(plain); bytes.Contains(unpacked(t, text), []byte("PRIVATE KEY")) {
		t.Error("a private key is in a backup that nobody wanted it in")
	}
	if out := run(1, "restore", plain); !strings.Contains(out, "stop the server first") {
		t.Errorf("restored below a running server:\n%s", out)
	}
	// A stop during which the store is read, or that takes too long, signs nothing: then another does.
	// The backup may have some leaves that this audit did not see yet, hence the margin.
	var audit querylog.SealReport
	if err := json.Unmarshal([]byte(run(0, "evidence", "audit", "--json")), &audit); err != nil {
		t.Fatal(err)
	}
	for tries := 0; ; p = startServe(t, dir, nil, "--config", file) {
		if err := p.ask("after.ads.example."); err != nil {
			t.Fatal(err)
		}
		p.stop()
		if head, _, err := querylog.ReadSealHead(filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		} else if head.Size > audit.Leaves+5 {
			break
		}
		if tries++; tries == 20 {
			t.Fatal("no checkpoint is signed after the backup")
		}
	}

	root, _ := os.ReadFile(filepath.Join(dir, "data", authorityFile))
	writeFile(t, own, "other.example\n")
	writeFile(t, filepath.Join(dir, "lists.d", "later.txt"), "later.example\n")
	writeFile(t, file, settings+"messages: {level: debug}\n")
	os.Remove(filepath.Join(dir, "key.pem"))
	os.Remove(filepath.Join(dir, "data", authorityFile))
	run(0, "restore", "--check", whole)
	if text, _ := os.ReadFile(own); string(text) != "other.example\n" {
		t.Error("--check changed something")
	}
	out := run(0, "restore", whole)
	for path, want := range map[string]string{file: settings, own: "ads.example # mine\n", filepath.Join(dir, "key.pem"): c.Key, filepath.Join(dir, "data", authorityFile): string(root)} {
		if text, err := os.ReadFile(path); string(text) != want {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
	aside, _ := filepath.Glob(filepath.Join(dir, "data", asidePrefix+"*"))
	if len(aside) != 1 || !strings.Contains(out, aside[0]) {
		t.Fatalf("kept in %v; said:\n%s", aside, out)
	}
	was := treeOf(t, aside[0])
	if was["lists/own.txt"] != "other.example\n" || was["lists/later.txt"] != "later.example\n" || !strings.Contains(was["settings/telltale.yaml"], "debug") || was["data/lookups.db"] == "" {
		t.Errorf("kept: %v", slices.Sorted(maps.Keys(was)))
	}
	if got := treeOf(t, filepath.Join(dir, "lists.d")); len(got) != 1 {
		t.Errorf("lists: %v", got)
	}

	out = run(0, "evidence", "audit")
	for _, want := range []string{"As it was sealed when the backup was made.\nRestored from a backup of ", "and not started since", "The last checkpoint that was signed before has "} {
		if !strings.Contains(out, want) {
			t.Errorf("before the first start, %q is not in\n%s", want, out)
		}
	}
	p = startServe(t, dir, nil, "--config", file)
	if err := p.ask("again.ads.example."); err != nil {
		t.Fatal(err)
	}
	p.stop()
	var names []string
	for _, r := range p.rows() {
		names = append(names, r["name"].(string))
	}
	if fmt.Sprint(names) != "[before.ads.example again.ads.example]" {
		t.Errorf("the log has %v", names)
	}
	if out := run(0, "ledger"); !strings.Contains(out, "restored from a backup") {
		t.Errorf("the ledger says nothing of it:\n%s", out)
	}
	if out := run(0, "evidence", "audit"); strings.Contains(out, "Restored") || !strings.Contains(out, "\nthen telltale/") || !strings.Contains(out, "nobody vouches") { // a checkpoint was signed after the backup
		t.Errorf("the sealed log did not get another key, or one vouches for it that has signed more:\n%s", out)
	}
}

// A key that the settings name is left out wherever it is, and is in it once where it is
// asked for.
func TestKeysBelowWhatIsCopiedAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "telltale.yaml")
	writeFile(t, file, "lists: {dir: lists.d}\ndata: {dir: data}\ntls: {certificates: [{certificate: data/tls/cert.pem, key: lists.d/key.pem}]}\n")
	c := dnstest.NewCertificate(t, time.Now().Add(time.Hour), "dns.example")
	writeFile(t, filepath.Join(dir, "data", "tls", "cert.pem"), c.Cert)
	writeFile(t, filepath.Join(dir, "lists.d", "key.pem"), c.Key)
	writeFile(t, filepath.Join(dir, "lists.d", "own.txt"), "ads.example\n")
	writeFile(t, filepath.Join(dir, "data", "seal", "key"), "PRIVATE+KEY+of the seal\n")
	for keys, want := range map[string]int{"--keys=false": 0, "--keys": 1} {
		to := filepath.Join(t.TempDir(), "b.tar.gz")
		var out lockedBuffer
		if exit := command(context.Background(), []string{"backup", to, keys, "--config", file}, &out, &out, nil); exit != 0 {
			t.Fatal(out.String())
		}
		text, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(unpacked(t, text), []byte("BEGIN PRIVATE KEY")); n != want {
			t.Errorf("%s: the key is in it %d times, want %d", keys, n, want)
		}
		if n := bytes.Count(unpacked(t, text), []byte("PRIVATE+KEY+")); n != want {
			t.Errorf("%s: the key that signs the sealed log is in it %d times, want %d", keys, n, want)
		}
	}
}

// An archive that is not as it was written changes nothing.
func TestDamagedBackupsChangeNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "telltale.yaml")
	writeFile(t, file, "lists: {dir: lists.d}\ndata: {dir: data}\n")
	writeFile(t, filepath.Join(dir, "lists.d", "own.txt"), "ads.example\n")
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	good := filepath.Join(out, "good.tar.gz")
	run := func(args ...string) (string, int) {
		var text lockedBuffer
		exit := command(context.Background(), append(args, "--config", file), &text, &text, nil)
		return text.String(), exit
	}
	if text, exit := run("backup", good); exit != 0 {
		t.Fatal(text)
	}
	archive, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	entries := entriesOf(t, archive)
	sumOf := func(all []entryOf) (text string) {
		for _, e := range all {
			if e.Name != sumsName {
				text += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(e.text)), e.Name)
			}
		}
		return text
	}
	with := func(change func(all []entryOf) []entryOf, sums bool) []byte {
		all := change(slices.Clone(entries))
		if sums {
			for i := range all {
				if all[i].Name == sumsName {
					all[i].text = sumOf(all)
				}
			}
		}
		return archiveOf(t, all)
	}
	extra := func(h tar.Header, text string) func([]entryOf) []entryOf {
		return func(all []entryOf) []entryOf { return slices.Insert(all, 1, entryOf{h, text}) }
	}
	before := treeOf(t, dir)
	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"nothing":          {nil, "no backup of Telltale"},
		"text":             {[]byte("lists: {}\n"), "no backup of Telltale"},
		"cut":              {archive[:len(archive)-40], "cut off"},
		"cut at an entry":  {with(func(all []entryOf) []entryOf { return all[:len(all)-1] }, false), "cut off"},
		"another archive":  {archiveOf(t, []entryOf{{tar.Header{Name: "a", Typeflag: tar.TypeReg}, "a"}}), "does not begin with"},
		"changed":          {with(func(all []entryOf) []entryOf { all[1].text += "#"; return all }, false), "damaged"},
		"one more":         {with(extra(tar.Header{Name: "data/x", Typeflag: tar.TypeReg}, "x"), false), "it was changed"},
		"one less":         {with(func(all []entryOf) []entryOf { return slices.Delete(all, 1, 2) }, false), "damaged"},
		"a path upwards":   {with(extra(tar.Header{Name: "lists/../../x", Typeflag: tar.TypeReg}, "x"), true), "nothing that a backup has"},
		"an absolute path": {with(extra(tar.Header{Name: "/x", Typeflag: tar.TypeReg}, "x"), true), "nothing that a backup has"},
		"a link":           {with(extra(tar.Header{Name: "lists/x", Typeflag: tar.TypeSymlink, Linkname: "/"}, ""), true), "nothing that a backup has"},
		"twice":            {with(extra(tar.Header{Name: "lists/own.txt", Typeflag: tar.TypeReg}, "x"), true), "twice"},
		"a later form": {with(func(all []entryOf) []entryOf {
			all[0].text = strings.Replace(all[0].text, `"format": 1`, `"format": 2`, 1)
			return all
		}, true), "reads 1"},
		"wrong settings": {with(func(all []entryOf) []entryOf {
			i := slices.IndexFunc(all, func(e entryOf) bool { return strings.HasPrefix(e.Name, settingsFolder) })
			all[i].text = "blocking: {moed: x}\n"
			return all
		}, true), "blocking.moed"},
	} {
		bad := filepath.Join(out, "bad.tar.gz")
		writeFile(t, bad, string(test.archive))
		text, exit := run("restore", bad)
		if exit != 1 || !strings.Contains(text, test.want) {
			t.Errorf("%s: exit status %d, %q, want %q", name, exit, text, test.want)
		}
		if after := treeOf(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("%s: something changed: %v", name, after)
		}
	}
	if text, exit := run("restore", good); exit != 0 {
		t.Error(text)
	}
}

type entryOf struct {
	tar.Header
	text string
}

func unpacked(t testing.TB, archive []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func entriesOf(t testing.TB, archive []byte) (all []entryOf) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(unpacked(t, archive))); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		all = append(all, entryOf{*h, string(text)})
	}
}

func archiveOf(t testing.TB, all []entryOf) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range all {
		e.Size = int64(len(e.text))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, e.text)
	}
	w.Close()
	z.Close()
	return b.Bytes()
}

// Whatever a file holds, reading it as a backup ends, and accepts only what has the sums
// of all that is in it.
func FuzzOpenBackup(f *testing.F) {
	sum := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	head := `{"format": 1}`
	entry := func(name, text string) entryOf {
		return entryOf{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600}, text}
	}
	whole := []entryOf{entry(manifestName, head), entry(settingsFolder+"/t.yaml", "node: a\n"),
		entry(sumsName, sum(head)+"  "+manifestName+"\n"+sum("node: a\n")+"  "+settingsFolder+"/t.yaml\n")}
	f.Add(unpacked(f, archiveOf(f, whole)))
	f.Add(unpacked(f, archiveOf(f, whole[:2])))
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "b.tar.gz")
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		z.Write(text)
		z.Close()
		if err := os.WriteFile(file, packed.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := openBackup(context.Background(), file)
		if err != nil {
			return
		}
		if b.manifest.Format != manifestFormat {
			t.Errorf("accepted the form %d", b.manifest.Format)
		}
		entries := entriesOf(t, packed.Bytes())
		for _, e := range entries {
			if e.Name != sumsName && !strings.Contains(entries[len(entries)-1].text, sum(e.text)+"  "+e.Name) {
				t.Errorf("%q is accepted without its sum", e.Name)
			}
		}
	})
}
