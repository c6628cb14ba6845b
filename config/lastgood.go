package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"telltale/atomicfile"
)

// LastGoodName is the name of the file in data.dir that keeps the settings that
// worked last.
const LastGoodName = "settings-last-good.json"

// lastGood is what that file holds. Its keys never change.
type lastGood struct {
	File     string    `json:"file"` // the settings file; "" where there was none
	Kept     time.Time `json:"kept"`
	Text     string    `json:"text"`
	Overlay  string    `json:"overlay"`
	Settings string    `json:"settings,omitempty"`
	Policy   string    `json:"policy,omitempty"` // the folder of the center's policy
	Shared   string    `json:"shared,omitempty"` // its settings
}

// ErrNoLastGood means that no settings are kept that could replace broken ones.
var ErrNoLastGood = errors.New("no settings that worked before are kept")

// KeepAsLastGood keeps the texts that c was read from in its data.dir, for
// LoadLastGood. Only this user may read them.
func (c *Config) KeepAsLastGood(now time.Time) error {
	if !utf8.Valid(c.origin.text) || !utf8.Valid(c.origin.overlay) || !utf8.Valid(c.origin.settings) {
		return fmt.Errorf("%s is not UTF-8 and is not kept as the settings that worked last", c.File)
	}
	b, err := json.MarshalIndent(lastGood{File: c.File, Kept: now.UTC(), Text: string(c.origin.text), Overlay: string(c.origin.overlay), Settings: string(c.origin.settings), Policy: c.Policy, Shared: string(c.origin.policy)}, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Replace(filepath.Join(c.Data.Dir, LastGoodName), append(b, '\n'), 0o600)
}

// LoadLastGood returns the settings that worked last, for a start at which Load
// fails. They are those of the same settings file; variables and flags are as
// they are now. They are kept in dataDir, the data.dir of a server that runs with
// that file; "" is what the broken settings still tell of it.
func LoadLastGood(path string, flags *pflag.FlagSet, env []string, dataDir string) (*Config, error) {
	file, _ := locate(path, env)
	text, _ := read(file)
	dir := cmp.Or(dataDir, dataDirOf(&building{file: file, text: text, flags: flags, env: env}))
	kept, err := readLastGood(filepath.Join(dir, LastGoodName))
	if err != nil {
		return nil, err
	}
	if kept.File != file && (kept.File != "" || file != DefaultFile) {
		return nil, fmt.Errorf("%w of %s: those in %s are of %q", ErrNoLastGood, file, dir, kept.File)
	}
	b := building{file: kept.File, text: []byte(kept.Text), flags: flags, env: env}
	b.readOverlay = func(file string) ([]byte, error) {
		if filepath.Base(file) == SettingsOverlayName {
			return []byte(kept.Settings), nil
		}
		return []byte(kept.Overlay), nil
	}
	b.readPolicy = func(string) (string, []byte, error) { return kept.Policy, []byte(kept.Shared), nil }
	c, err := b.build()
	if err != nil {
		return nil, fmt.Errorf("the settings kept in %s have mistakes, too:\n%w", dir, err)
	}
	if c.Data.Dir != dir {
		return nil, fmt.Errorf("%w: those in %s are of another data.dir, %s", ErrNoLastGood, dir, c.Data.Dir)
	}
	c.LastGood = kept.Kept
	return c, nil
}

func readLastGood(path string) (kept lastGood, err error) {
	text, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return kept, fmt.Errorf("%w in %s", ErrNoLastGood, filepath.Dir(path))
	}
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil {
		return kept, fmt.Errorf("%s: %w", path, err)
	}
	return kept, nil
}

// dataDirOf returns data.dir as far as broken settings still tell it.
func dataDirOf(b *building) string {
	c, _ := b.decode()
	if _, ok := c.given["data.dir"]; ok {
		return c.Data.Dir
	}
	// The file is no YAML. The part of it that begins with "data:" may be.
	b.text = sectionText(b.text, "data")
	c, _ = b.decode()
	return c.Data.Dir
}

var topLevel = regexp.MustCompile(`^[^\s#-]`)

// sectionText returns the lines of one top-level section of a settings file.
func sectionText(text []byte, name string) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	from := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(strings.ToLower(line), name+":") })
	if from < 0 {
		return nil
	}
	to := slices.IndexFunc(lines[from+1:], topLevel.MatchString)
	if to < 0 {
		to = len(lines) - from - 1
	}
	return []byte(strings.Join(lines[from:from+1+to], ""))
}
