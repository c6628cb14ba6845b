package blocklists

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"telltale/blocklists/format"
	"telltale/dnswire"
)

// EditOwn adds to the user's own file the rule that allows or blocks name and
// everything below it. Plain rules for this very name are replaced by it, where they
// stand; every other line and comment stays as it is. A zero until is for ever.
// Client is whom it is for, by the name or address that $client takes; "" is everyone.
func EditOwn(path, client string, action Action, name *dnswire.Name, comment string, until time.Time) error {
	if action != Allow && action != Block {
		return fmt.Errorf("a rule can allow or block, not %v", action)
	}
	if name.Labels() == 0 {
		return errors.New("a rule for the root would hold for every name")
	}
	line := ownLine(client, action, name, comment, until)
	if err := sameRule(line, action, name); err != nil {
		return err
	}
	return editFile(path, func(f *ownText) error {
		at, err := f.remove(client, name)
		if err != nil {
			return err
		}
		f.insert(at, line)
		return nil
	})
}

// RemoveOwn removes from the user's own file the plain rules for this very name
// and returns how many they were.
func RemoveOwn(path, client string, name *dnswire.Name) (removed int, err error) {
	err = editFile(path, func(f *ownText) error {
		before := len(f.lines)
		_, err := f.remove(client, name)
		if removed = before - len(f.lines); err != nil || removed > 0 {
			return err
		}
		if others := f.clientsOf(name); len(others) > 0 {
			return &OtherClientsError{Name: name.String(), For: client, Clients: others}
		}
		return nil
	})
	return removed, err
}

// An OtherClientsError says that there is no rule for a name and a client, and for
// whom there are some.
type OtherClientsError struct {
	Name    string
	For     string   // "" for everyone
	Clients []string // "" for everyone
}

func (e *OtherClientsError) Error() string {
	called := func(client string) string {
		if client == "" {
			return "everyone"
		}
		return client
	}
	var others []string
	for _, c := range e.Clients {
		others = append(others, called(c))
	}
	return fmt.Sprintf("there is no rule for %s for %s, but there is one for %s: say for whom", e.Name, called(e.For), strings.Join(others, ", "))
}

// clientsOf returns the clients for which there is a plain rule for this very name.
func (f *ownText) clientsOf(name *dnswire.Name) (clients []string) {
	for _, line := range f.lines {
		all, _ := format.ParseLine(strings.TrimRight(line, "\r\n"), format.Options{Own: true})
		for i := range all {
			client := ""
			if x := all[i].Extra; x != nil && len(x.Clients) > 0 {
				client = strings.Join(x.Clients, "|")
			}
			if isPlainFor(&all[i], client, name) && !slices.Contains(clients, client) {
				clients = append(clients, client)
			}
		}
	}
	return clients
}

// ownLine writes the rule.
func ownLine(client string, action Action, name *dnswire.Name, comment string, until time.Time) string {
	text := name.String()
	if client != "" {
		text = "||" + text + "^$client=" + quoted(client)
	}
	if action == Allow {
		text = "@@" + text
	}
	if !until.IsZero() {
		text += "  #@ until=" + until.UTC().Format(time.RFC3339)
	}
	comment = strings.Join(strings.Fields(strings.Map(printableRune, comment)), " ")
	if comment != "" {
		text += "  # " + strings.TrimLeft(comment, "#@ ")
	}
	return text
}

// quoted returns a client as $client takes it.
func quoted(client string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(client) + "'"
}

func printableRune(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

// sameRule checks that a line says what it was written for.
func sameRule(line string, action Action, name *dnswire.Name) error {
	rules, err := format.ParseLine(line, format.Options{Own: true})
	if err != nil {
		return err
	}
	want := format.Block
	if action == Allow {
		want = format.Allow
	}
	if len(rules) != 1 || rules[0].Action != want || rules[0].Match != format.Subtree || !bytes.Equal(rules[0].Name, name.Wire()) {
		return fmt.Errorf("%s is no plain name: give the name alone, such as ads.example, which holds for all names below it, too; write any other form of a rule into own.txt by hand", name)
	}
	return nil
}

// An ownText is the user's own file, line by line, each with its line end.
type ownText struct {
	lines []string
	end   string // of lines, as the file has it
}

func newOwnText(b []byte) *ownText {
	f := &ownText{end: "\n"}
	if bytes.Contains(b, []byte("\r\n")) {
		f.end = "\r\n"
	}
	f.lines = strings.SplitAfter(string(b), "\n")
	if f.lines[len(f.lines)-1] == "" {
		f.lines = f.lines[:len(f.lines)-1]
	}
	return f
}

// insert puts a line before the line with index at; at -1 behind the last, where no
// annotation of the lines above holds for it.
func (f *ownText) insert(at int, line string) {
	if at >= 0 {
		f.lines = slices.Insert(f.lines, at, line+f.end)
		return
	}
	if n := len(f.lines); n > 0 && !strings.HasSuffix(f.lines[n-1], "\n") {
		f.lines[n-1] += f.end
	}
	if f.annotatesNext() {
		line = "#@" + f.end + line
	}
	f.lines = append(f.lines, line+f.end)
}

// annotatesNext reports whether a "#@" line holds for a line that comes next.
func (f *ownText) annotatesNext() (does bool) {
	text := strings.Join(f.lines, "") + "next.invalid"
	format.Parse(strings.NewReader(text), format.Options{Own: true}, func(r *format.Rule) { does = r.Annotation != nil })
	return does
}

// remove takes out the plain rules for this very name and client, and returns
// the index of the first; -1 for none.
func (f *ownText) remove(client string, name *dnswire.Name) (first int, err error) {
	first = -1
	kept := f.lines[:0:0]
	for i, line := range f.lines {
		is, err := isRuleFor(line, client, name)
		if err != nil {
			return -1, fmt.Errorf("line %d: %w", i+1, err)
		}
		if !is {
			kept = append(kept, line)
			continue
		}
		if first < 0 {
			first = len(kept)
		}
	}
	f.lines = kept
	return first, nil
}

var errSharedLine = errors.New("holds this name together with others: change it by hand")

// isRuleFor reports whether a line is a rule that allows or blocks this very name
// for this client, and nothing else.
func isRuleFor(line, client string, name *dnswire.Name) (bool, error) {
	rules, _ := format.ParseLine(strings.TrimRight(line, "\r\n"), format.Options{Own: true})
	found := 0
	for i := range rules {
		if isPlainFor(&rules[i], client, name) {
			found++
		}
	}
	if found > 0 && found < len(rules) {
		return false, errSharedLine
	}
	return found > 0, nil
}

func isPlainFor(r *format.Rule, client string, name *dnswire.Name) bool {
	if r.Action != format.Block && r.Action != format.Allow || r.Match != format.Subtree && r.Match != format.Exact {
		return false
	}
	if !bytes.Equal(r.Name, name.Wire()) {
		return false
	}
	x := r.Extra
	if x == nil {
		return client == ""
	}
	if len(x.Types)+len(x.NotTypes)+len(x.DenyAllow)+len(x.Tags) > 0 || x.Reply != format.Default {
		return false
	}
	if client == "" {
		return len(x.Clients) == 0
	}
	return len(x.Clients) == 1 && strings.EqualFold(x.Clients[0], client)
}

// editFile is replaceText for a file line by line.
func editFile(path string, change func(*ownText) error) error {
	return replaceText(path, func(before []byte) ([]byte, error) {
		f := newOwnText(before)
		if err := change(f); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return []byte(strings.Join(f.lines, "")), nil
	})
}

// putInPlace writes a file that is there by replace, and in place where only that works.
func putInPlace(replace func(string, []byte, fs.FileMode) error, path string, text []byte, mode fs.FileMode) error {
	err := replace(path, text, mode)
	if err == nil || !onlyInPlace(err) {
		return err
	}
	return os.WriteFile(path, text, mode)
}
