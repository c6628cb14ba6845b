// Package peersettings reads the settings of other DNS servers, and puts what they say
// into a draft of Telltale's own: a settings file and list files. What has no
// counterpart is named by file, line and key. Nothing is written, and no value of a
// setting that has no counterpart is repeated: it may be a password.
//
// What the files of AdGuard Home and Pi-hole hold is what their sources say
// (internal/home/config.go and internal/filtering of AdGuard Home with schema 34;
// src/config of Pi-hole's FTL 6.4, and advanced/Templates of Pi-hole 6.2).
package peersettings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Options say what the draft must keep clear of. The zero value works.
type Options struct {
	Lists []string // names that lists have already: a subscription gets another
}

// maxText is how long a text may be that settings are read from. The rules that
// people write by hand are far shorter.
const maxText = 16 << 20

const whatToName = "name " + adguardFile + ", " + gravityFile + ", or the directory that has it, such as /etc/pihole"

// Read reads the settings in a file, or in a directory: /etc/pihole, the directory of
// AdGuardHome.yaml, or a copy of one. An error names the file, and the line where
// there is one.
func Read(path string, o Options) (*Draft, error) {
	info, err := os.Stat(path)
	switch {
	case isMissing(err):
		return nil, fmt.Errorf("%s: there is no such file or directory: %s", path, whatToName)
	case err != nil:
		return nil, err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file: %s", path, whatToName)
	}
	d := newDraft(o)
	if info.IsDir() {
		err = d.readDir(path)
	} else {
		err = d.readFile(path)
	}
	if err == nil && d.failed != nil {
		err = fmt.Errorf("%s: %w", path, d.failed)
	}
	if err != nil {
		return nil, err
	}
	d.finish()
	return d, nil
}

// readDir reads what a directory has.
func (d *Draft) readDir(dir string) error {
	there := func(parts ...string) (string, bool) {
		path := filepath.Join(append([]string{dir}, parts...)...)
		info, err := os.Stat(path)
		return path, err == nil && info.Mode().IsRegular()
	}
	if path, ok := there(adguardFile); ok {
		return d.readFile(path)
	}
	if _, ok := there("etc", "pihole", gravityFile); ok { // what Pi-hole's export holds
		dir = filepath.Join(dir, "etc", "pihole")
	}
	p := pihole{Draft: d, dir: dir}
	found := false
	for _, file := range p.files() {
		if file.name == gravityFile { // its clients may have names in what comes before
			if err := p.readDnsmasqDirs(); err != nil {
				return err
			}
		}
		path, ok := there(file.name)
		if !ok {
			continue
		}
		err := file.read(path)
		found = found || err == nil
		if err := p.unlessEmpty(err, path); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%s: no settings found: expected %s of AdGuard Home, or %s, %s or %s of Pi-hole", dir, adguardFile, tomlFile, setupFile, gravityFile)
	}
	p.finishPihole()
	return nil
}

// readFile reads one file, whose kind is known by its name or by what is in it.
func (d *Draft) readFile(path string) error {
	p := pihole{Draft: d, dir: filepath.Dir(path)}
	read := d.readAdguard
	for _, file := range p.files() {
		if filepath.Base(path) == file.name {
			read = file.read
		}
	}
	if isDatabase(path) {
		read = p.readGravity
	}
	switch ext := filepath.Ext(path); {
	case ext == ".conf" && filepath.Base(path) != setupFile && filepath.Base(path) != ftlFile:
		read = p.readDnsmasq
	case ext == ".toml":
		read = p.readTOML
	}
	if err := read(path); err != nil {
		return err
	}
	p.finishPihole()
	return nil
}

func isDatabase(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, len(sqliteHead))
	_, err = io.ReadFull(f, head)
	return err == nil && string(head) == sqliteHead
}

const sqliteHead = "SQLite format 3\x00"

// errEmpty is the error of a file that has no settings, also no wrong ones.
var errEmpty = errors.New("empty")

// unlessEmpty returns what an error of a file is worth where there are others: one that
// is empty is left.
func (d *Draft) unlessEmpty(err error, path string) error {
	if errors.Is(err, errEmpty) {
		d.leave(Place{File: filepath.Base(path)}, "it is empty")
		return nil
	}
	return err
}

// readText returns the text of a file of settings.
func (d *Draft) readText(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxText:
		return nil, fmt.Errorf("%s: longer than %d MiB: settings are shorter, so this is not read", path, maxText>>20)
	case len(text) == 0:
		return nil, fmt.Errorf("%s: %w", path, errEmpty)
	case slices.Contains(text, 0):
		return nil, fmt.Errorf("%s: binary, and no settings file", path)
	case !utf8.Valid(text):
		return nil, fmt.Errorf("%s: not UTF-8 text", path)
	}
	d.Read = append(d.Read, path)
	return text, nil
}

// readBelow returns the text of a file below a directory. A link that leads out of the
// directory is an error.
func (d *Draft) readBelow(dir, name string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if _, err := root.Stat(name); err != nil {
		return nil, err
	}
	return d.readText(filepath.Join(dir, name))
}

// A Place is where a setting stands. Line is 0 where there is none, as in a database.
type Place struct {
	File string
	Line int
	Key  string
}

// String is the place for a person, such as "pihole.toml:12: dns.port".
func (p Place) String() string {
	text := p.File
	if p.Line > 0 {
		text = fmt.Sprintf("%s:%d", text, p.Line)
	}
	if p.Key != "" {
		text += ": " + p.Key
	}
	return text
}

// Left is a setting that was not taken over, or not wholly.
type Left struct {
	Place
	Why string
}

// leave says that a setting is not taken over.
func (d *Draft) leave(at Place, why string, args ...any) {
	if len(args) > 0 {
		why = fmt.Sprintf(why, args...)
	}
	at.File, at.Key = clean(at.File), clean(at.Key)
	d.Left = append(d.Left, Left{at, clean(why)})
}

// clean returns a text as one line without control characters.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// nameOf makes a name of a text: printable, at most 60 octets, and no other's.
func nameOf(text, otherwise string, taken map[string]bool) string {
	text = strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' {
			return '-'
		}
		return r
	}, clean(text))
	text = strings.TrimLeft(strings.Join(strings.Fields(text), " "), ".")
	for len(text) > 60 {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	text = strings.TrimSpace(text)
	if text == "" {
		text = otherwise
	}
	return unlike(text, " ", taken)
}

// unlike returns a name that is not taken, by a number behind it, and takes it.
func unlike(name, between string, taken map[string]bool) string {
	own := name
	for i := 2; taken[strings.ToLower(own)]; i++ {
		own = fmt.Sprintf("%s%s%d", name, between, i)
	}
	taken[strings.ToLower(own)] = true
	return own
}

// wordOf makes a name of small letters, digits and hyphens: for lists and groups.
func wordOf(text, otherwise string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 40 {
			break
		}
	}
	if word := strings.Trim(b.String(), "-"); word != "" {
		return word
	}
	return otherwise
}

// isMissing reports whether err says that a file is not there.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
