// Package destination says where names of the catalogue lead: by which aliases, to which
// addresses, in whose networks, and whose name servers say so; and what of it has changed.
// It is handed functions that ask, and never asks anybody itself.
package destination

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"telltale/evidence/geo"
	"telltale/sorting"
)

// A Found is where a name led when it was asked for. As JSON it is kept in the store: keys
// never change their meaning, and the same finding is the same text.
type Found struct {
	Missing   string       `json:"missing,omitempty"`   // NXDOMAIN or NODATA: it has no address itself
	Aliases   []string     `json:"aliases,omitempty"`   // in their order
	Addresses []Address    `json:"addresses,omitempty"` // in the order of addresses
	Domain    string       `json:"domain,omitempty"`    // whose name servers these are
	Servers   []string     `json:"servers,omitempty"`   // their names, in alphabetical order; none where they are not known
	ServedBy  []Network    `json:"served_by,omitempty"` // whose networks they are in
	By        []geo.Source `json:"by,omitempty"`        // the databases that say so
}

// An Address is one that a name led to, and what is said of it.
type Address struct {
	Address netip.Addr `json:"address"`
	geo.Network
}

// A Network is an operator, and where it is said to be.
type Network struct {
	ASN      uint32 `json:"asn"`
	Operator string `json:"operator"`
}

// An Answer is what upstreams say of a name and a type.
type Answer struct {
	Missing   string
	Aliases   []string
	Addresses []netip.Addr
	Servers   []string
}

// Types of questions.
const (
	TypeA    = 1
	TypeNS   = 2
	TypeAAAA = 28
)

// A Resolver asks for names and knows whose addresses are.
type Resolver struct {
	Ask func(ctx context.Context, name string, typ uint16) (Answer, error)
	Geo *geo.Set

	Problem func(error) // of a database; whose an address is is then not known
}

// of says whose an address is.
func (r *Resolver) of(addr netip.Addr, by map[geo.Source]bool) geo.Network {
	n, err := r.Geo.Of(addr, by)
	if err != nil {
		r.Problem(err)
	}
	return n
}

// Bounds of a finding, whoever answers.
const (
	mostAddresses = 64
	mostAliases   = 16
	mostServers   = 13
	askedServers  = 4 // whose addresses are asked for
)

// Find asks where a name leads. An error means that nobody said so: then nothing is known,
// and nothing has changed.
func (r *Resolver) Find(ctx context.Context, name string) (f Found, err error) {
	by := map[geo.Source]bool{}
	var missing []string
	for _, typ := range []uint16{TypeA, TypeAAAA} {
		a, err := r.Ask(ctx, name, typ)
		if err != nil {
			return f, err
		}
		if a.Missing != "" {
			missing = append(missing, a.Missing)
		}
		if len(a.Aliases) > len(f.Aliases) {
			f.Aliases = a.Aliases[:min(len(a.Aliases), mostAliases)]
		}
		for _, addr := range a.Addresses {
			f.Addresses = append(f.Addresses, Address{Address: addr.Unmap(), Network: r.of(addr, by)})
		}
	}
	sorting.By(f.Addresses, func(a, b Address) int { return a.Address.Compare(b.Address) })
	f.Addresses = slices.CompactFunc(f.Addresses, func(a, b Address) bool { return a.Address == b.Address })
	f.Addresses = f.Addresses[:min(len(f.Addresses), mostAddresses)]
	if len(f.Addresses) == 0 {
		f.Missing = "NODATA"
		if !slices.ContainsFunc(missing, func(m string) bool { return m != "NXDOMAIN" }) {
			f.Missing = "NXDOMAIN"
		}
	}
	if err := r.findServers(ctx, name, &f, by); err != nil {
		return f, err
	}
	f.By = slices.Collect(maps.Keys(by))
	sorting.By(f.By, func(a, b geo.Source) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.File, b.File))
	})
	return f, nil
}

// findServers asks for the name servers of the domain that a name is in, and in whose
// networks they are. Where nobody says so they are not known, which is no error.
func (r *Resolver) findServers(ctx context.Context, name string, f *Found, by map[geo.Source]bool) error {
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return nil
	}
	a, err := r.Ask(ctx, domain, TypeNS)
	if err != nil || len(a.Servers) == 0 {
		return ctx.Err()
	}
	f.Domain = domain
	for _, s := range a.Servers {
		f.Servers = append(f.Servers, strings.ToLower(s))
	}
	slices.Sort(f.Servers)
	f.Servers = slices.Compact(f.Servers)
	f.Servers = f.Servers[:min(len(f.Servers), mostServers)]
	for _, server := range f.Servers[:min(len(f.Servers), askedServers)] {
		a, err := r.Ask(ctx, server, TypeA)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			continue
		}
		for _, addr := range a.Addresses {
			n := r.of(addr, by)
			if of := (Network{n.ASN, n.Operator}); n.ASN > 0 && !slices.Contains(f.ServedBy, of) {
				f.ServedBy = append(f.ServedBy, of)
			}
		}
	}
	sorting.By(f.ServedBy, func(a, b Network) int { return cmp.Compare(a.ASN, b.ASN) })
	return nil
}

// Text returns a finding as it is kept.
func (f *Found) Text() string {
	b, err := json.Marshal(f)
	if err != nil { // no value of these types fails
		panic(err)
	}
	return string(b)
}

// Parse reads a finding as it was kept.
func Parse(text string) (f Found, err error) {
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return f, fmt.Errorf("what the store has of a destination cannot be read: %w", err)
	}
	return f, nil
}

// Operators are the operators of the networks that a name led to, as people read them.
func (f *Found) Operators() []string {
	return f.each(func(a *Address) string {
		if a.ASN == 0 {
			return ""
		}
		return OperatorText(a.ASN, a.Operator)
	})
}

// OperatorText is how people read an operator.
func OperatorText(asn uint32, name string) string {
	return strings.TrimSpace(fmt.Sprintf("%s AS%d", name, asn))
}

// Countries are those in which the addresses are said to be; where no database says so,
// those in which their networks are registered.
func (f *Found) Countries() []string {
	return f.each(func(a *Address) string { return cmp.Or(a.Country, a.Registered) })
}

// each returns what of gives of the addresses, each once, in alphabetical order.
func (f *Found) each(of func(*Address) string) (all []string) {
	for i := range f.Addresses {
		if s := of(&f.Addresses[i]); s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	slices.Sort(all)
	return all
}

// Kinds of events of the ledger.
const (
	KindFound = "destination"       // a name was asked for the first time, or its aliases or name servers are others
	KindMoved = "destination-moved" // another operator, or another country
)

// Compare says what has changed from one finding to the next as an event of the ledger: its
// kind and what it says; "" where nothing has that an event is for. Other addresses of the
// same operators in the same countries are none: many names have others each time.
func Compare(before, now *Found) (kind, detail string) {
	if before == nil {
		return KindFound, "first asked for: " + now.summary()
	}
	var moved, other []string
	say := func(to *[]string, what string, was, is []string) {
		if !slices.Equal(was, is) {
			*to = append(*to, fmt.Sprintf("%s: %s, was %s", what, words(is), words(was)))
		}
	}
	if before.Missing != now.Missing {
		other = append(other, fmt.Sprintf("now %s, was %s", cmp.Or(now.Missing, "there"), cmp.Or(before.Missing, "there")))
	} else if now.Missing == "" {
		relabelled := before.relabelled(now)
		to := &moved
		if relabelled {
			to = &other
		}
		// What no database spoke of before, or speaks of no more, is no move.
		if len(before.Operators()) > 0 && len(now.Operators()) > 0 {
			say(to, "operator", before.Operators(), now.Operators())
		}
		for _, of := range []struct {
			what    string
			country func(*Address) string
		}{{"country", func(a *Address) string { return a.Country }}, {"registered in", func(a *Address) string { return a.Registered }}} {
			if was, is := before.each(of.country), now.each(of.country); len(was) > 0 && len(is) > 0 {
				say(to, of.what, was, is)
			}
		}
		if relabelled && len(other) > 0 {
			other = append(other, "the addresses are the same: the databases say otherwise of them")
		}
	}
	say(&other, "aliases", before.Aliases, now.Aliases)
	if len(before.Servers) > 0 && len(now.Servers) > 0 {
		say(&other, "name servers", before.Servers, now.Servers)
	}
	all := append(moved, other...)
	switch {
	case len(all) == 0:
		return "", ""
	case len(moved) > 0:
		kind = KindMoved
	default:
		kind = KindFound
	}
	return kind, strings.Join(all, "; ") + now.byText()
}

// relabelled reports whether two findings have the same addresses.
func (f *Found) relabelled(now *Found) bool {
	return slices.EqualFunc(f.Addresses, now.Addresses, func(a, b Address) bool { return a.Address == b.Address })
}

func words(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// summary says a finding on one line.
func (f *Found) summary() string {
	var parts []string
	if f.Missing != "" {
		parts = append(parts, f.Missing)
	}
	if len(f.Aliases) > 0 {
		parts = append(parts, "aliases "+words(f.Aliases))
	}
	if n := len(f.Addresses); n > 0 {
		addresses := "1 address"
		if n > 1 {
			addresses = fmt.Sprintf("%d addresses", n)
		}
		parts = append(parts, addresses)
		if all := f.Operators(); len(all) > 0 {
			parts = append(parts, "operator "+words(all))
		}
		if all := f.Countries(); len(all) > 0 {
			parts = append(parts, "country "+words(all))
		}
	}
	if len(f.Servers) > 0 {
		parts = append(parts, "name servers "+words(f.Servers))
	}
	return strings.Join(parts, "; ") + f.byText()
}

// byText says by which databases.
func (f *Found) byText() string {
	if len(f.By) == 0 {
		return ""
	}
	var all []string
	for _, s := range f.By {
		if t := s.String(); !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return " (by " + strings.Join(all, ", ") + ")"
}
