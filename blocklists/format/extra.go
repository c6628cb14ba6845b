package format

import "net/netip"

// Extra is what few rules have. It may be kept, and is shared between rules: it
// is never changed once emitted.
type Extra struct {
	Text      string       // the rule as its author wrote it, without comment; "" where AppendText can make it
	Types     []uint16     // $dnstype, ;querytype=: the types it holds for
	NotTypes  []uint16     // ... or those it does not hold for
	DenyAllow [][]byte     // $denyallow: wire names below which it does not hold
	Clients   []string     // $client, as written, ~ kept
	Tags      []string     // $ctag, as written, ~ kept
	Reply     Reply        // how to answer, when the rule says so itself
	Records   []Record     // for Reply == Records
	Cancels   Action       // for Cancel: the action of the rule to remove
	Invert    bool         // Pi-hole's ;invert: the pattern matches all other names
	Prefix    netip.Prefix // for Match == Address, or Server where that is nil
	Server    []byte       // for Match == Server: a wire name
	Servers   bool         // everything below Server is meant, and not the name itself
}

// A Reply is how a rule wants its names answered.
type Reply uint8

const (
	Default Reply = iota // as the list or the configuration says
	NullIP               // 0.0.0.0 and ::
	NXDomain
	NoData
	Refuse
	Drop
	Truncate
	Records // the rule's own records
)

// A Record is a resource record to answer with.
type Record struct {
	Type uint16
	TTL  uint32 // seconds; 0 for the blocking TTL
	Data []byte // RDATA, names uncompressed
}
