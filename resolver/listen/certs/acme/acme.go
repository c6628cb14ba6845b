// Package acme gets a certificate from an authority by ACME (RFC 8555), and renews it.
// It proves that a name is ours by a TXT record (DNS-01), which needs no port of this
// machine to be reachable: by an update of the zone (RFC 2136), or by a program.
package acme

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/acme"

	"telltale/atomicfile"
)

// A Solver puts records in place by which an authority sees that a name is ours.
type Solver interface {
	// Present puts a TXT record in place, beside others of the name, and returns when
	// it can be asked for.
	Present(ctx context.Context, name, value string) error
	// CleanUp takes it away.
	CleanUp(ctx context.Context, name, value string) error
}

// Options are what a Client needs.
type Options struct {
	Directory string   // the authority's URL
	Names     []string // for one certificate, the first one first; "*.NAME" is one
	Email     string   // of the account; "" for none
	Dir       string   // where account and certificate are kept
	Solver    Solver
	// Wait is how long to wait once all records are in place, for the zone's other
	// servers.
	Wait time.Duration
	// Transport reaches the authority. nil: as usual.
	Transport http.RoundTripper
	Agent     string // names this program
	Now       func() time.Time
	Logger    *slog.Logger
}

// CertificateFile is where the certificate and its key are, both, within dir.
func CertificateFile(dir string) string { return filepath.Join(dir, "certificate.pem") }

const accountFile = "account.pem"

// A Client keeps a certificate valid. Any goroutine may call Err.
type Client struct {
	options Options

	mu  sync.Mutex
	err error // why the last try failed; nil where it did not
}

// New returns a Client that does nothing until Run.
func New(o Options) *Client {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{options: o}
}

// Err returns why the last try to get a certificate failed; nil where it did not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Bounds of how often an authority is asked: they count failures, too.
const (
	lookEvery  = time.Hour
	firstRetry = 10 * time.Minute
	lastRetry  = 12 * time.Hour
	tryTime    = 15 * time.Minute
)

// Run gets a certificate when there is none for the names, or a third of its time is
// left, until ctx ends.
func (c *Client) Run(ctx context.Context) {
	retry := firstRetry
	for ctx.Err() == nil {
		wait := lookEvery
		if why := c.due(); why != "" {
			c.options.Logger.Info("a certificate is asked for", "authority", c.options.Directory, "names", c.options.Names, "why", why)
			err := c.get(ctx)
			if ctx.Err() != nil {
				return
			}
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			if err != nil {
				wait, retry = retry, min(2*retry, lastRetry)
				c.options.Logger.Error("there is no new certificate", "authority", c.options.Directory, "names", c.options.Names, "error", err, "next_try", wait)
			} else {
				retry = firstRetry
				c.options.Logger.Info("there is a new certificate", "names", c.options.Names)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// due returns why a certificate is to be asked for; "" where there is no reason.
func (c *Client) due() string {
	file := CertificateFile(c.options.Dir)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "there is none"
	}
	if err != nil {
		return err.Error()
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return fmt.Sprintf("%s: %v", file, err)
	}
	leaf, now := pair.Leaf, c.options.Now()
	has, want := slices.Sorted(slices.Values(leaf.DNSNames)), slices.Sorted(slices.Values(c.options.Names))
	switch {
	case !slices.Equal(has, want):
		return fmt.Sprintf("the one there is is for %v", has)
	case leaf.NotAfter.Sub(now) < leaf.NotAfter.Sub(leaf.NotBefore)/3:
		return "the one there is ends " + leaf.NotAfter.Format(time.DateOnly)
	}
	return ""
}

// get gets a certificate, and puts it in place with its key.
func (c *Client) get(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	if err := os.MkdirAll(c.options.Dir, 0o700); err != nil {
		return err
	}
	account, err := c.accountKey()
	if err != nil {
		return err
	}
	client := &acme.Client{Key: account, DirectoryURL: c.options.Directory, UserAgent: c.options.Agent, HTTPClient: &http.Client{Transport: c.options.Transport, Timeout: time.Minute}}
	var contact []string
	if c.options.Email != "" {
		contact = []string{"mailto:" + c.options.Email}
	}
	_, err = client.Register(ctx, &acme.Account{Contact: contact}, acme.AcceptTOS) // the settings say so
	if err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return fmt.Errorf("account: %w", err)
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(c.options.Names...))
	if err != nil {
		return fmt.Errorf("order: %w", err)
	}
	if err := c.prove(ctx, client, order.AuthzURLs); err != nil {
		return err
	}
	uri := order.URI
	if order, err = client.WaitOrder(ctx, uri); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	order.URI = uri
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: c.options.Names}, key)
	if err != nil {
		return err
	}
	chain, err := finalize(ctx, client, order, request)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	text, err := keyPEM(key)
	if err != nil {
		return err
	}
	for _, der := range slices.Backward(chain) {
		text = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), text...)
	}
	return atomicfile.Write(CertificateFile(c.options.Dir), text, 0o600)
}

// finalize has the authority issue the certificate.
func finalize(ctx context.Context, client *acme.Client, order *acme.Order, request []byte) (chain [][]byte, err error) {
	chain, _, err = client.CreateOrderCert(ctx, order.FinalizeURL, request, true)
	if err == nil {
		return chain, nil
	}
	// The client loses an order that is not ready at once where the answer does not say
	// again where it is, as pebble's does not.
	issued, again := client.WaitOrder(ctx, order.URI)
	if again != nil || issued.CertURL == "" {
		return nil, err
	}
	return client.FetchCert(ctx, issued.CertURL, true)
}

// A proof is one record that an authority wants to see.
type proof struct {
	name, value string
	challenge   *acme.Challenge
	uri         string // of the authorization
}

// prove puts the records of all authorizations in place, has them looked at, and takes
// them away.
func (c *Client) prove(ctx context.Context, client *acme.Client, urls []string) (err error) {
	var proofs []proof
	for _, url := range urls {
		z, err := client.GetAuthorization(ctx, url)
		if err != nil {
			return fmt.Errorf("authorization: %w", err)
		}
		if z.Status == acme.StatusValid { // from before
			continue
		}
		i := slices.IndexFunc(z.Challenges, func(ch *acme.Challenge) bool { return ch.Type == "dns-01" })
		if i < 0 {
			return fmt.Errorf("%s: the authority takes no proof by DNS", z.Identifier.Value)
		}
		value, err := client.DNS01ChallengeRecord(z.Challenges[i].Token)
		if err != nil {
			return err
		}
		proofs = append(proofs, proof{"_acme-challenge." + z.Identifier.Value, value, z.Challenges[i], z.URI})
	}
	for i := range proofs {
		p := &proofs[i]
		defer func() { // also where it may not be there: the answer may have been lost
			patience := time.Minute
			if ctx.Err() != nil { // the program is about to end
				patience = 5 * time.Second
			}
			cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			if e := c.options.Solver.CleanUp(cleaning, p.name, p.value); e != nil {
				c.options.Logger.Warn("a record of a proof is still there", "name", p.name, "value", p.value, "error", e)
			}
		}()
		if err := c.options.Solver.Present(ctx, p.name, p.value); err != nil {
			return fmt.Errorf("%s: the record cannot be put in place: %w", p.name, err)
		}
	}
	select {
	case <-time.After(c.options.Wait):
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, p := range proofs {
		if _, err := client.Accept(ctx, p.challenge); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	for _, p := range proofs {
		if _, err := client.WaitAuthorization(ctx, p.uri); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// accountKey reads the key of the account, or makes one.
func (c *Client) accountKey() (crypto.Signer, error) {
	file := filepath.Join(c.options.Dir, accountFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		if text, err = keyPEM(key); err != nil {
			return nil, err
		}
		return key, atomicfile.Write(file, text, 0o600)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM in it; remove it for a new account", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s: no key of an account (%w); remove it for a new account", file, cmp.Or(err, errors.New("it cannot sign")))
	}
	return signer, nil
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
