package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"telltale/atomicfile"
	"telltale/config"
	"telltale/peersettings"
	"telltale/sorting"
)

// importedDir is the directory that imported settings are written into, beside those
// that they were.
const importedDir = "telltale-settings"

// reportFile has what was not taken over.
const reportFile = "not-taken-over.txt"

// An importedSettings is what became of another server's settings. The keys never change.
type importedSettings struct {
	Product string        `json:"product"`
	Read    []string      `json:"read"`
	Dir     string        `json:"dir"` // "" where nothing was written
	Files   []writtenFile `json:"files"`
	Left    []leftSetting `json:"left"`
}

// A writtenFile is one of the files, below Dir.
type writtenFile struct {
	File  string `json:"file"`
	Rules int    `json:"rules,omitempty"` // of a list
}

// A leftSetting is one that was not taken over, or not wholly.
type leftSetting struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Key  string `json:"key,omitempty"`
	Why  string `json:"why"`
}

// settings writes what another server's settings say as Telltale's.
func (im *importer) settings(path, to string) error {
	if to == "" {
		dir := path
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			dir = filepath.Dir(path)
		}
		to = filepath.Join(dir, importedDir)
	}
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s is there already, and nothing is overwritten: name another directory by --output", to)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	edition, _ := editionInForce(im.cfg) // whoever puts it in force says what is wrong with it
	shipped, err := shippedNames(edition)
	if err != nil {
		return err
	}
	d, err := peersettings.Read(path, peersettings.Options{Lists: shipped})
	if err != nil {
		return err
	}
	temp := ""
	if im.dry { // nothing is made beside the settings
		temp, err = os.MkdirTemp("", importedDir+"-*")
	} else {
		temp, err = atomicfile.CreateDir(filepath.Dir(to))
	}
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	out := &importedSettings{Product: d.Product, Read: d.Read, Files: []writtenFile{}, Left: []leftSetting{}}
	if err := writeSettings(temp, d, out); err != nil {
		return err
	}
	sorting.StableBy(d.Left, func(a, b peersettings.Left) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	for _, l := range d.Left {
		out.Left = append(out.Left, leftSetting{l.File, l.Line, l.Key, l.Why})
	}
	if err := os.WriteFile(filepath.Join(temp, reportFile), []byte(out.left()), 0o600); err != nil {
		return err
	}
	if !im.dry {
		if err := os.Rename(temp, to); err != nil {
			return err
		}
		out.Dir = to
	}
	return im.saySettings(out)
}

// writeSettings writes the files into dir, and checks them as the server would. What it
// would not take is taken out again, and left.
func writeSettings(dir string, d *peersettings.Draft, out *importedSettings) error {
	lists := filepath.Join(dir, "lists.d")
	if err := os.Mkdir(lists, 0o700); err != nil {
		return err
	}
	for _, l := range d.Lists {
		head := fmt.Sprintf("# Rules of your own, from %s.\n", d.Product)
		if err := os.WriteFile(filepath.Join(lists, l.Name+".txt"), append([]byte(head), l.Text()...), 0o600); err != nil {
			return err
		}
		out.Files = append(out.Files, writtenFile{"lists.d/" + l.Name + ".txt", l.Rules()})
	}
	file := filepath.Join(dir, "telltale.yaml")
	const rounds = 1000 // each takes at least one setting out
	for range rounds {
		text, err := d.Settings("Settings from " + d.Product + ", made by 'telltale import --settings'. Behind each\nentry is where it stood. What is not here is as 'telltale validate --example' shows.")
		if err != nil {
			return err
		}
		// What commands have set on this machine is no part of it: it is looked for in data.dir.
		apart := fmt.Appendf(slices.Clone(text), "data:\n  dir: %q\n", filepath.Join(dir, "data"))
		if err := os.WriteFile(file, apart, 0o600); err != nil {
			return err
		}
		err = settingsMistakes(file)
		if err == nil {
			if err := os.WriteFile(file, text, 0o600); err != nil {
				return err
			}
			out.Files = append([]writtenFile{{File: "telltale.yaml"}}, out.Files...)
			return nil
		}
		mistakes, many := errors.AsType[config.Mistakes](err)
		if !many || !removeMistakes(d, mistakes) {
			return fmt.Errorf("what was made of the settings has a mistake that no setting explains%s", withoutValues(err))
		}
	}
	return errors.New("too much of the settings is not taken")
}

// settingsMistakes checks a settings file as 'telltale validate' does.
func settingsMistakes(file string) error {
	cfg, err := config.Load(file, nil, nil)
	if err == nil {
		err = localMistakes(cfg)
	}
	if err == nil {
		err = listNameMistakes(cfg)
	}
	return err
}

// removeMistakes takes what has mistakes out of a draft, and reports whether there was
// anything. The last entries of a list go first, so that the keys of those before stay
// true; of several mistakes in one entry only one, since the entry may go as a whole.
func removeMistakes(d *peersettings.Draft, mistakes config.Mistakes) (some bool) {
	done := map[string]bool{}
	for i := len(mistakes) - 1; i >= 0; i-- {
		m := mistakes[i]
		entry, _, _ := strings.Cut(m.Key, "]")
		if done[entry] {
			continue
		}
		done[entry] = true
		some = d.Remove(m.Key, "not taken: "+cmp.Or(expected(m), "there is no such setting here")) || some
	}
	return some
}

// expected says what a mistake wants. What was found stays out: it may be a password.
func expected(m config.Mistake) string {
	if m.Expected == "" {
		return ""
	}
	return "expected " + m.Expected
}

// withoutValues says which keys have mistakes.
func withoutValues(err error) string {
	mistakes, ok := errors.AsType[config.Mistakes](err)
	if !ok {
		return ": " + err.Error()
	}
	var b strings.Builder
	for _, m := range mistakes {
		fmt.Fprintf(&b, "; %s: %s", m.Key, cmp.Or(expected(m), "not taken"))
	}
	return b.String()
}

// left is what was not taken over, a line each.
func (s *importedSettings) left() string {
	var b strings.Builder
	for _, l := range s.Left {
		fmt.Fprintf(&b, "%s: %s\n", printable(peersettings.Place{File: l.File, Line: l.Line, Key: l.Key}.String()), printable(l.Why))
	}
	return b.String()
}

func (im *importer) saySettings(s *importedSettings) error {
	if im.cl.json {
		return im.cl.encoder().Encode(s)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, read from %s\n", printable(s.Product), printable(strings.Join(s.Read, ", ")))
	if s.Dir == "" {
		b.WriteString("Would be written, without --dry-run:\n")
	} else {
		fmt.Fprintf(&b, "Written into %s:\n", printable(s.Dir))
	}
	for _, f := range s.Files {
		fmt.Fprintf(&b, "  %s", f.File)
		if f.Rules > 0 {
			fmt.Fprintf(&b, " (rules: %d)", f.Rules)
		}
		b.WriteByte('\n')
	}
	if len(s.Left) == 0 {
		b.WriteString("All of it was taken over.\n")
	} else {
		fmt.Fprintf(&b, "Not taken over, or not wholly (also in %s):\n", reportFile)
		for line := range strings.Lines(s.left()) {
			b.WriteString("  " + line)
		}
	}
	if s.Dir != "" {
		fmt.Fprintf(&b, "Nothing is in force by this. Look through the files, then put them into /etc/telltale, without replacing yours:\n  telltale validate --config %[1]s/telltale.yaml\n", printable(s.Dir))
	}
	_, err := im.cl.out.Write([]byte(b.String()))
	return err
}
