package acme

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"telltale/resolver/listen/certs"
)

// A Hook is a program that puts records in place: it is called as
// "PROGRAM present NAME VALUE" and "PROGRAM cleanup NAME VALUE", and returns when that
// is done.
type Hook struct{ Program string }

// hookTime is how long a program may take.
const hookTime = 5 * time.Minute

// Present calls the program.
func (h Hook) Present(ctx context.Context, name, value string) error {
	return h.run(ctx, "present", name, value)
}

// CleanUp calls the program.
func (h Hook) CleanUp(ctx context.Context, name, value string) error {
	return h.run(ctx, "cleanup", name, value)
}

func (h Hook) run(ctx context.Context, what, name, value string) error {
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Program, what, name, value)
	cmd.WaitDelay = time.Second // what it has started may hold its output open
	out, err := cmd.CombinedOutput()
	if err != nil {
		const most = 500
		return fmt.Errorf("%s %s: %w: %s", h.Program, what, err, strings.TrimSpace(string(out[:min(len(out), most)])))
	}
	return nil
}

// An Update puts records in place by updates of the zone (RFC 2136), signed with a key
// (RFC 8945).
type Update struct {
	Servers []netip.AddrPort // that take updates; the first that does is used
	Key     TSIGKey
}

// A TSIGKey is a key that a server of the zone knows, too.
type TSIGKey struct {
	Name, Algorithm string // as in DNS, with a dot at the end
	Secret          string // base64
}

// clause is a key as BIND's tsig-keygen writes it.
var clause = regexp.MustCompile(`(?s)^\s*key\s+"?([^"\s{;]+)"?\s*\{\s*algorithm\s+"?([a-zA-Z0-9-]+)"?\s*;\s*secret\s+"?([A-Za-z0-9+/=]+)"?\s*;\s*\}\s*;?\s*$`)

// ReadTSIGKey reads a file as tsig-keygen of BIND writes it.
func ReadTSIGKey(file string) (k TSIGKey, err error) {
	text, err := certs.ReadSecret(file, true)
	if err != nil {
		return k, err
	}
	k, err = parseTSIGKey(string(text))
	if err != nil {
		return k, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

func parseTSIGKey(text string) (k TSIGKey, err error) {
	m := clause.FindStringSubmatch(text)
	if m == nil {
		return k, errors.New(`no key as tsig-keygen writes it: key "NAME" { algorithm hmac-sha256; secret "BASE64"; };`)
	}
	k = TSIGKey{dns.CanonicalName(m[1]), dns.CanonicalName(m[2]), m[3]}
	if !slices.Contains([]string{dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512}, k.Algorithm) {
		return k, fmt.Errorf("the algorithm %s: expected hmac-sha256 or hmac-sha512", m[2])
	}
	if b, err := base64.StdEncoding.DecodeString(k.Secret); err != nil || len(b) == 0 {
		return k, errors.New("the secret is not base64")
	}
	if _, ok := dns.IsDomainName(k.Name); !ok {
		return k, fmt.Errorf("%s is no name of a key", m[1])
	}
	return k, nil
}

// Present adds a record to the zone.
func (u Update) Present(ctx context.Context, name, value string) error {
	return u.change(ctx, name, value, (*dns.Msg).Insert)
}

// CleanUp removes it.
func (u Update) CleanUp(ctx context.Context, name, value string) error {
	return u.change(ctx, name, value, (*dns.Msg).Remove)
}

func (u Update) change(ctx context.Context, name, value string, how func(*dns.Msg, []dns.RR)) error {
	var errs []error
	for _, server := range u.Servers {
		err := u.changeAt(ctx, server.String(), dns.Fqdn(name), value, how)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", server, err))
	}
	return errors.Join(errs...)
}

// recordTTL is short: nobody needs the record for long.
const recordTTL = 60

func (u Update) changeAt(ctx context.Context, server, name, value string, how func(*dns.Msg, []dns.RR)) error {
	client := &dns.Client{Net: "tcp", Timeout: 10 * time.Second, TsigSecret: map[string]string{u.Key.Name: u.Key.Secret}}
	zone, err := zoneOf(ctx, client, server, name)
	if err != nil {
		return err
	}
	m := new(dns.Msg).SetUpdate(zone)
	how(m, []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: recordTTL}, Txt: []string{value}}})
	m.SetTsig(u.Key.Name, u.Key.Algorithm, 300, time.Now().Unix())
	r, _, err := client.ExchangeContext(ctx, m, server)
	if err != nil {
		return fmt.Errorf("update of %s: %w", zone, err)
	}
	if r.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("update of %s by the key %s: it says %s", zone, u.Key.Name, dns.RcodeToString[r.Rcode])
	}
	return nil
}

// zoneOf returns the zone that a server has a name in: the nearest above it with an
// SOA of its own.
func zoneOf(ctx context.Context, client *dns.Client, server, name string) (string, error) {
	for zone := name; zone != "."; {
		r, _, err := client.ExchangeContext(ctx, new(dns.Msg).SetQuestion(zone, dns.TypeSOA), server)
		if err != nil {
			return "", err
		}
		for _, rr := range slices.Concat(r.Answer, r.Ns) {
			if soa, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, name) && soa.Hdr.Name != "." {
				return soa.Hdr.Name, nil
			}
		}
		_, above, _ := strings.Cut(zone, ".")
		if zone = above; zone == "" {
			break
		}
	}
	return "", fmt.Errorf("it has no zone with %s", name)
}
