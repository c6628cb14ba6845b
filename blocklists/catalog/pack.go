package catalog

import (
	"archive/zip"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"aead.dev/minisign"
)

// What an edition that was fetched may be at most.
const (
	MaxPacked  = 16 << 20 // octets of the archive
	maxText    = 64 << 20 // octets of all its files
	maxEntries = 2000     // files
)

// A Key is a public key of minisign, by which an edition must be signed.
type Key struct{ key minisign.PublicKey }

// ParseKey reads a public key: the line of 56 letters that 'minisign -G' prints.
func ParseKey(text string) (Key, error) {
	var k Key
	if err := k.key.UnmarshalText([]byte(strings.TrimSpace(text))); err != nil {
		return k, errors.New("is no public key of minisign: write the line of 56 letters and digits from the file that ends in .pub")
	}
	return k, nil
}

// ID is how minisign calls the key.
func (k Key) ID() string { return fmt.Sprintf("%016X", k.key.ID()) }

// ReadEdition reads an edition as Pack wrote it, if signature, the text of the file
// beside it, is that of the key. Files are read from r when they are asked for.
func ReadEdition(r io.ReaderAt, size int64, signature []byte, key Key) (*Edition, error) {
	if size > MaxPacked {
		return nil, fmt.Errorf("is %d octets long, over the limit of %d", size, MaxPacked)
	}
	if err := verify(r, size, signature, key); err != nil {
		return nil, err
	}
	return unpack(r, size)
}

// verify reports why a signature is not that of the key for what r holds.
func verify(r io.ReaderAt, size int64, signature []byte, key Key) error {
	var s minisign.Signature
	if err := s.UnmarshalText(signature); err != nil {
		return errors.New("its signature cannot be read: URL.minisig must be the file that 'minisign -S' writes")
	}
	if s.KeyID != key.key.ID() {
		return fmt.Errorf("it is signed by the key %016X and catalog.key is %s: ask whoever publishes it which key is theirs", s.KeyID, key.ID())
	}
	text := make([]byte, size) // minisign -l signs the whole of it
	if _, err := r.ReadAt(text, 0); err != nil && err != io.EOF {
		return err
	}
	if !minisign.Verify(key.key, text, signature) {
		return errors.New("its signature does not fit: it was cut short or changed after it was signed, or the signature is of another edition")
	}
	return nil
}

var packedName = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9_-]*(\.[a-z0-9]+)?$`)

// unpack reads the table of an archive. Its files are flat, so that no name leads
// anywhere, and what they may hold is bounded before any of them is read: the
// reader of an archive fails where a file is longer than the table says.
func unpack(r io.ReaderAt, size int64) (*Edition, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("is no archive that 'telltale catalog pack' wrote: %w", err)
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("has %d files, over the limit of %d", len(z.File), maxEntries)
	}
	total, seen := uint64(0), map[string]bool{}
	for _, f := range z.File {
		switch {
		case !packedName.MatchString(f.Name):
			return nil, fmt.Errorf("has a file %q: all files are in the archive itself, not in folders, and their names are letters, digits, - and _ with one ending", f.Name)
		case !f.Mode().IsRegular():
			return nil, fmt.Errorf("%s is no regular file", f.Name)
		case seen[strings.ToLower(f.Name)]:
			return nil, fmt.Errorf("has two files %s", f.Name)
		case f.UncompressedSize64 > maxText-total:
			return nil, fmt.Errorf("has more than %d octets of text", maxText)
		}
		total += f.UncompressedSize64
		seen[strings.ToLower(f.Name)] = true
	}
	text, err := fs.ReadFile(z, editionFile)
	if err != nil {
		return nil, fmt.Errorf("its file %s, which has its name, cannot be read: %w", editionFile, err)
	}
	name := strings.TrimSpace(string(text))
	if problem := checkEditionName(name); problem != "" {
		return nil, fmt.Errorf("%s:1: %s", editionFile, problem)
	}
	return newEdition(z, name), nil
}

// Pack writes the catalogue at the root of fsys as an archive to be signed and
// published: equal files give an equal archive. What Check finds is returned, and
// then there is no archive. now bounds the edition's name: one of the future would
// keep all of today from coming after it.
func Pack(w io.Writer, fsys fs.FS, now time.Time) ([]Problem, error) {
	files, err := readFiles(fsys, "*.txt", "*.tsv", editionFile)
	if err != nil {
		return nil, err
	}
	problems := check(files)
	if len(files.lists()) == 0 {
		problems = append(problems, Problem{"*.txt", 0, "there is no list file: name the folder that has them"})
	}
	problems = append(problems, files.checkEdition(now)...)
	if len(problems) > 0 {
		return problems, nil
	}
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	for _, name := range files.names() {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(files[name]); err != nil {
			return nil, err
		}
	}
	return nil, z.Close()
}

// checkEdition checks the file that names the edition.
func (f fileSet) checkEdition(now time.Time) []Problem {
	say := func(what string) []Problem { return []Problem{{editionFile, 1, what}} }
	name := f.edition()
	if problem := checkEditionName(name); problem != "" {
		return say(problem)
	}
	if tomorrow := now.UTC().AddDate(0, 0, 1).Format(time.DateOnly); compareEditions(name, tomorrow+".999999") > 0 {
		return say(name + " is in the future: nothing of today would ever replace it; write the day on which it is published")
	}
	return f.checkNames()
}

// checkNames checks that all files can be unpacked.
func (f fileSet) checkNames() (problems []Problem) {
	for _, name := range f.names() {
		if !packedName.MatchString(name) {
			problems = append(problems, Problem{name, 0, "the file's name: write letters, digits, - and _, the first a small letter or a digit"})
		}
	}
	return problems
}
