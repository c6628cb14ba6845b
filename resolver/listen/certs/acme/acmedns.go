package acme

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"telltale/resolver/listen/certs"
)

// An AcmeDNS puts records in place at servers of acme-dns, which serve nothing but such
// records: the zone of a name has an alias from its challenge to there, once for all.
type AcmeDNS struct {
	Accounts  map[string]AcmeDNSAccount // by the name that is proven, without "*."
	Transport http.RoundTripper         // nil: as usual
	Agent     string                    // names this program
}

// An AcmeDNSAccount is what a server of acme-dns answers to a registration, and where that is.
type AcmeDNSAccount struct {
	Server     string `json:"server_url"`
	User       string `json:"username"`
	Password   string `json:"password"`
	Subdomain  string `json:"subdomain"`
	FullDomain string `json:"fulldomain"` // what the alias leads to
}

// ReadAcmeDNS reads a file of accounts: a JSON object of them by name.
func ReadAcmeDNS(file string) (accounts map[string]AcmeDNSAccount, err error) {
	text, err := certs.ReadSecret(file, true)
	if err != nil {
		return nil, err
	}
	if accounts, err = parseAcmeDNS(text); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return accounts, nil
}

func parseAcmeDNS(text []byte) (map[string]AcmeDNSAccount, error) {
	accounts := map[string]AcmeDNSAccount{}
	if err := json.Unmarshal(text, &accounts); err != nil {
		return nil, fmt.Errorf(`no accounts of acme-dns by name, {"dns.example": {"server_url": ..., "username": ..., "password": ..., "subdomain": ..., "fulldomain": ...}}: %w`, err)
	}
	all := make(map[string]AcmeDNSAccount, len(accounts))
	for name, a := range accounts {
		u, err := url.Parse(a.Server)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			return nil, fmt.Errorf("%s: server_url %q is no URL of a server", name, a.Server)
		case u.Scheme == "http" && !isLoopback(u.Hostname()):
			return nil, fmt.Errorf("%s: server_url %q would send the password in clear: https, or an address of this machine", name, a.Server)
		case a.User == "" || a.Password == "" || a.Subdomain == "":
			return nil, fmt.Errorf("%s: no username, password or subdomain", name)
		}
		all[provenName(name)] = a
	}
	return all, nil
}

func isLoopback(host string) bool { return host == "127.0.0.1" || host == "::1" || host == "localhost" }

// provenName returns the name by whose record a name of a certificate is proven.
func provenName(name string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(name), "*."), ".")
}

// Lacks returns the first of names that has no account; "" where all have.
func (a AcmeDNS) Lacks(names []string) string {
	for _, name := range names {
		if _, ok := a.Accounts[provenName(name)]; !ok {
			return name
		}
	}
	return ""
}

// Present has the server of the name's account answer with value. It keeps the value before
// it, too, as a name and its wildcard are proven at once.
func (a AcmeDNS) Present(ctx context.Context, name, value string) error {
	account, ok := a.Accounts[provenName(strings.TrimPrefix(name, "_acme-challenge."))]
	if !ok {
		return errors.New("no account of acme-dns for it")
	}
	body, err := json.Marshal(map[string]string{"subdomain": account.Subdomain, "txt": value})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	where := strings.TrimSuffix(account.Server, "/") + "/update"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, where, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Api-User", account.User)
	r.Header.Set("X-Api-Key", account.Password)
	if a.Agent != "" {
		r.Header.Set("User-Agent", a.Agent)
	}
	client := http.Client{Transport: a.Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("it redirects: the password goes nowhere else") // headers would go along
	}}
	reply, err := client.Do(r)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	const most = 500
	said, err := io.ReadAll(io.LimitReader(reply.Body, most))
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("%s for the subdomain %s: it says %s: %s", where, account.Subdomain, reply.Status, bytes.TrimSpace(said))
	}
	return nil
}

// CleanUp does nothing: a server of acme-dns has the last two values of a name, and takes none away.
func (a AcmeDNS) CleanUp(context.Context, string, string) error { return nil }
