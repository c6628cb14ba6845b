package peersettings

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"telltale/blocklists/format"
)

// A Draft is settings of Telltale that say what another server's do. Whoever writes
// them checks them as the server does, and removes what it does not take.
type Draft struct {
	Product string   // whose settings they were
	Read    []string // the files that were read
	Lists   []*List  // files for lists.dir
	Left    []Left   // what was not taken over

	root   *yaml.Node
	places map[*yaml.Node]Place

	listNames   map[string]bool // in lower case
	deviceNames map[string]bool

	failed error // more than is written; reading stops soon
}

// A List is a file of rules.
type List struct {
	Name  string // of the list; the file is that and ".txt"
	Lines []string

	own    bool // it is own.txt
	places map[int]Place
	counts int // lines that are rules
	size   int // octets of them
}

func newDraft(o Options) *Draft {
	d := &Draft{root: &yaml.Node{Kind: yaml.MappingNode}, places: map[*yaml.Node]Place{}, listNames: map[string]bool{"own": true}, deviceNames: map[string]bool{}}
	for _, name := range o.Lists {
		d.listNames[strings.ToLower(name)] = true
	}
	d.set("lists.dir", text("lists.d"), Place{})
	return d
}

// text is a value that is a text, whatever it looks like; word is a value as it stands.
func text(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: clean(value)}
}

func word(value string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: value} }

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }

func sequence(values ...string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, value := range values {
		n.Content = append(n.Content, text(value))
	}
	return n
}

// put sets a key of a mapping.
func put(m *yaml.Node, key string, value *yaml.Node) {
	if at := keyIn(m, key); at >= 0 {
		m.Content[at+1] = value
		return
	}
	m.Content = append(m.Content, word(key), value)
}

// keyIn returns where a key of a mapping is; -1 for nowhere.
func keyIn(m *yaml.Node, key string) int {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// within returns the node of a key with dots, made of the kind where it is not there.
func (d *Draft) within(key string, kind yaml.Kind) *yaml.Node {
	n, keys := d.root, strings.Split(key, ".")
	for i, key := range keys {
		at := keyIn(n, key)
		if at < 0 {
			next := mapping()
			if i == len(keys)-1 {
				next.Kind = kind
			}
			put(n, key, next)
			at = keyIn(n, key)
		}
		n = n.Content[at+1]
	}
	return n
}

// set sets a setting.
func (d *Draft) set(key string, value *yaml.Node, at Place) {
	before, last := "", key
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		before, last = key[:i], key[i+1:]
	}
	n := d.root
	if before != "" {
		n = d.within(before, yaml.MappingNode)
	}
	d.places[value] = at
	put(n, last, value)
}

// add adds an entry to a setting that has several.
func (d *Draft) add(key string, value *yaml.Node, at Place) {
	list := d.within(key, yaml.SequenceNode)
	d.places[value] = at
	list.Content = append(list.Content, value)
}

// length returns how many entries a setting has.
func (d *Draft) length(key string) int {
	n := d.root
	for _, key := range strings.Split(key, ".") {
		at := keyIn(n, key)
		if at < 0 {
			return 0
		}
		n = n.Content[at+1]
	}
	return len(n.Content)
}

// Settings returns the text of telltale.yaml, with head as a comment above it. Behind
// each entry is where it stood.
func (d *Draft) Settings(head string) ([]byte, error) {
	var b bytes.Buffer
	for line := range strings.Lines(head) {
		b.WriteString(strings.TrimRight("# "+strings.TrimRight(line, "\n"), " ") + "\n")
	}
	for n, at := range d.places {
		if at.File == "" {
			continue
		}
		if comment := clean(at.String()); n.Kind == yaml.ScalarNode || n.Style == yaml.FlowStyle {
			n.LineComment = comment
		} else {
			n.HeadComment = comment
		}
	}
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(d.root); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// Remove takes out what stands at a key such as "devices[1].mac", and leaves it with
// the reason. Where the key says nothing of what is there, the entry goes as a whole.
// It reports whether there was anything.
func (d *Draft) Remove(key, why string) bool {
	path, ok := d.find(key)
	if !ok {
		return false
	}
	at := Place{}
	for _, s := range path {
		if place, has := d.places[s.node]; has {
			at = place
		}
	}
	d.leave(at, why)
	for i := len(path) - 1; i >= 0; i-- {
		cut(path[i].in, path[i].node)
		if len(path[i].in.Content) > 0 && !losesItsMeaning(path, i) {
			break
		}
	}
	return true
}

// A step is a node and what it is in.
type step struct {
	in, node *yaml.Node
	key      string
}

// losesItsMeaning reports whether what is left of an entry means more than before:
// servers for a device without that device are for everybody.
func losesItsMeaning(path []step, i int) bool {
	return len(path) > 1 && path[0].key == "forward" && i == 2
}

func (d *Draft) find(key string) (path []step, ok bool) {
	n := d.root
	for _, part := range strings.FieldsFunc(key, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		var next *yaml.Node
		switch n.Kind {
		case yaml.MappingNode:
			if at := keyIn(n, part); at >= 0 {
				next = n.Content[at+1]
			}
		case yaml.SequenceNode:
			if i, err := strconv.Atoi(part); err == nil && i < len(n.Content) {
				next = n.Content[i]
			}
		}
		if next == nil {
			break
		}
		path = append(path, step{n, next, part})
		n = next
	}
	return path, len(path) > 0
}

// cut takes a node out of what it is in.
func cut(in, node *yaml.Node) {
	i := slices.Index(in.Content, node)
	switch {
	case i < 0:
	case in.Kind == yaml.MappingNode:
		in.Content = slices.Delete(in.Content, i-1, i+1)
	default:
		in.Content = slices.Delete(in.Content, i, i+1)
	}
}

// list returns the list of a name, made where it is not there.
func (d *Draft) list(name string) *List {
	for _, l := range d.Lists {
		if l.Name == name {
			return l
		}
	}
	l := &List{Name: name, own: name == "own", places: map[int]Place{}}
	d.Lists = append(d.Lists, l)
	return l
}

// options is how a list is read. Those that are no own.txt have the settings that
// listSettings gives them.
func (l *List) options() format.Options {
	if l.own {
		return format.Options{Own: true}
	}
	return format.Options{Answers: true, Suffixes: true, Exact: true}
}

// rule adds a rule to a list, or leaves it with what is wrong with it.
func (d *Draft) rule(l *List, line string, at Place) bool {
	if strings.ContainsAny(line, "\r\n") {
		d.leave(at, "a rule of several lines")
		return false
	}
	if l.size += len(line) + 1; l.size > maxText {
		d.failed = fmt.Errorf("%s.txt would be longer than %d MiB: fewer rules, or fewer groups with rules of their own, can be taken over", l.Name, maxText>>20)
		return false
	}
	rules, err := format.ParseLine(line, l.options())
	switch {
	case err != nil:
		d.leave(at, "not a rule here: %s", err)
		return false
	case len(rules) == 0:
		d.leave(at, "says nothing here")
		return false
	}
	l.places[len(l.Lines)] = at
	l.Lines = append(l.Lines, line)
	l.counts++
	return true
}

// comment adds a comment, which is no annotation.
func (l *List) comment(text string) {
	if text = strings.TrimSpace(clean(text)); text != "" {
		l.Lines = append(l.Lines, "# "+text)
	}
}

// Text returns the text of the file. Only what is read as rules is in it.
func (l *List) Text() []byte { return []byte(strings.Join(l.Lines, "\n") + "\n") }

// Rules returns how many lines are rules.
func (l *List) Rules() int { return l.counts }

// finish removes lists without rules, and looks at each as a whole: there are bounds
// that no single line exceeds.
func (d *Draft) finish() {
	d.Lists = slices.DeleteFunc(d.Lists, func(l *List) bool { return l.counts == 0 })
	for _, l := range d.Lists {
		report := format.Parse(bytes.NewReader(l.Text()), l.options(), func(*format.Rule) {})
		for _, bad := range report.Bad {
			d.leave(l.places[bad.Line-1], "written into %s.txt, and not in force: %s", l.Name, bad.Problem)
		}
		if !l.own && !d.hasSettings(l.Name) {
			m := mapping()
			put(m, "name", text(l.Name))
			put(m, "match", word("exact"))
			put(m, "answers", word("true"))
			put(m, "suffixes", word("true"))
			d.add("lists.settings", m, Place{})
		}
	}
}

// hasSettings reports whether a list has settings already.
func (d *Draft) hasSettings(list string) bool {
	if d.length("lists.settings") == 0 {
		return false
	}
	for _, n := range d.within("lists.settings", yaml.SequenceNode).Content {
		if at := keyIn(n, "name"); at >= 0 && n.Content[at+1].Value == list {
			return true
		}
	}
	return false
}

// subscribe adds a subscription, and returns the name that it got; "" where the list
// cannot be one.
func (d *Draft) subscribe(address, title string, on bool, exceptions bool, at Place) string {
	u, err := url.Parse(strings.TrimSpace(address))
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		d.leave(at, "no list at an http or https address: put the file into lists.d yourself")
		return ""
	case u.User != nil:
		d.leave(at, "its address has a password in it, which is not copied: use 'telltale lists add'")
		return ""
	}
	last := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	name := unlike(wordOf(title, wordOf(u.Host+"-"+last, "list")), "-", d.listNames)
	m := mapping()
	put(m, "name", text(name))
	put(m, "url", text(u.String()))
	if !on {
		put(m, "enabled", word("false"))
	}
	put(m, "match", word("exact"))
	if exceptions {
		put(m, "exceptions", word("true"))
	}
	d.add("lists.subscriptions", m, at)
	return name
}

// forward adds servers for zones, or to those that the same zones have.
func (d *Draft) forward(zones, servers []string, at Place) {
	if slices.ContainsFunc(servers, hasPassword) {
		d.leave(at, passwordLeft)
		return
	}
	slices.Sort(zones)
	zones = slices.Compact(zones)
	for _, n := range d.within("forward", yaml.SequenceNode).Content {
		if at := keyIn(n, "zones"); at >= 0 && slices.EqualFunc(n.Content[at+1].Content, zones, func(n *yaml.Node, zone string) bool { return n.Value == zone }) {
			list := n.Content[keyIn(n, "upstreams")+1]
			for _, server := range servers {
				list.Content = append(list.Content, text(server))
			}
			return
		}
	}
	m := mapping()
	put(m, "zones", sequence(zones...))
	put(m, "upstreams", sequence(servers...))
	d.add("forward", m, at)
}

// upstream adds a server that all names are asked of.
func (d *Draft) upstream(server string, at Place) {
	if hasPassword(server) {
		d.leave(at, passwordLeft)
		return
	}
	d.add("upstreams", text(server), at)
}

const passwordLeft = "its address has a password in it, which is not copied"

// hasPassword reports whether one of the servers of a line names a user.
func hasPassword(line string) bool {
	return slices.ContainsFunc(strings.Fields(line), func(server string) bool {
		_, rest, isURL := strings.Cut(server, "://")
		if !isURL {
			rest = server[strings.LastIndexByte(server, '/')+1:] // behind names
		}
		host, _, _ := strings.Cut(rest, "/")
		return strings.Contains(host, "@")
	})
}

// quoted is a word for a message.
func quoted(word string) string { return fmt.Sprintf("%q", word) }
