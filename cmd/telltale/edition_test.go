package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"aead.dev/minisign"

	"telltale/blocklists/catalog"
)

// signingKeys are those of somebody who publishes a catalogue, and a public one of
// somebody else.
type signingKeys struct {
	public, other string
	secret        minisign.PrivateKey
}

func newSigningKeys(t testing.TB) *signingKeys {
	t.Helper()
	public, secret, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signingKeys{public.String(), other.String(), secret}
}

// sign writes path.minisig, as 'minisign -Sm path' does.
func (k *signingKeys) sign(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	r := minisign.NewReader(bytes.NewReader(text))
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return os.WriteFile(path+".minisig", r.Sign(k.secret), 0o644)
}

// laterEdition is the name of an edition of the shipped one's day that is later by n.
func laterEdition(n int) string {
	day, number, _ := strings.Cut(catalog.Shipped().Name(), ".")
	had, _ := strconv.Atoi(number) // none is 0
	return fmt.Sprintf("%s.%d", day, had+n)
}

// writeCatalogue writes the shipped catalogue into a folder, under another name and
// with one source more, acme/list.
func writeCatalogue(dir, edition string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.CopyFS(dir, catalog.FS()); err != nil {
		return err
	}
	sources, err := fs.ReadFile(catalog.FS(), "sources.tsv")
	if err != nil {
		return err
	}
	acme := "acme/list\t2026-11-01\tacme/list\tMIT\thttps://github.com/acme/list/blob/0123456789012345678901234567890123456789/list.txt\n"
	return errors.Join(replaceFile(filepath.Join(dir, "edition"), edition+"\n"), replaceFile(filepath.Join(dir, "sources.tsv"), string(sources)+acme))
}

// replaceFile writes a file that may not be written to.
func replaceFile(path, text string) error {
	return errors.Join(os.Remove(path), os.WriteFile(path, []byte(text), 0o644))
}
