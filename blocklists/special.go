package blocklists

// SpecialBase is the first id of the built-in rules for special names. The
// resolver answers those names itself, whatever the lists say, and names the
// rule in its verdict; Policy.Rule and Policy.ListName know them in any policy.
const SpecialBase RuleID = 0xFFFFFF00

const (
	SpecialLocalhost      = SpecialBase + iota // localhost and below
	SpecialInvalid                             // invalid
	SpecialOnion                               // onion
	SpecialAlt                                 // alt
	SpecialTest                                // test
	SpecialLocal                               // local
	SpecialHomeArpa                            // home.arpa, without a private upstream
	SpecialPrivateReverse                      // reverse zones of private addresses, without a private upstream
	SpecialResolverArpa                        // resolver.arpa
	SpecialCanary                              // use-application-dns.net, mask.icloud.com, mask-h2.icloud.com
	SpecialServer                              // names of this server itself
	SpecialIPv4Only                            // ipv4only.arpa and the names of its addresses
	specialEnd
)

const specialList = "special"

var specialTexts = [...]string{
	"localhost (RFC 6761)",
	"invalid (RFC 6761)",
	"onion (RFC 7686)",
	"alt (RFC 9476)",
	"test (RFC 6761)",
	"local (RFC 6762)",
	"home.arpa (RFC 8375)",
	"private reverse zone (RFC 6303)",
	"resolver.arpa (RFC 9462)",
	"canary name",
	"name of this server",
	"ipv4only.arpa (RFC 8880)",
}

// special returns the built-in rule that id names.
func special(id RuleID) (Rule, bool) {
	if id < SpecialBase || id >= specialEnd {
		return Rule{}, false
	}
	return Rule{List: specialList, Text: specialTexts[id-SpecialBase]}, true
}
