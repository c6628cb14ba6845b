package querylog

import "net/netip"

// A NameForm is a name of a Filter as a store with SQL of its own looks for it.
type NameForm struct {
	Kind NameFormKind
	Text string
	Wide bool // compared with names in Unicode
}

// A NameFormKind says which names are chosen.
type NameFormKind uint8

const (
	NamePart    NameFormKind = iota // those with Text in them
	NamePattern                     // those that Text is a pattern of, with * and ?
	NameBelow                       // Text is a dot and a name: that name, and all below it
	NameExact                       // Text alone, and only where it is the name of the question
)

// NameForms returns the names that the filter chooses, any of them; none for all.
func (f *Filter) NameForms() (all []NameForm) {
	n, err := f.normal()
	if err != nil || n.name.empty() {
		return nil
	}
	forms := n.name.anyOf
	if n.name.kind != nameAnyOf {
		forms = []nameFilter{n.name}
	}
	for _, one := range forms {
		kind := NamePart
		switch one.kind {
		case namePattern:
			kind = NamePattern
		case nameSuffix:
			kind = NameBelow
		case nameExact:
			kind = NameExact
		}
		all = append(all, NameForm{kind, one.text, one.wide})
	}
	return all
}

// DeviceWord returns what Device is compared with: of an address, its usual form.
func (f *Filter) DeviceWord() string {
	if addr, err := netip.ParseAddr(f.Device); err == nil {
		return addr.Unmap().WithZone("").String()
	}
	return f.Device
}
