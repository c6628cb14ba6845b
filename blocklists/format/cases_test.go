package format

import (
	"strings"
	"testing"
	"time"
)

// TestCases holds a line for each corner case that list authors are known to
// produce and that list readers disagree about.
func TestCases(t *testing.T) {
	own := Options{Own: true}
	for _, c := range []struct {
		name string
		text string
		o    Options
		want string
	}{
		// The line.
		{"a byte order mark before the first line is no part of it", "\xef\xbb\xbfads.example", Options{}, `
domain block subtree ads.example`},
		{"a byte order mark within a file of joined lists is no part of a line", "a.example\n\xef\xbb\xbfb.example", Options{}, `
domain block subtree a.example
domain block subtree b.example`},
		{"lines end in CR LF", "a.example\r\nb.example\r\n", Options{}, `
domain block subtree a.example
domain block subtree b.example`},
		{"lines end in CR alone", "a.example\rb.example\r", Options{}, `
domain block subtree a.example
domain block subtree b.example`},
		{"comment lines begin with # ! ; or //", "# a\n! b\n; c\n// d\n#\n!\n", Options{}, ""},
		{"an AdBlock header is no rule", "[Adblock Plus 3.1]", Options{}, ""},
		{"a comment may follow a name", "ads.example # note", Options{}, `
domain block subtree ads.example`},
		{"a comment may follow a name at once", "ads.example#note", Options{}, `
domain block subtree ads.example`},
		{"a comment may follow after an exclamation mark, a semicolon or slashes", "a.example ! note\nb.example ; note\nc.example // note", Options{}, `
domain block subtree a.example
domain block subtree b.example
domain block subtree c.example`},
		{"a cosmetic rule blocks nothing", "example.org##.ad\nexample.org#@#.ad\nexample.org#$#body\na.example,b.example#%#x()\nexample.org#?#div", Options{}, `
bad cosmetic rule: hides parts of a page: a DNS server sees only names, use it in a browser
bad cosmetic rule: hides parts of a page: a DNS server sees only names, use it in a browser
bad cosmetic rule: hides parts of a page: a DNS server sees only names, use it in a browser
bad cosmetic rule: hides parts of a page: a DNS server sees only names, use it in a browser
bad cosmetic rule: hides parts of a page: a DNS server sees only names, use it in a browser`},
		{"an HTML filter blocks nothing", "example.org$$script[x]", Options{}, `
bad modifier not honoured: the modifier $$script[x] is not honoured in DNS: without it the rule would block more than its author meant`},
		{"spaces around a line are no part of it", " \t ads.example \t ", Options{}, `
domain block subtree ads.example`},
		{"a line of control bytes is skipped", "a\x00b.example\nok.example", Options{}, `
domain block subtree ok.example
bad control bytes: control byte 0x00: remove it`},
		{"a line over the limit is skipped and the next is read", "x" + strings.Repeat("y", 70000) + "\nok.example", Options{}, `
domain block subtree ok.example
bad line too long: line of over 65536 bytes: split it`},

		// Hosts.
		{"every name of a hosts line is blocked, alone", "0.0.0.0 a.example b.example\tc.example", Options{}, `
hosts block exact a.example
hosts block exact b.example
hosts block exact c.example`},
		{"null and loopback addresses of both families block", "127.0.0.1 a.example\n127.1.2.3 b.example\n:: c.example\n::1 d.example\n::0 e.example\n0 f.example\n255.255.255.255 g.example\n::ffff:0.0.0.0 h.example", Options{}, `
hosts block exact a.example
hosts block exact b.example
hosts block exact c.example
hosts block exact d.example
hosts block exact e.example
hosts block exact f.example
hosts block exact g.example
hosts block exact h.example`},
		{"what a system's hosts file says of itself is ignored", "127.0.0.1 localhost\n127.0.0.1 localhost.localdomain\n255.255.255.255 broadcasthost\nfe80::1%lo0 localhost\nff02::1 ip6-allnodes\n0.0.0.0 0.0.0.0", Options{}, ""},
		{"an address of its own is refused in a stranger's list", "192.168.1.9 nas.lan", Options{}, `
bad answer of its own: an answer of the list's own (192.168.1.9 for nas.lan): only own.txt, or a list with answers: true, may give one`},
		{"an address of its own is a local record in own.txt, with PTR", "192.168.1.9 nas.lan nas\nfd00::9 nas.lan", own, `
hosts answer exact nas.lan reply=records A:c0a80109
hosts answer exact 9.1.168.192.in-addr.arpa reply=records PTR:036e6173036c616e00
hosts answer exact nas reply=records A:c0a80109
hosts answer exact nas.lan reply=records AAAA:fd000000000000000000000000000009
hosts answer exact 9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa reply=records PTR:036e6173036c616e00`},
		{"an address of its own is taken from a list with answers", "192.0.2.1 a.example", Options{Answers: true}, `
hosts answer exact a.example reply=records A:c0000201
hosts answer exact 1.2.0.192.in-addr.arpa reply=records PTR:0161076578616d706c6500`},
		{"an address with a zone cannot be answered", "fe80::1%eth0 nas.lan", own, `
bad not honoured: an address with a zone cannot be answered: leave out %eth0`},
		{"a trailing dot and upper case are no part of a name", "127.0.0.1 ADS.Example.", Options{}, `
hosts block exact ads.example`},
		{"one bad name does not spoil its line", "0.0.0.0 a.example b..example c.example", Options{}, `
hosts block exact a.example
hosts block exact c.example
bad not a domain name: an empty label: remove the extra dot`},
		{"a hosts line of one label is skipped in a stranger's list", "127.0.0.1 mybox", Options{}, `
bad single label: a single label: write =mybox for this name alone, ||mybox^ for everything below it`},
		{"a hosts line of one label is taken from own.txt", "0.0.0.0 wpad", own, `
hosts block exact wpad`},
		{"a hosts line names no subtree", "127.0.0.1 *.ads.example\n@@0.0.0.0 *.ads.example", Options{}, `
bad not a domain name: a hosts line names no subtree: write *.ads.example alone
bad not a domain name: a hosts line names no subtree: write @@*.ads.example alone`},
		{"a local record is for no subtree", "192.168.1.5 *.dev.lan", own, `
bad not a domain name: a hosts line names no subtree: write address=/dev.lan/192.168.1.5`},
		{"an exception with an address allows the name", "@@0.0.0.0 a.example", Options{}, `
hosts allow exact a.example`},
		{"an exception with an address of its own says nothing", "@@192.168.1.1 a.example", own, `
bad not a rule: an exception with an address: write @@a.example`},

		// Plain domains.
		{"a domain is blocked with all below it", "ads.example", Options{}, `
domain block subtree ads.example`},
		{"a domain is blocked alone where the list says match exact", "ads.example", Options{Exact: true}, `
domain block exact ads.example`},
		{"a single label is skipped", "zip\ncom.\n.zip", Options{}, `
bad single label: a single label: write =zip for this name alone, ||zip^ for everything below it
bad single label: a single label: write =com for this name alone, ||com^ for everything below it
bad single label: a single label: write =zip for this name alone, ||zip^ for everything below it`},
		{"an underscore is legal", "_dns.resolver.arpa\na_b.example", Options{}, `
domain block subtree _dns.resolver.arpa
domain block subtree a_b.example`},
		{"a hyphen at an end of a label is legal", "-ads.example\nads-.example", Options{}, `
domain block subtree -ads.example
domain block subtree ads-.example`},
		{"an address is skipped", "1.2.3.4\n2001:db8::1\n1.2.3", Options{}, `
bad IP address: an address, not a name: to block answers that lead there write ||1.2.3.4^
bad IP address: an address, not a name: to block answers that lead there write ||2001:db8::1^
bad IP address: ends in a number like an address: no name does`},
		{"a URL is skipped", "http://ads.example/x\nads.example/x\nads.example:8080", Options{}, `
bad path, port or scheme: a port or a scheme: a DNS server sees only names, write the name
bad path, port or scheme: a path or a URL: a DNS server sees only names, write the name
bad path, port or scheme: a port or a scheme: a DNS server sees only names, write the name`},
		{"Unicode becomes its A-label", "bücher.example\nBÜCHER.example\nfaß.example\nb\u00fccher\u3002example", Options{}, `
domain block subtree xn--bcher-kva.example
domain block subtree xn--bcher-kva.example
domain block subtree xn--fa-hia.example
domain block subtree xn--bcher-kva.example`},
		{"Latin-1 is read as such", "b\xfccher.example", Options{}, `
domain block subtree xn--bcher-kva.example`},
		{"an A-label stays", "xn--bcher-kva.example", Options{}, `
domain block subtree xn--bcher-kva.example`},
		{"what IDNA refuses is skipped", "a\u0378.example\n\u2024.example", Options{}, `
bad not a domain name: not an internationalised domain name (IDNA 2008): write it as its xn-- form
bad not a domain name: not an internationalised domain name (IDNA 2008): write it as its xn-- form`},
		{"a long label and a long name are skipped", strings.Repeat("a", 64) + ".example\n" + strings.Repeat("abcdefg.", 32) + "example", Options{}, `
bad not a domain name: a label of over 63 octets: no name has one
bad not a domain name: a name of over 255 octets: no name is so long`},
		{"the longest label and name are taken", strings.Repeat("a", 63) + ".example", Options{}, `
domain block subtree aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example`},
		{"an empty label is skipped", "a..example\n.\n..", Options{}, `
bad not a domain name: an empty label: remove the extra dot
bad matches every name: this is every name: name what is to be blocked
bad matches every name: this is every name: name what is to be blocked`},
		{"a leading dot is a wildcard", ".example.com", Options{}, `
wildcard block subtree example.com`},
		{"an escape stays", `a\046b.example` + "\n" + `a\.b.example` + "\n" + `a\300.example`, Options{}, `
domain block subtree a\.b.example
domain block subtree a\.b.example
bad not a domain name: not a domain name: escapes are \. and \046`},
		{"JSON and CSV are not lines of a list", `"ads.example",` + "\na.example,b.example", Options{}, `
bad not a rule: not a list's line (JSON, CSV or a program?): subscribe to the list's plain rendering
bad not a rule: not a list's line (JSON, CSV or a program?): subscribe to the list's plain rendering`},
		{"other tools' rules are refused", "DOMAIN-SUFFIX,ads.example\ndomain:ads.example\nfull:ads.example\nzone \"x\" { type master; };\n[inline] a.example @work\n{+block{ads}}", Options{}, `
bad not a rule: not a list's line (JSON, CSV or a program?): subscribe to the list's plain rendering
bad not a rule: a line of v2ray's lists: subscribe to the list's plain rendering
bad not a rule: a line of v2ray's lists: subscribe to the list's plain rendering
bad not a rule: several words, and the first is no address: write one name a line, or # before a comment
bad not a rule: begins with a bracket: write the name alone
bad not a rule: not a list's line (JSON, CSV or a program?): subscribe to the list's plain rendering`},

		// Exact and wildcard.
		{"= is the name alone", "=ads.example\n=wpad", Options{}, `
exact block exact ads.example
exact block exact wpad`},
		{"*. is the name and all below it", "*.ads.example\n*.zip", Options{}, `
wildcard block subtree ads.example
wildcard block subtree zip`},
		{"a star within a name is a pattern for the whole name", "ads*.example.com\n*.ads*.example.com\n*tracker*", Options{}, `
wildcard block pattern /^ads.*\.example\.com$/ with ".example.com"
wildcard block pattern /(?:^|\.)ads.*\.example\.com$/ with ".example.com"
wildcard block pattern /tracker/ with "tracker"`},
		{"each further star with a dot is a label more", "*.*.one.example\n*.*.*.two.example\n*.*-ads.three.example\n||*.*.one.example^", Options{}, `
wildcard block pattern /\..*\.one\.example$/ with ".one.example"
wildcard block pattern /\..*\..*\.two\.example$/ with ".two.example"
wildcard block pattern /-ads\.three\.example$/ with "-ads.three.example"
adblock block pattern /\..*\.one\.example$/ with ".one.example"`},
		{"a dot before or behind a name with stars changes nothing", ".ads*.example\n*.ads*.example.\n||ads*.example.^", Options{}, `
wildcard block pattern /(?:^|\.)ads.*\.example$/ with ".example"
wildcard block pattern /(?:^|\.)ads.*\.example$/ with ".example"
adblock block pattern /(?:^|\.)ads.*\.example$/ with ".example"`},
		{"a shape with an empty label is no name's", "*..a*.example\nads*..example\n||.ads*.example^", Options{}, `
bad not a domain name: an empty label: remove the extra dot
bad not a domain name: an empty label: remove the extra dot
bad not a domain name: an empty label: remove the extra dot`},
		{"a star alone is refused", "*\n*.\n*.*\n**", Options{}, `
bad matches every name: matches every name: name what is to be blocked
bad not a domain name: no name: write one
bad matches every name: matches every name: name what is to be blocked
bad matches every name: matches every name: name what is to be blocked`},

		// AdBlock.
		{"|| and ^ is the name and all below it", "||ads.example^", Options{}, `
adblock block subtree ads.example`},
		{"|| without ^ never reaches beyond the name", "||ads.example", Options{}, `
adblock block subtree ads.example`},
		{"|| and one label is the whole top-level domain", "||zip^", Options{}, `
adblock block subtree zip`},
		{"|| and one label without ^ is refused", "||zip", Options{}, `
bad single label: a single label: write =zip for this name alone, ||zip^ for everything below it`},
		{"| is the name alone", "|ads.example^\n|ads.example|", Options{}, `
adblock block exact ads.example
adblock block exact ads.example`},
		{"^ and | may stand together", "||ads.example^|", Options{}, `
adblock block subtree ads.example`},
		{"an open end is a pattern", "||discord-give.\n|recaptcha-v*-protocol-\n-ledger.live^", Options{}, `
adblock block pattern /(?:^|\.)discord-give\./ with "discord-give."
adblock block pattern /^recaptcha-v.*-protocol-/ with "recaptcha-v"
adblock block pattern /-ledger\.live$/ with "-ledger.live"`},
		{"a star inside is a pattern", "||ads1.google.*.com^\n||cas.*.criteo.com^\n@@||*-go.example.net^\n*watson.example.com^", Options{}, `
adblock block pattern /(?:^|\.)ads1\.google\..*\.com$/ with "ads1.google."
adblock block pattern /(?:^|\.)cas\..*\.criteo\.com$/ with ".criteo.com"
adblock allow pattern /-go\.example\.net$/ with "-go.example.net"
adblock block pattern /watson\.example\.com$/ with "watson.example.com"`},
		{"||*. is below the name", "||*.example.com^\n.example.com^", Options{}, `
adblock block below example.com
adblock block below example.com`},
		{"a rule for an address looks at answers", "||192.0.2.1^\n@@|192.0.2.2|\n||192.0.2.", Options{}, `
adblock block address 192.0.2.1/32
adblock allow address 192.0.2.2/32
bad IP address: part of an address: write the whole, such as ||192.0.2.1^`},
		{"a scheme stands before the name alone", "|https://ads.example^\n://ads.example^\n//ads.example^", Options{}, `
adblock block exact ads.example
adblock block exact ads.example
adblock block exact ads.example`},
		{"a path or a port is skipped", "||ads.example/path^\n||ads.example:8080^\n||ads.example^path", Options{}, `
bad path, port or scheme: matches a path, a port or a scheme: a DNS server sees only names, write ||example.com^
bad path, port or scheme: matches a path, a port or a scheme: a DNS server sees only names, write ||example.com^
bad path, port or scheme: matches a path, a port or a scheme: a DNS server sees only names, write ||example.com^`},
		{"a slash at the end means the whole host", "||ads.example/", Options{}, `
adblock block subtree ads.example`},
		{"@@ allows what any form matches", "@@||a.example^\n@@b.example\n@@=c.example\n@@*.d.example\n@@/^ad/\n@@", Options{}, `
adblock allow subtree a.example
domain allow subtree b.example
exact allow exact c.example
wildcard allow subtree d.example
regex allow pattern /^ad/ with "ad"
bad not a domain name: nothing stands behind @@: write the name it is to allow`},
		{"$important is kept", "||a.example^$important\n@@||a.example^$important", Options{}, `
adblock block subtree a.example important
adblock allow subtree a.example important`},
		{"$all is the name and $document a part of what is loaded from it", "||a.example^$all\n||b.example^$all,important\n@@||c.example^$all\n||d.example^$doc\n||e.example^$all,third-party", Options{}, `
adblock block subtree a.example
adblock block subtree b.example important
bad modifier not honoured: $all is for blocking: leave it out
bad modifier not honoured: $doc blocks a page that is opened, not what other pages load from there: leave it out to block the name for both
bad modifier not honoured: the modifier $third-party is not honoured in DNS: without it the rule would block more than its author meant`},
		{"$badfilter cancels the rule of the same text", "||a.example^$badfilter\n@@||a.example^$badfilter,important", Options{}, `
adblock cancel subtree a.example
adblock cancel subtree a.example important cancels=allow`},
		{"$denyallow keeps its names", "||com^$denyallow=a.com|b.com", Options{}, `
adblock block subtree com not-below=a.com not-below=b.com`},
		{"$dnstype keeps its types", "||a.example^$dnstype=AAAA\n||b.example^$dnstype=~A|~CNAME\n||c.example^$dnstype=A|~CNAME\n||d.example^$dnstype=NONE\n||e.example^$dnstype=HTTPS|TYPE65", Options{}, `
adblock block subtree a.example type=AAAA
adblock block subtree b.example type=~A type=~CNAME
adblock block subtree e.example type=HTTPS type=HTTPS
bad modifier not honoured: $dnstype mixes types with ~ and without: write one kind
bad modifier not honoured: $dnstype=NONE is no record type: write A, AAAA, HTTPS, or TYPE and a number`},
		{"$client and $ctag keep their values", `||a.example^$client=192.168.1.0/24|~'Kid''s, TV'` + "\n" + `||b.example^$client='Mary\, Ann'|"x"` + "\n||c.example^$ctag=device_tv|~os_ios\n||d.example^$client=", Options{}, `
adblock block subtree a.example client="192.168.1.0/24" client="~Kid's, TV"
adblock block subtree b.example client="Mary, Ann" client="x"
adblock block subtree c.example tag="device_tv" tag="~os_ios"
bad modifier not honoured: $client names nobody: write $client=NAME`},
		{"$dnsrewrite to nowhere is taken from any list", "|a.example^$dnsrewrite=NXDOMAIN\n|a.example^$dnsrewrite=REFUSED\n|a.example^$dnsrewrite=NOERROR\n|a.example^$dnsrewrite=0.0.0.0\n|a.example^$dnsrewrite=NXDOMAIN;;\n|a.example^$dnsrewrite=NOERROR;;", Options{}, `
adblock block exact a.example reply=nxdomain
adblock block exact a.example reply=refuse
adblock block exact a.example reply=nodata
adblock block exact a.example reply=null
adblock block exact a.example reply=nxdomain
adblock block exact a.example reply=nodata`},
		{"$dnsrewrite to somewhere is refused in a stranger's list", "|a.example^$dnsrewrite=192.0.2.1\n|a.example^$dnsrewrite=other.example", Options{}, `
bad answer of its own: an answer of the list's own: only own.txt, or a list with answers: true, may give one
bad answer of its own: an answer of the list's own: only own.txt, or a list with answers: true, may give one`},
		{"$dnsrewrite answers where the list may", "|a.example^$dnsrewrite=192.0.2.1\n|a.example^$dnsrewrite=other.example\n|a.example^$dnsrewrite=NOERROR;A;192.0.2.1\n|a.example^$dnsrewrite=NOERROR;MX;10 m.example\n|a.example^$dnsrewrite=NOERROR;HTTPS;1 . alpn=h3\n|a.example^$dnsrewrite=NOERROR;TXT;hello world\n|a.example^$dnsrewrite=NOERROR;AAAA;::1", Options{Answers: true}, `
adblock answer exact a.example reply=records A:c0000201
adblock answer exact a.example reply=records CNAME:056f74686572076578616d706c6500
adblock answer exact a.example reply=records A:c0000201
adblock answer exact a.example reply=records MX:000a016d076578616d706c6500
adblock answer exact a.example reply=records HTTPS:00010000010003026833
adblock answer exact a.example reply=records TXT:0b68656c6c6f20776f726c64
adblock answer exact a.example reply=records AAAA:00000000000000000000000000000001`},
		{"a $dnsrewrite that cannot be read is refused", "|a.example^$dnsrewrite=NOERROR;A\n|a.example^$dnsrewrite=nxdomain;x\n|a.example^$dnsrewrite\n|a.example^$dnsrewrite=NOERROR;A;x\n|a.example^$dnsrewrite=SERVFAIL", Options{Answers: true}, `
bad modifier not honoured: $dnsrewrite=NOERROR;A has two parts: write RCODE;TYPE;VALUE
bad modifier not honoured: $dnsrewrite=nxdomain;x has two parts: write RCODE;TYPE;VALUE
bad modifier not honoured: $dnsrewrite says no answer: write $dnsrewrite=NXDOMAIN or $dnsrewrite=192.0.2.1
bad modifier not honoured: $dnsrewrite: A record: has no address of its family: write one
bad not honoured: $dnsrewrite=SERVFAIL is not honoured: write NXDOMAIN, REFUSED or NOERROR`},
		{"an exception with $dnsrewrite takes answers back and blocks stay", "@@||a.example^$dnsrewrite\n@@||a.example^$dnsrewrite=192.0.2.1", Options{}, `
adblock unanswer subtree a.example
adblock unanswer subtree a.example reply=records A:c0000201`},
		{"a modifier that is not honoured refuses the rule by its name", "||a.example^$third-party\n||a.example^$all\n||a.example^$document,important\n||a.example^$domain=b.example\n||a.example^$~important\n||a.example^$", Options{}, `
adblock block subtree a.example
bad modifier not honoured: the modifier $third-party is not honoured in DNS: without it the rule would block more than its author meant
bad modifier not honoured: $document blocks a page that is opened, not what other pages load from there: leave it out to block the name for both
bad modifier not honoured: the modifier $domain=b.example is not honoured in DNS: without it the rule would block more than its author meant
bad modifier not honoured: the modifier $~important is not honoured in DNS: without it the rule would block more than its author meant
bad modifier not honoured: the modifier $ is not honoured in DNS: without it the rule would block more than its author meant`},
		{"a comment may follow an AdBlock rule", "||a.example^ # note", Options{}, `
adblock block subtree a.example`},
		{"preprocessor lines are comments", "!#if env\n!#include x.txt\n!+ NOT_OPTIMIZED", Options{}, ""},
		{"AdBlock rules are read without regard to case", "||ADS.Example^", Options{}, `
adblock block subtree ads.example`},

		// Regular expressions.
		{"slashes hold a regular expression", `/^ad[0-9]+\.example$/` + "\n" + `/^ads?\./ # note` + "\n" + `/AD[A-Z]/`, Options{}, `
regex block pattern /^ad[0-9]+\.example$/ with ".example"
regex block pattern /^ads?\./ with "ad"
regex block pattern /(?i)AD[A-Z]/ with "ad"`},
		{"a regular expression may have modifiers", `/^ad[0-9]+\./$important,dnstype=A`, Options{}, `
regex block pattern /^ad[0-9]+\./ with "ad" important type=A`},
		{"flags behind a pattern are named", "/\\.ads\\.example/i\n@@/^ad/gi$important\n/path/index", Options{}, `
bad regular expression: flags behind a pattern (i) are not read: leave them out (upper and lower case are the same in any case)
bad regular expression: flags behind a pattern (gi) are not read: leave them out (upper and lower case are the same in any case)
bad path, port or scheme: a path, or a regular expression without its closing slash: close it`},
		{"what RE2 lacks is reported", `/(?=a)b/` + "\n" + `/(a)\1/` + "\n" + `/a(/` + "\n" + `/(a{1000}){1000}/`, Options{}, `
bad regular expression: (?= is not in RE2 (no look-around, no comments): write the pattern without it
bad regular expression: \1 is not in RE2 (no back-references): write the pattern without it
bad regular expression: not a regular expression, missing closing ) at a(: correct it
bad regular expression: a pattern that is too large ({1000}): make it simpler`},
		{"a pattern for every name is refused in a stranger's list", "/.*/\n/./\n/a*/\n/^/", Options{}, `
bad matches every name: matches every name, or nearly: only own.txt may hold such a pattern
bad matches every name: matches every name, or nearly: only own.txt may hold such a pattern
bad matches every name: matches every name, or nearly: only own.txt may hold such a pattern
bad matches every name: matches every name, or nearly: only own.txt may hold such a pattern`},
		{"a pattern for every name is the user's own affair", "/.*/", own, `
regex block pattern /.*/`},
		{"a bare pattern counts only in a list of patterns", `(^|\.)ads\.example$`, Options{}, `
bad modifier not honoured: the modifier $ is not honoured in DNS: without it the rule would block more than its author meant`},
		{"a list of patterns is read bare", `(^|\.)ads\.example$` + "\n" + `^ad[0-9]*[.-] # note` + "\n# comment", Options{Format: "regex"}, `
regex block pattern /(^|\.)ads\.example$/ with "ads.example"
regex block pattern /^ad[0-9]*[.-]/ with "ad"`},
		{"Pi-hole's extensions are kept", "^ad;querytype=A\ntracker;querytype=!A,AAAA\nads;reply=NODATA\nads;reply=NONE;querytype=HTTPS\nads;reply=0.0.0.0", Options{Format: "regex"}, `
regex block pattern /^ad/ with "ad" type=A
regex block pattern /tracker/ with "tracker" type=~A type=~AAAA
regex block pattern /ads/ with "ads" reply=nodata
regex block pattern /ads/ with "ads" type=HTTPS reply=drop
regex block pattern /ads/ with "ads" reply=null`},
		{"Pi-hole's extensions that cannot be honoured are refused", "ads;querytype=OTHER\nads;reply=IP\nads;reply=192.0.2.1\nads;reply=x\nads;foo", Options{Format: "regex"}, `
bad modifier not honoured: querytype=OTHER is no record type that can be told apart: write A, AAAA, HTTPS, or TYPE and a number
bad not honoured: reply=IP is not honoured: write the address that is to be answered
bad answer of its own: an answer of the list's own: only own.txt, or a list with answers: true, may give one
bad modifier not honoured: reply=x is no answer: write NXDOMAIN, NODATA, REFUSED, an address or CNAME,example.com
bad modifier not honoured: ;foo is not honoured: known are querytype, invert and reply`},
		{"Pi-hole's approximate matching is reported", "ads{#1}.example\nads{+1~2}\nads{2}", Options{Format: "regex"}, `
regex block pattern /ads{2}/ with "ad"
bad regular expression: approximate matching ({...}) is not in RE2: write the pattern without it
bad regular expression: approximate matching ({...}) is not in RE2: write the pattern without it`},
		{"an inverted pattern is the user's own affair", `(^|\.)example\.com$;invert`, Options{Format: "regex"}, `
bad matches every name: matches every name, or nearly: only own.txt may hold such a pattern`},
		{"an inverted pattern is taken from own.txt", `(^|\.)example\.com$;invert;querytype=A;reply=CNAME,other.example`, Options{Format: "regex", Own: true}, `
regex answer pattern /(^|\.)example\.com$/ with "example.com" type=A reply=records CNAME:056f74686572076578616d706c6500 invert`},

		// dnsmasq.
		{"local, server and address without a target block with all below", "local=/a.example/\nserver=/b.example/\naddress=/c.example/\naddress=/d.example/#", Options{}, `
dnsmasq block subtree a.example
dnsmasq block subtree b.example
dnsmasq block subtree c.example
dnsmasq block subtree d.example`},
		{"several names stand between the slashes", "address=/a.example/b.example/0.0.0.0", Options{}, `
dnsmasq block subtree a.example
dnsmasq block subtree b.example`},
		{"an address that leads nowhere blocks", "address=/a.example/0.0.0.0\naddress=/a.example/::\naddress=/a.example/127.0.0.1\naddress=/b.example/::1", Options{}, `
dnsmasq block subtree a.example
dnsmasq block subtree a.example
dnsmasq block subtree a.example
dnsmasq block subtree b.example`},
		{"server with # is an exception", "server=/ok.ads.example/#", Options{}, `
dnsmasq allow subtree ok.ads.example`},
		{"another server blocks nothing", "server=/a.example/192.0.2.1\nserver=/a.example/127.0.0.1#5353\nserver=192.0.2.1\nlocal=/x", Options{}, `
bad not honoured: sends names to another server, it blocks none: leave out 192.0.2.1 to block them
bad not honoured: sends names to another server, it blocks none: leave out 127.0.0.1#5353 to block them
bad not honoured: server= without /names/ blocks none: write server=/example.com/ (servers go into the setting upstreams)
bad not honoured: local= without /names/ blocks none: write local=/example.com/ (servers go into the setting upstreams)`},
		{"an address of its own is refused in a stranger's dnsmasq list", "address=/a.example/192.0.2.1", Options{}, `
bad answer of its own: an answer of the list's own: only own.txt, or a list with answers: true, may give one`},
		{"an address of its own is an answer where the list may", "address=/a.example/192.0.2.1", Options{Answers: true}, `
dnsmasq answer subtree a.example reply=records A:c0000201`},
		{"# and nothing between slashes are refused", "address=/#/0.0.0.0\nlocal=//\naddress=/*/", Options{}, `
bad matches every name: matches every name: name what is to be blocked
bad not honoured: // means all names of one label: name them
bad matches every name: matches every name: name what is to be blocked`},
		{"a dot before a dnsmasq name changes nothing", "address=/.one.example/\nlocal=/.two.example/\nserver=/.three.example/#\naddress=/.four.example/0.0.0.0\nlocal=/..five.example/\nlocal=/./", Options{}, `
dnsmasq block subtree one.example
dnsmasq block subtree two.example
dnsmasq allow subtree three.example
dnsmasq block subtree four.example
bad not a domain name: an empty label: remove the extra dot
bad not a domain name: no name: write one`},
		{"a dot before a dnsmasq name changes nothing in own.txt", "address=/.dev.lan/192.168.1.5", own, `
dnsmasq answer subtree dev.lan reply=records A:c0a80105`},
		{"only one's own file blocks the answers of a large part of the Internet", "bogus-nxdomain=128.0.0.0/1\nbogus-nxdomain=127.0.0.0/8\nbogus-nxdomain=2000::/3\nbogus-nxdomain=2001:d00::/24\n1.0.0.0.128.rpz-ip CNAME .\n8.0.0.0.10.rpz-ip CNAME .\n3.zz.2000.rpz-ip CNAME .", Options{}, `
dnsmasq block address reply=nxdomain 127.0.0.0/8
dnsmasq block address reply=nxdomain 2001:d00::/24
rpz block address reply=nxdomain 10.0.0.0/8
bad matches every name: blocks answers of a large part of the Internet (128.0.0.0/1): write prefixes of 8 bits or more, or put the line into own.txt
bad matches every name: blocks answers of a large part of the Internet (2000::/3): write prefixes of 24 bits or more, or put the line into own.txt
bad matches every name: blocks answers of a large part of the Internet (128.0.0.0/1): write prefixes of 8 bits or more, or put the line into own.txt
bad matches every name: blocks answers of a large part of the Internet (2000::/3): write prefixes of 24 bits or more, or put the line into own.txt`},
		{"one's own file may block them", "bogus-nxdomain=128.0.0.0/1\n1.0.0.0.128.rpz-ip CNAME .", own, `
dnsmasq block address reply=nxdomain 128.0.0.0/1
rpz block address reply=nxdomain 128.0.0.0/1`},
		{"a star before a dnsmasq name matches any beginning", "local=/*ads.example/\nlocal=/*.ads.example/", Options{}, `
dnsmasq block pattern /ads\.example$/ with "ads.example"
dnsmasq block below ads.example`},
		{"bogus-nxdomain looks at answers", "bogus-nxdomain=192.0.2.1\nbogus-nxdomain=192.0.2.0/24\nbogus-nxdomain=0.0.0.0/0\nbogus-nxdomain=x", Options{}, `
dnsmasq block address reply=nxdomain 192.0.2.1/32
dnsmasq block address reply=nxdomain 192.0.2.0/24
bad matches every name: matches every answer: write a longer prefix
bad IP address: bogus-nxdomain needs an address: write bogus-nxdomain=192.0.2.1`},
		{"other settings block nothing", "conf-file=/etc/x\nipset=/a.example/x\ncname=a.example,b.example\naddn-hosts=/etc/h", Options{}, `
bad not honoured: conf-file= is an option of dnsmasq, not a rule: put the file itself into lists.d
bad not honoured: ipset= is an option of dnsmasq, not a rule: it is ignored
bad not honoured: cname= is an option of dnsmasq, not a rule: write @@ or a local record in own.txt
bad not honoured: addn-hosts= is an option of dnsmasq, not a rule: put the hosts file itself into lists.d`},
		{"dnsmasq's options are no rules", "no-hosts\ndomain-needed\nbogus-priv # note\nport=53\n--cache-size=1000\nno-hosts.example\nport", Options{}, `
domain block subtree no-hosts.example
bad not honoured: no-hosts is an option of dnsmasq, not a rule: it is ignored
bad not honoured: domain-needed is an option of dnsmasq, not a rule: it is ignored
bad not honoured: bogus-priv is an option of dnsmasq, not a rule: it is ignored
bad not honoured: port= is an option of dnsmasq, not a rule: it is ignored
bad not honoured: cache-size= is an option of dnsmasq, not a rule: it is ignored
bad single label: a single label: write =port for this name alone, ||port^ for everything below it`},
		{"dnsmasq forwards to an address, whatever address it is", "server=/a.example/127.0.0.1\nlocal=/b.example/127.0.0.1#5353\nserver=/c.example/::\nserver=/d.example/0.0.0.0", Options{}, `
bad not honoured: dnsmasq looks for a server at 127.0.0.1, and blocks nothing: write address=, or leave out 127.0.0.1, to block
bad not honoured: sends names to another server, it blocks none: leave out 127.0.0.1#5353 to block them
bad not honoured: dnsmasq looks for a server at ::, and blocks nothing: write address=, or leave out ::, to block
bad not honoured: dnsmasq asks its usual servers where 0.0.0.0 stands: leave it out to block, write # to allow`},
		{"local with # allows, as server does", "local=/a.example/#", Options{}, `
dnsmasq allow subtree a.example`},
		{"a comment may follow a dnsmasq line", "local=/a.example/ # note", Options{}, `
dnsmasq block subtree a.example`},

		// unbound.
		{"blocking zone types block, each in its way", "server:\nlocal-zone: \"a.example.\" always_null\nlocal-zone: b.example static\nlocal-zone: \"c.example\" refuse # note\nlocal-zone: 'd.example' always_deny\nlocal-zone: \"e.example\" always_nodata\nlocal-zone:\"f.example\" always_nxdomain\nlocal-zone: \"g.example\" block_a\nlocal-zone: \"h.example\" inform_deny", Options{}, `
unbound block subtree a.example
unbound block subtree b.example reply=nxdomain
unbound block subtree c.example reply=refuse
unbound block subtree d.example reply=drop
unbound block subtree e.example reply=nodata
unbound block subtree f.example reply=nxdomain
unbound block subtree g.example type=A reply=nodata
unbound block subtree h.example reply=drop`},
		{"transparent zones are exceptions", "local-zone: \"a.example\" transparent\nlocal-zone: \"b.example\" always_transparent\nlocal-zone: \"c.example\" typetransparent", Options{}, `
unbound allow subtree a.example
unbound allow subtree b.example
unbound allow subtree c.example`},
		{"of two zones of a name the last counts (unbound 1.17)", "local-zone: \"a.example\" always_transparent\nlocal-zone: \"b.example\" always_nxdomain\nlocal-zone: \"A.example.\" always_null\nlocal-zone: \"b.example\" transparent\nlocal-zone: \"c.example\" transparent\nlocal-zone: \"c.example\" nonsense\nlocal-zone: \"d.example\" transparent\nlocal-zone: \"d.example\" redirect", Options{}, `
unbound block subtree b.example reply=nxdomain
unbound block subtree a.example
unbound block subtree d.example reply=nodata
unbound allow subtree b.example
unbound allow subtree c.example
bad not honoured: line 3 has another local-zone for the name: the last counts, remove one
bad not honoured: the type nonsense is unknown: always_null, always_nxdomain, refuse and the like block, transparent allows
bad not honoured: line 8 has another local-zone for the name: the last counts, remove one`},
		{"a redirect to nowhere blocks with all below", "local-zone: \"a.example\" redirect\nlocal-data: \"a.example A 0.0.0.0\"\nlocal-data: \"a.example. 60 IN AAAA ::\"\nlocal-zone: \"b.example\" redirect", Options{}, `
unbound block subtree a.example
unbound block subtree b.example reply=nodata`},
		{"a redirect to somewhere is refused in a stranger's list", "local-zone: \"a.example\" redirect\nlocal-data: \"a.example A 192.0.2.1\"", Options{}, `
bad answer of its own: an answer of the list's own: only own.txt, or a list with answers: true, may give one`},
		{"a redirect to somewhere answers where the list may", "local-zone: \"a.example\" redirect\nlocal-data: \"a.example A 192.0.2.1\"", Options{Answers: true}, `
unbound answer subtree a.example reply=records A:c0000201`},
		{"local-data to nowhere blocks the name alone", "local-data: \"a.example. 60 IN A 0.0.0.0\"\nlocal-data: 'b.example A 127.0.0.1'", Options{}, `
unbound block exact a.example
unbound block exact b.example`},
		{"local-data to somewhere answers where the list may", "local-data: \"a.example A 192.0.2.1\"\nlocal-data: 'a.example TXT \"hello world\"'\nlocal-data-ptr: \"192.0.2.1 a.example\"", own, `
unbound answer exact a.example reply=records A:c0000201
hosts answer exact 1.2.0.192.in-addr.arpa reply=records PTR:0161076578616d706c6500
unbound answer exact a.example reply=records TXT:0b68656c6c6f20776f726c64
unbound answer exact 1.2.0.192.in-addr.arpa reply=records PTR:0161076578616d706c6500`},
		{"zone types without effect are reported", "local-zone: \"a.example\" inform\nlocal-zone: \"b.example\" nodefault\nlocal-zone: \"c.example\" nonsense\nlocal-zone: \"d.example\"\nlocal-zone: \"e.example always_null", Options{}, `
bad not honoured: the type inform neither blocks nor allows: remove the line
bad not honoured: the type nodefault neither blocks nor allows: remove the line
bad not honoured: the type nonsense is unknown: always_null, always_nxdomain, refuse and the like block, transparent allows
bad not a rule: a local-zone is a name and a type: write local-zone: "example.com" always_null
bad not a rule: a quote is not closed: close it`},
		{"other settings of unbound block nothing", "verbosity: 1\ninterface: 0.0.0.0", Options{}, `
bad not honoured: the setting verbosity: blocks no name: only local-zone and local-data are read
bad not honoured: the setting interface: blocks no name: only local-zone and local-data are read`},

		// Zones.
		{"a zone's records block, above or below as DNS means it", "$TTL 60\n@ SOA localhost. root.localhost. 1 2 3 4 5\n  NS localhost.\nads.example CNAME .\n*.ads.example CNAME .", Options{}, `
rpz block exact ads.example reply=nxdomain
rpz block below ads.example reply=nxdomain`},
		{"every standard action is kept", "$TTL 60\na.example CNAME .\nb.example CNAME *.\nc.example CNAME rpz-passthru.\nd.example CNAME rpz-drop.\ne.example CNAME rpz-tcp-only.\nf.example 60 IN CNAME .\ng.example IN 1h30m cname .", Options{}, `
rpz block exact a.example reply=nxdomain
rpz block exact b.example reply=nodata
rpz allow exact c.example
rpz block exact d.example reply=drop
rpz block exact e.example reply=truncate
rpz block exact f.example reply=nxdomain
rpz block exact g.example reply=nxdomain`},
		{"an action without its final dot is refused", "$TTL 60\na.example CNAME rpz-drop\nb.example CNAME rpz-nonsense.\nc.example CNAME x.rpz-drop.", Options{}, `
bad zone record: rpz-drop is no action: rpz-passthru., rpz-drop. and rpz-tcp-only. are, with their final dot
bad zone record: rpz-nonsense. is no action: rpz-passthru., rpz-drop. and rpz-tcp-only. are, with their final dot
bad zone record: x.rpz-drop. is no action: rpz-passthru., rpz-drop. and rpz-tcp-only. are, with their final dot`},
		{"a CNAME to itself passes through", "$ORIGIN rpz.local.\nok.example CNAME ok.example.\n*.ok.example CNAME *.ok.example.", Options{}, `
rpz allow exact ok.example
rpz allow below ok.example`},
		{"data of its own is refused in a stranger's zone", "$TTL 60\na.example CNAME garden.example.\nb.example A 192.0.2.1\nc.example TXT \"x y\"\nd.example CNAME *.garden.example.", Options{}, `
bad answer of its own: an answer of the list's own: only own.txt, or a list with answers: true, may give one
bad answer of its own: an answer of the list's own: only own.txt, or a list with answers: true, may give one
bad answer of its own: an answer of the list's own: only own.txt, or a list with answers: true, may give one
bad not honoured: a target with a star is not honoured: name the target`},
		{"data of its own answers where the list may", "$ORIGIN rpz.local.\na.example CNAME garden.example.\nb.example A 192.0.2.1\n  A 192.0.2.2\n  AAAA 2001:db8::1\nc.example TXT \"x y\" z\nd.example CNAME garden", Options{Answers: true}, `
rpz answer exact a.example reply=records CNAME:0667617264656e076578616d706c6500
rpz answer exact b.example reply=records A:c0000201 A:c0000202 AAAA:20010db8000000000000000000000001
rpz answer exact c.example reply=records TXT:03782079017a
rpz answer exact d.example reply=records CNAME:0667617264656e0372707a056c6f63616c00`},
		{"data that leads nowhere blocks", "$TTL 60\na.example A 0.0.0.0\na.example AAAA ::\nb.example A 127.0.0.1", Options{}, `
rpz block exact a.example
rpz block exact b.example`},
		{"names are relative to the zone, or absolute within it", "$ORIGIN rpz.local.\n@ SOA a. b. 1 2 3 4 5\na.example CNAME .\nb.example.rpz.local. CNAME .\n$ORIGIN sub.rpz.local.\nc CNAME .\nd.example. CNAME .", Options{}, `
rpz block exact a.example reply=nxdomain
rpz block exact b.example reply=nxdomain
rpz block exact c.sub reply=nxdomain
bad zone record: d.example. is outside the zone rpz.local.: leave out the final dot`},
		{"the SOA names the zone", "RPZ.local. 60 IN SOA a. b. (1 2 3 4 5)\na.example CNAME .\nb.example.rpz.LOCAL. CNAME .\nrpz.local. NS a.", Options{}, `
rpz block exact a.example reply=nxdomain
rpz block exact b.example reply=nxdomain`},
		{"a zone written out in full has its origin at the root", "$ORIGIN .\n$TTL 60\nrpz.local IN SOA a. b. 1 2 3 4 5\n$ORIGIN rpz.local.\na.example CNAME .\n$ORIGIN example.rpz.local.\nb CNAME .", Options{}, `
rpz block exact a.example reply=nxdomain
rpz block exact b.example reply=nxdomain`},
		{"a record may run over lines in parentheses", "@ IN SOA a. b. (\n 1 ; serial\n 2 3 4\n 5 ) ; end\na.example IN CNAME ( .\n)", Options{}, `
rpz block exact a.example reply=nxdomain`},
		{"a parenthesis that stays open swallows only so much", "$TTL 60\na.example CNAME (\n" + strings.Repeat("; filler filler filler filler filler\n", 2000) + "b.example CNAME .\n", Options{}, `
rpz block exact b.example reply=nxdomain
bad zone record: a parenthesis opened on line 2 is not closed: close it`},
		{"tabs and upper case make no difference in a zone", "$TTL 60\nA.Example\tIN\tCNAME\t.\n*.A.Example\tin\tcname\tRPZ-PASSTHRU.", Options{}, `
rpz block exact a.example reply=nxdomain
rpz allow below a.example`},
		{"the first of two policies for a name counts", "$TTL 60\na.example CNAME .\na.example CNAME rpz-passthru.\na.example CNAME .", Options{}, `
rpz block exact a.example reply=nxdomain
bad zone record: a second policy for the same name: the first counts, remove one`},
		{"rpz-ip looks at answers", "$TTL 60\n32.4.3.2.1.rpz-ip CNAME .\n24.0.2.0.192.rpz-ip CNAME rpz-passthru.\n48.zz.1.db8.2001.rpz-ip CNAME rpz-drop.\n128.1.zz.rpz-ip CNAME *.\n128.zz.rpz-ip CNAME .\n128.5.zz.2001.rpz-ip CNAME .", Options{}, `
rpz block address reply=nxdomain 1.2.3.4/32
rpz allow address 192.0.2.0/24
rpz block address reply=drop 2001:db8:1::/48
rpz block address reply=nodata ::1/128
rpz block address reply=nxdomain ::/128
rpz block address reply=nxdomain 2001::5/128`},
		{"a malformed rpz-ip is refused", "$TTL 60\n1.0.218.230.rpz-ip CNAME .\n33.4.3.2.1.rpz-ip CNAME .\n24.4.3.2.1.rpz-ip CNAME .\n0.0.0.0.0.rpz-ip CNAME .\n129.1.zz.rpz-ip CNAME .\n0128.1.zz.rpz-ip CNAME .\n32.1.2.3.999.rpz-ip CNAME .\nrpz-ip CNAME .", Options{}, `
bad zone record: not an address in RPZ's spelling: write 32.1.2.0.192.rpz-ip for 192.0.2.1
bad zone record: not an address in RPZ's spelling: write 32.1.2.0.192.rpz-ip for 192.0.2.1
bad zone record: not an address in RPZ's spelling: write 32.1.2.0.192.rpz-ip for 192.0.2.1
bad zone record: not an address in RPZ's spelling: write 32.1.2.0.192.rpz-ip for 192.0.2.1
bad zone record: not an address in RPZ's spelling: write 32.1.2.0.192.rpz-ip for 192.0.2.1
bad zone record: not an address in RPZ's spelling: write 32.1.2.0.192.rpz-ip for 192.0.2.1
bad zone record: not an address in RPZ's spelling: write 32.1.2.0.192.rpz-ip for 192.0.2.1
bad zone record: not an address in RPZ's spelling: write 32.1.2.0.192.rpz-ip for 192.0.2.1`},
		{"triggers that are not honoured say so", "$TTL 60\n24.0.1.168.192.rpz-client-ip CNAME rpz-passthru.", Options{}, `
bad not honoured: rpz-client-ip triggers are not honoured: remove the line`},
		{"rules on servers of zones are taken by name and address", "$TTL 60\nns.example.rpz-nsdname CNAME .\n*.Bulk.example.rpz-nsdname CNAME *.\n32.4.3.2.1.rpz-nsip CNAME rpz-passthru.\n48.zz.1.db8.2001.rpz-nsip CNAME rpz-drop.\nrpz-nsdname CNAME .\n4.3.2.1.rpz-nsip CNAME .\n1.0.0.0.128.rpz-nsip CNAME .", Options{}, `
rpz block server reply=nxdomain by=ns.example
rpz block server reply=nodata by=bulk.example below
rpz allow server 1.2.3.4/32
rpz block server reply=drop 2001:db8:1::/48
bad not a domain name: no name: write one
bad zone record: not an address in RPZ's spelling: write 32.1.2.0.192.rpz-nsip for 192.0.2.1
bad matches every name: blocks answers of a large part of the Internet (128.0.0.0/1): write prefixes of 8 bits or more, or put the line into own.txt`},
		{"a star for every name is refused", "$TTL 60\n* CNAME .\na.*.example CNAME .", Options{}, `
bad matches every name: matches every name: name what is to be blocked
bad not a domain name: a star within a name: write *.example.com, or a pattern between slashes`},
		{"the root is no trigger", "$TTL 60\n. CNAME .\n. A 192.0.2.1", Options{}, `
bad not a domain name: is the root: name what is to be blocked
bad not a domain name: is the root: name what is to be blocked`},
		{"a zone's own records are no policy", "$TTL 60\n@ NS a.\n@ A 192.0.2.1\na.example DNAME b.example.\na.example RRSIG x\n", Options{}, ""},
		{"other directives are refused", "$TTL 60\n$INCLUDE x\n$GENERATE 1-9 a$ CNAME .\na.example CNAME .", Options{}, `
rpz block exact a.example reply=nxdomain
bad not honoured: $INCLUDE is not honoured: write the records out
bad not honoured: $GENERATE is not honoured: write the records out`},
		{"lines of other forms in a zone are refused", "$TTL 60\n0.0.0.0 a.example\n||b.example^\nc.example", Options{}, `
bad zone record: not a record of a zone: write NAME CNAME . to block a name
bad zone record: not a record of a zone: write NAME CNAME . to block a name
bad zone record: not a record of a zone: write NAME CNAME . to block a name`},
		{"a record before any sign of a zone is read as one", "a.example CNAME .\n*.a.example IN CNAME .\nb.example", Options{}, `
rpz block exact a.example reply=nxdomain
rpz block below a.example reply=nxdomain
domain block subtree b.example`},
		{"format rpz makes it a zone from the first line", "a.example CNAME .\nb.example", Options{Format: "rpz"}, `
rpz block exact a.example reply=nxdomain
bad zone record: not a record of a zone: write NAME CNAME . to block a name`},
		{"a comment in a zone may carry an annotation", "$TTL 60\n;@ vendor=X\na.example CNAME . ;@ purpose=ads\nb.example CNAME . ; note\n#@ vendor=Y\nc.example CNAME .", Options{}, `
rpz block exact a.example reply=nxdomain vendor="X" purpose="ads"
rpz block exact b.example reply=nxdomain vendor="X"
rpz block exact c.example reply=nxdomain vendor="Y"`},

		// Records of one's own.
		{"a record of any kind stands alone in one's own file", "nas.lan. 300 IN A 192.168.1.9 ; the box\nnas.lan AAAA fd00::9\nwww.lan 1h CNAME nas.lan.\nlan MX 10 mail.lan\n_http._tcp.lan SRV 0 5 80 nas.lan\nlan TXT \"a # b; c\" d\nnas.lan HTTPS 1 . alpn=h2,h3 port=8443\n*.dev.lan A 192.168.1.10\n7.1.168.192.in-addr.arpa PTR tv.lan", own, `
rpz answer exact nas.lan reply=records A:c0a80109
hosts answer exact 9.1.168.192.in-addr.arpa reply=records PTR:036e6173036c616e00
rpz answer exact nas.lan reply=records AAAA:fd000000000000000000000000000009
hosts answer exact 9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa reply=records PTR:036e6173036c616e00
rpz answer exact www.lan reply=records CNAME:036e6173036c616e00
rpz answer exact lan reply=records MX:000a046d61696c036c616e00
rpz answer exact _http._tcp.lan reply=records SRV:000000050050036e6173036c616e00
rpz answer exact lan reply=records TXT:0861202320623b20630164
rpz answer exact nas.lan reply=records HTTPS:000100000100060268320268330003000220fb
rpz answer below dev.lan reply=records A:c0a8010a
rpz answer exact 7.1.168.192.in-addr.arpa reply=records PTR:027476036c616e00`},
		{"a record that cannot be written is reported", "nas.lan A fd00::9\nnas.lan MX mail.lan\nnas.lan CAA 0 issue x\nlan NS ns.lan\nnas.lan SRV 0 0 70000 x\nnas.lan TXT \"open", own, `
bad zone record: the A record has no address of its family: write one
bad zone record: the MX record has the wrong number of fields: write it as in a zone file
bad zone record: the CAA record is of a type that cannot be written here: A, AAAA, CNAME, PTR, NS, TXT, MX, SRV, HTTPS and SVCB can
bad zone record: an NS record says who serves a zone, and records are answered one by one here: to have a zone asked of its servers use the setting forward
bad zone record: the SRV record has a number out of range: write 0 to 65535
bad zone record: a quote is not closed: close it`},
		{"a record of one's own that leads nowhere blocks, and actions of zones are known", "a.lan A 0.0.0.0\nb.lan CNAME .\nc.lan CNAME rpz-passthru.", own, `
rpz block exact a.lan
rpz block exact b.lan reply=nxdomain
rpz allow exact c.lan`},
		{"an address with names is a hosts line, whatever they are called", "192.168.1.9 a b\n192.168.1.8 mx nas", own, `
hosts answer exact a reply=records A:c0a80109
hosts answer exact 9.1.168.192.in-addr.arpa reply=records PTR:016100
hosts answer exact b reply=records A:c0a80109
hosts answer exact mx reply=records A:c0a80108
hosts answer exact 8.1.168.192.in-addr.arpa reply=records PTR:026d7800
hosts answer exact nas reply=records A:c0a80108`},
		{"a record in a stranger's list is no rule", "nas.lan MX 10 mail.lan\nnas.lan A 192.168.1.9", Options{}, `
bad not a rule: several words, and the first is no address: write one name a line, or # before a comment
bad answer of its own: an answer of the list's own: only own.txt, or a list with answers: true, may give one`},

		// Hosts files of the system.
		{"a hosts file of the system has hosts lines alone", "127.0.0.1 localhost\n127.0.1.1 box box.lan\n::1 ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\n192.168.1.9 nas.lan nas # the box\n0.0.0.0 ads.example\ntracker.example\n||x.example^\n192.168.1.7\nnas.lan A 192.168.1.9\n192.168.1.6 localhost x.lan", Options{Own: true, System: true}, `
hosts answer exact nas.lan reply=records A:c0a80109
hosts answer exact 9.1.168.192.in-addr.arpa reply=records PTR:036e6173036c616e00
hosts answer exact nas reply=records A:c0a80109
hosts block exact ads.example
hosts answer exact x.lan reply=records A:c0a80106
hosts answer exact 6.1.168.192.in-addr.arpa reply=records PTR:0178036c616e00
bad not a rule: no line of a hosts file: write an address and its names; other rules go into own.txt
bad not a rule: no line of a hosts file: write an address and its names; other rules go into own.txt
bad not a rule: no line of a hosts file: write an address and its names; other rules go into own.txt
bad not a rule: no line of a hosts file: write an address and its names; other rules go into own.txt`},

		// Annotations.
		{"an annotation holds for the lines below until the next", "a.example\n#@ vendor=X product=\"Y Z\"\nb.example\n0.0.0.0 c.example d.example\n#@ vendor=V\ne.example\n#@\nf.example", Options{}, `
domain block subtree a.example
domain block subtree b.example vendor="X" product="Y Z"
hosts block exact c.example vendor="X" product="Y Z"
hosts block exact d.example vendor="X" product="Y Z"
domain block subtree e.example vendor="V"
domain block subtree f.example`},
		{"keys behind a name override, and only there", "#@ vendor=X tier=telemetry\na.example  #@ purpose=ads tier=mixed\nb.example #@ vendor=\"\"\nc.example", Options{}, `
domain block subtree a.example vendor="X" purpose="ads" tier="mixed"
domain block subtree b.example tier="telemetry"
domain block subtree c.example vendor="X" tier="telemetry"`},
		{"an annotation stands behind every form", "||a.example^ #@ vendor=X\n0.0.0.0 b.example #@ vendor=X\nlocal=/c.example/ #@ vendor=X\nlocal-zone: \"d.example\" static #@ vendor=X\n/^e-ads/ #@ vendor=X\n*.f.example#@ vendor=X\n@@g.example #@ vendor=X", Options{}, `
adblock block subtree a.example vendor="X"
hosts block exact b.example vendor="X"
dnsmasq block subtree c.example vendor="X"
unbound block subtree d.example reply=nxdomain vendor="X"
regex block pattern /^e-ads/ with "e-ads" vendor="X"
wildcard block subtree f.example vendor="X"
domain allow subtree g.example vendor="X"`},
		{"name= is known and never blocked", "#@ vendor=X\n#@ name=a.example tier=essential breaks=\"the \\\"back\\\" button\"\n#@ name==b.example\n#@ name=*.c.example\nd.example\n#@ name=com tier=owner", Options{}, `
known known subtree a.example vendor="X" tier="essential" breaks="the \"back\" button"
known known exact b.example vendor="X"
known known subtree c.example vendor="X"
domain block subtree d.example vendor="X"
known known subtree com vendor="X" tier="owner"`},
		{"until ends with its day, or at its time", "a.example #@ until=2026-12-31\nb.example #@ until=2026-12-31T18:00:00+01:00\nc.example #@ until=2026-12-31T18:00", Options{}, `
domain block subtree a.example until=2027-01-01T00:00:00Z
domain block subtree b.example until=2026-12-31T17:00:00Z
domain block subtree c.example until=2026-12-31T18:00:00Z`},
		{"an end that cannot be read has passed", "a.example #@ until=tomorrow", Options{}, `
domain block subtree a.example until=1970-01-01T00:00:00Z
bad annotation: until=tomorrow is no date, and the rule is not in force: write until=2026-12-31, or a time such as 2026-12-31T18:00:00Z`},
		{"mistakes in an annotation are reported and the rest is kept", "a.example #@ vendor=X colour=red tier=bad word purpose=\"ads", Options{}, `
domain block subtree a.example vendor="X" purpose="ads"
bad annotation: word has no value: write key=value, or key="several words"
bad annotation: the quote behind purpose= is not closed: close it
bad annotation: the key colour is unknown: known are vendor, product, purpose, tier, region, source, breaks, since, confidence, claims, software, until and name
bad annotation: tier=bad is unknown: write telemetry, mixed, essential or owner`},
		{"name= behind a rule is a mistake", "a.example #@ name=b.example", Options{}, `
domain block subtree a.example
bad annotation: name= behind a rule: it belongs on a line of its own`},
		{"a comment behind an annotation is none of it", "a.example #@ vendor=X # note", Options{}, `
domain block subtree a.example vendor="X"`},
		{"a second annotation in a line is reported", "a.example #@ vendor=X #@ purpose=ads\n#@ name=b.example vendor=Y #@ purpose=ads\n#@ vendor=Z #@ tier=mixed", Options{}, `
domain block subtree a.example vendor="X"
known known subtree b.example vendor="Y"
bad annotation: a second #@ in a line is a comment, and says nothing: write its keys behind the first
bad annotation: a second #@ in a line is a comment, and says nothing: write its keys behind the first
bad annotation: a second #@ in a line is a comment, and says nothing: write its keys behind the first`},
		{"a line names one name", "#@ name=a.example name=b.example vendor=X", Options{}, `
known known subtree b.example vendor="X"
bad annotation: a second name= in a line: write a line for each name`},
		{"an annotation needs a space after its sign", "#@vendor=X\na.example", Options{}, `
domain block subtree a.example`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Location = time.UTC
			got := rules(c.text, c.o)
			if got != strings.TrimPrefix(c.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			c.o.general = true
			if slow := rules(c.text, c.o); slow != got {
				t.Errorf("the general path reads\n%s\nthe fast path\n%s", slow, got)
			}
			readBack(t, []byte(c.text), c.o)
		})
	}
}
