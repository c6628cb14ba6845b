// Package geo says whose an address is by databases that a person chose: the network's
// operator first, then countries, and always by which database of which date. It reads
// files and asks nobody.
package geo

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// A Kind is what a database is asked for. The words are in settings and JSON and never
// change.
type Kind string

const (
	ASN        Kind = "asn"        // the operator: number and name of the autonomous system
	Country    Kind = "country"    // where the database says that an address is
	Registered Kind = "registered" // where the network is registered
)

// Kinds are all kinds.
var Kinds = []Kind{ASN, Country, Registered}

// MostBytes is how large a file may be. It is read whole: one that is cut while it is mapped
// would end the process.
const MostBytes = 256 << 20

// OldAfter is the age from which on a database is said to be old: networks change hands.
const OldAfter = 90 * 24 * time.Hour

// A Source names a database that said something.
type Source struct {
	Kind  Kind   `json:"kind"`
	File  string `json:"file"`            // its name, without the directory
	Built string `json:"built,omitempty"` // the date that it says it was made, as 2006-01-02

	Fetched string `json:"fetched,omitempty"` // where it says no date: when it was fetched or added
}

// String is how people are told of a source.
func (s Source) String() string {
	return s.File + " " + s.Date()
}

// Date says of which date a source is.
func (s Source) Date() string {
	switch {
	case s.Built != "":
		return "of " + s.Built
	case s.Fetched != "":
		return "fetched on " + s.Fetched + ", which says no date itself"
	}
	return "of an unknown date"
}

// A database is one file.
type database struct {
	Source
	path   string
	built  time.Time // zero for unknown
	v6     bool      // it may have IPv6 addresses
	reader *maxminddb.Reader
}

// A Set is the databases in use. It never changes, and any number of goroutines may ask
// it. The zero value knows nothing.
type Set struct {
	all    []*database
	clouds []*cloud
}

// Files are the databases of each kind.
type Files map[Kind][]string

// Open reads databases. What can be read is in the set also where there is an error, which
// names each file that cannot, and what to do.
func Open(files Files) (*Set, error) {
	s := &Set{}
	var errs []error
	for _, kind := range Kinds {
		for _, path := range files[kind] {
			db, err := open(kind, path)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", path, err))
				continue
			}
			s.all = append(s.all, db)
		}
	}
	for _, path := range files[Cloud] {
		b, err := Read(path)
		if err == nil {
			var c *cloud
			if c, err = parseCloud(path, b); err == nil {
				if info, err := os.Stat(path); err == nil && c.Built == "" && c.Fetched == "" {
					c.Fetched = info.ModTime().UTC().Format(time.DateOnly)
				}
				s.clouds = append(s.clouds, c)
				continue
			}
		}
		errs = append(errs, fmt.Errorf("%s: %w", path, err))
	}
	return s, errors.Join(errs...)
}

const getAnother = "; 'telltale geo update' fetches one, or name another under destinations"

func open(kind Kind, path string) (*database, error) {
	b, err := Read(path)
	if err != nil {
		return nil, err
	}
	return parse(kind, path, b)
}

// Read reads a file of bounded size.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		var of *fs.PathError
		if errors.As(err, &of) {
			err = of.Err // who is told names the file
		}
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("it is no regular file"))
	} else if info.Size() > MostBytes {
		return nil, fmt.Errorf("it has %d MB, more than the %d MB that a database may have", info.Size()>>20, MostBytes>>20)
	}
	return io.ReadAll(io.LimitReader(f, MostBytes))
}

// parse opens a database that was read, and refuses one of another kind.
func parse(kind Kind, path string, b []byte) (*database, error) {
	reader, err := maxminddb.OpenBytes(b)
	if err != nil {
		return nil, fmt.Errorf("it is no MaxMind DB, or is damaged (%w)%s", err, getAnother)
	}
	db := &database{Source: Source{Kind: kind, File: filepath.Base(path)}, path: path, reader: reader, v6: reader.Metadata.IPVersion == 6}
	if epoch := uint64(reader.Metadata.BuildEpoch); epoch > 0 && epoch < 1<<40 {
		db.built = time.Unix(int64(epoch), 0).UTC()
		db.Built = db.built.Format(time.DateOnly)
	}
	has, err := db.kinds(b)
	if err != nil {
		return nil, fmt.Errorf("it is damaged (%w)%s", err, getAnother)
	}
	if !has[kind] {
		what := "neither operators nor countries"
		for _, k := range Kinds {
			if has[k] {
				what = string(k) + ": name it at destinations." + string(k)
				break
			}
		}
		return nil, fmt.Errorf("it is a database of another kind (%s), not of %s; it has %s", printableName(reader.Metadata.DatabaseType), kind, what)
	}
	return db, nil
}

// checkTree refuses a search tree in which two records lead to one node, or nodes are deeper
// than an address is long: a small file of that kind has more networks than anybody can walk.
// Records that lead to the IPv4 networks from elsewhere (::ffff:0:0/96, 2002::/16) are
// ordinary, and the reader does not follow them.
func checkTree(b []byte, m *maxminddb.Metadata) error {
	size := m.RecordSize / 4
	if size < 6 || size > 8 || uint(len(b))/size < m.NodeCount {
		return errors.New("its search tree is not whole")
	}
	records := func(node uint) [2]uint {
		at := b[node*size:][:size]
		middle := [2]uint{}
		if size == 7 {
			middle = [2]uint{uint(at[3] >> 4), uint(at[3] & 15)}
		}
		return [2]uint{number(middle[0], at[:size/2]), number(middle[1], at[size-size/2:])}
	}
	ipv4 := m.NodeCount // no node
	if m.IPVersion == 6 {
		ipv4 = 0
		for depth := 0; depth < 96 && ipv4 < m.NodeCount; depth++ {
			ipv4 = records(ipv4)[0]
		}
	}
	seen := make([]bool, m.NodeCount)
	var walk func(node uint, depth int, zeros bool) error
	walk = func(node uint, depth int, zeros bool) error {
		if node >= m.NodeCount || node == ipv4 && !zeros {
			return nil
		}
		if seen[node] || depth == 128 {
			return fmt.Errorf("node %d of its search tree is reached twice, or is too deep", node)
		}
		seen[node] = true
		next := records(node)
		if err := walk(next[0], depth+1, zeros); err != nil {
			return err
		}
		return walk(next[1], depth+1, zeros && depth >= 96)
	}
	return walk(0, 0, true)
}

// number reads a number of which high are the bits above b.
func number(high uint, b []byte) uint {
	for _, octet := range b {
		high = high<<8 | uint(octet)
	}
	return high
}

// kinds says what the first records of b, which db reads, have.
func (db *database) kinds(b []byte) (has map[Kind]bool, err error) {
	if err := checkTree(b, &db.reader.Metadata); err != nil {
		return nil, err
	}
	has = map[Kind]bool{}
	left := 200
	for result := range db.reader.Networks() {
		var r record
		if err := result.Decode(&r); err != nil {
			return nil, err
		}
		has[ASN] = has[ASN] || r.asn() > 0
		has[Country] = has[Country] || r.country() != ""
		has[Registered] = has[Registered] || r.registered() != ""
		if left--; left == 0 {
			break
		}
	}
	return has, nil
}

// A record has the fields of the layouts that are known: of MaxMind and DB-IP (country,
// registered_country, autonomous_system_*), and of ip-location-db (country_code,
// autonomous_system_*).
type record struct {
	Number       uint32 `maxminddb:"autonomous_system_number"`
	Organization string `maxminddb:"autonomous_system_organization"`
	Code         string `maxminddb:"country_code"`
	Country      struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Registered struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"registered_country"`
}

func (r *record) asn() uint32 { return r.Number }

func (r *record) country() string {
	if r.Country.Code != "" {
		return code(r.Country.Code)
	}
	return code(r.Code)
}

// registered is where the network is registered. A database that has one country alone is
// of registration where the person says so.
func (r *record) registered() string {
	if r.Registered.Code != "" {
		return code(r.Registered.Code)
	}
	return code(r.Code)
}

// code returns a country's code of two letters; "" for all else.
func code(s string) string {
	s = strings.ToUpper(s)
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		return ""
	}
	return s
}

// A Network is what databases say of an address. Empty fields are not known.
type Network struct {
	ASN        uint32 `json:"asn,omitempty"`
	Operator   string `json:"operator,omitempty"`   // the name of the autonomous system
	Country    string `json:"country,omitempty"`    // where the address is said to be
	Registered string `json:"registered,omitempty"` // where the network is
	Special    string `json:"special,omitempty"`    // the address is nobody's: why
	Cloud      string `json:"cloud,omitempty"`      // the operator of a cloud that has published the range
	Region     string `json:"region,omitempty"`     // in its own words
}

// Of returns what the databases say of an address, and adds those that said something to
// by. Where several are of one kind the first that knows counts.
func (s *Set) Of(addr netip.Addr, by map[Source]bool) (n Network, err error) {
	addr = addr.Unmap().WithZone("")
	if n.Special = special(addr); n.Special != "" {
		return n, nil
	}
	for _, db := range s.all {
		if addr.Is6() && !db.v6 {
			continue // it has no such addresses
		}
		var r record
		result := db.reader.Lookup(addr)
		if err := result.Decode(&r); err != nil {
			return n, fmt.Errorf("%s is damaged where it speaks of %s (%w)%s", db.path, addr, err, getAnother)
		}
		if n.take(db.Kind, &r) && by != nil {
			by[db.Source] = true
		}
	}
	for _, c := range s.clouds {
		if region, ok := c.find(addr); ok {
			n.Cloud, n.Region = c.operator, region
			if by != nil {
				by[c.Source] = true
			}
			break
		}
	}
	return n, nil
}

// take takes what a record says of one kind, where that is not known yet.
func (n *Network) take(kind Kind, r *record) bool {
	switch {
	case kind == ASN && n.ASN == 0 && r.asn() > 0:
		n.ASN, n.Operator = r.asn(), printableName(r.Organization)
	case kind == Country && n.Country == "" && r.country() != "":
		n.Country = r.country()
	case kind == Registered && n.Registered == "" && r.registered() != "":
		n.Registered = r.registered()
	default:
		return false
	}
	return true
}

// printableName returns a name of bounded length on one line.
func printableName(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if r := []rune(s); len(r) > 100 {
		s = string(r[:100]) + "..."
	}
	return s
}

// Sources are the databases that are read.
func (s *Set) Sources() (all []Source) {
	for _, db := range s.all {
		all = append(all, db.Source)
	}
	for _, c := range s.clouds {
		all = append(all, c.Source)
	}
	return all
}

// Caveats says what bears on what the databases say: that there is none, that they are old,
// or of one family alone.
func (s *Set) Caveats(now time.Time) (all []string) {
	for _, c := range s.clouds {
		if day, err := time.Parse(time.DateOnly, cmp.Or(c.Built, c.Fetched)); err == nil && now.Sub(day) > OldAfter {
			all = append(all, fmt.Sprintf("%s is %d days old, and clouds grow: fetch or add it again", c.File, int(now.Sub(day).Hours()/24)))
		}
	}
	if len(s.all) == 0 {
		return append(all, "no address database is read: operators and countries are not known; 'telltale geo update' fetches free ones")
	}
	have := map[Kind]bool{}
	v6 := map[Kind]bool{}
	for _, db := range s.all {
		have[db.Kind] = true
		v6[db.Kind] = v6[db.Kind] || db.v6
		switch age := now.Sub(db.built); {
		case db.built.IsZero() || age < -24*time.Hour:
			all = append(all, db.File+" does not say when it was made, or says a time to come")
		case age > OldAfter:
			all = append(all, fmt.Sprintf("%s is %d days old, and networks change hands: 'telltale geo update' fetches a newer one", db.Source, int(now.Sub(db.built.Truncate(24*time.Hour)).Hours()/24))) // by its day, as a finding says it
		}
	}
	for _, kind := range Kinds {
		if have[kind] && !v6[kind] {
			all = append(all, fmt.Sprintf("no database of kind %s has IPv6 addresses", kind))
		}
	}
	return all
}

// Verify reads what a database says of each network, and fails where anything of that is
// damaged or it is of another kind. The result says what it is. The reader's own Verify also
// wants a description, which files of ip-location-db do not have.
func Verify(kind Kind, path string, b []byte) (Source, error) {
	db, err := parse(kind, path, b)
	if err != nil {
		return Source{}, err
	}
	for result := range db.reader.Networks() {
		var r record
		if err := result.Decode(&r); err != nil {
			return Source{}, fmt.Errorf("it is damaged (%w)", err)
		}
	}
	return db.Source, nil
}
