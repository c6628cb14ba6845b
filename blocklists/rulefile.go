package blocklists

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"telltale/atomicfile"
	"telltale/blocklists/format"
)

// MaxRuleFile is the most octets of a file of the user's own that are shown and
// changed line by line. A larger one is in force all the same.
const MaxRuleFile = 1 << 20

// A RuleFile is a file of the user's own, line by line.
type RuleFile struct {
	Version  string // of the text; never empty
	Text     string
	Lines    []RuleLine
	Mistakes []BadLine // all bad lines
}

// A RuleLine is one line of a file.
type RuleLine struct {
	Text    string        // without its end
	Comment string        // what the line says for people; "" for nothing
	Rules   []format.Rule // that it holds; several for a line with several names
	Bad     []string      // what is wrong with it
}

// A VersionError says that a file is not what somebody took it for.
type VersionError struct {
	Path string
	Now  string // the text that it has
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s was changed meanwhile, by somebody else or in an editor: look at it again, and change that", e.Path)
}

// A MistakesError says that a text has lines that are no rules.
type MistakesError struct {
	Path  string
	Lines []BadLine
}

func (e *MistakesError) Error() string {
	first := e.Lines[0]
	more := ""
	if n := len(e.Lines) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more", n)
	}
	return fmt.Sprintf("%s stays as it is: line %d is no rule: %s%s", e.Path, first.Line, first.Why, more)
}

// ErrNoLine means that a file has no such line, or that it holds no rule.
var ErrNoLine = errors.New("there is no rule in that line")

// VersionOf returns what a text is told from others by.
func VersionOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

// ReadRuleFile reads a file of the user's own, whose lines are read by o. One that is
// not there is empty.
func ReadRuleFile(path string, o format.Options) (*RuleFile, error) {
	text, err := ruleFileText(path)
	if err != nil {
		return nil, err
	}
	return ParseRuleFile(text, o), nil
}

func ruleFileText(path string) ([]byte, error) {
	f, err := OpenList(path)
	if err != nil {
		if _, e := os.Stat(path); errors.Is(e, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxRuleFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > MaxRuleFile:
		return nil, fmt.Errorf("%s is over %d KiB: use an editor on the machine itself", path, MaxRuleFile>>10)
	case !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0:
		return nil, fmt.Errorf("%s is packed, or no UTF-8: use an editor on the machine itself", path)
	}
	return text, nil
}

// ParseRuleFile is ReadRuleFile for a text.
func ParseRuleFile(text []byte, o format.Options) *RuleFile {
	f := &RuleFile{Version: VersionOf(text), Text: string(text)}
	for line := range strings.Lines(f.Text) {
		f.Lines = append(f.Lines, RuleLine{Text: strings.TrimRight(line, "\r\n")})
	}
	at := func(line int) *RuleLine {
		if line < 1 || line > len(f.Lines) {
			return nil
		}
		return &f.Lines[line-1]
	}
	o.Limits.Bad = len(f.Lines) + 1
	report := format.Parse(bytes.NewReader(text), o, func(r *format.Rule) {
		if l := at(r.Line); l != nil {
			c := *r
			c.Name = slices.Clone(r.Name)
			l.Rules = append(l.Rules, c)
		}
	})
	for _, b := range report.Bad {
		f.Mistakes = append(f.Mistakes, BadLine{Line: b.Line, Text: b.Text, Why: b.Problem})
		if l := at(b.Line); l != nil {
			l.Bad = append(l.Bad, b.Problem)
		}
	}
	if report.Content != format.Text && report.Content != format.Empty {
		f.Mistakes = append(f.Mistakes, BadLine{Text: report.Content.String(), Why: fmt.Sprintf("the text is %v, not a list", report.Content)})
	}
	for i := range f.Lines {
		f.Lines[i].Comment = commentOf(&f.Lines[i])
	}
	return f
}

// commentOf returns what a line says for people: what stands behind its rule, or all
// of a comment.
func commentOf(l *RuleLine) string {
	text := strings.TrimSpace(l.Text)
	if len(l.Rules) == 0 {
		if rest, ok := strings.CutPrefix(text, "#"); ok && !strings.HasPrefix(rest, "@") {
			return strings.TrimSpace(rest)
		}
		return ""
	}
	for from := 0; ; {
		i := strings.IndexByte(text[from:], '#')
		if i < 0 {
			return ""
		}
		i += from
		from = i + 1
		if i > 0 && (text[i-1] == ' ' || text[i-1] == '\t') && !strings.HasPrefix(text[from:], "@") {
			return strings.TrimSpace(text[from:])
		}
	}
}

// ReplaceRuleFile puts a text in the place of a file's, if that is of the version; "*"
// is any. Unless keep is set, a text with lines that are no rules is refused.
func ReplaceRuleFile(path, version string, text []byte, o format.Options, keep bool) error {
	if len(text) > MaxRuleFile {
		return fmt.Errorf("the text is over %d KiB", MaxRuleFile>>10)
	}
	if mistakes := ParseRuleFile(text, o).Mistakes; len(mistakes) > 0 && !keep {
		return &MistakesError{path, mistakes}
	}
	return changeVersion(path, version, func([]byte) ([]byte, error) { return text, nil })
}

// RemoveLine removes a line that holds rules, or is no rule at all, from a file of the
// version; "*" is any. It returns the line.
func RemoveLine(path, version string, line int, o format.Options) (removed string, err error) {
	err = changeVersion(path, version, func(text []byte) ([]byte, error) {
		f := ParseRuleFile(text, o)
		if line < 1 || line > len(f.Lines) || len(f.Lines[line-1].Rules)+len(f.Lines[line-1].Bad) == 0 {
			return nil, fmt.Errorf("%s:%d: %w", path, line, ErrNoLine)
		}
		removed = f.Lines[line-1].Text
		lines := newOwnText(text).lines
		return []byte(strings.Join(slices.Delete(lines, line-1, line), "")), nil
	})
	return removed, err
}

// changeVersion changes a file that is of a version.
func changeVersion(path, version string, change func(text []byte) ([]byte, error)) error {
	return replaceText(path, func(before []byte) ([]byte, error) {
		if version != "*" && version != VersionOf(before) {
			return nil, &VersionError{path, string(before)}
		}
		return change(before)
	})
}

// replaceText reads, changes and replaces a file. The new one is complete before it
// takes the place of the old, whose mode it has; a link stays a link.
func replaceText(path string, change func(before []byte) (after []byte, err error)) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	mode := fs.FileMode(0o644)
	info, err := os.Stat(path)
	if err == nil {
		mode = info.Mode().Perm()
	}
	after, err := change(before)
	if err != nil {
		return err
	}
	if bytes.Equal(before, after) {
		return nil
	}
	if info == nil {
		return atomicfile.Replace(path, after, mode)
	}
	return putInPlace(atomicfile.Replace, path, after, mode)
}
