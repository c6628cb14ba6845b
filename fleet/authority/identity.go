package authority

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"telltale/atomicfile"
)

// An Identity is how a node shows who it is, and knows its center. All methods may be
// called by any goroutine.
type Identity struct {
	Node    string
	Centers []string // those of the invitation

	dir  string
	now  func() time.Time
	key  ed25519.PrivateKey
	ca   *x509.Certificate
	cert atomic.Pointer[x509.Certificate] // it is renewed
}

// ErrNotJoined means that this node is in no fleet.
var ErrNotJoined = errors.New("this node has joined no fleet: run 'telltale center invite NODE' at the center, and here what it prints")

const (
	nodeKeyFile  = "node.key"
	nodeCertFile = "node.crt"
	centersFile  = "centers" // a line for each
)

// IdentityFiles are what Join keeps, the certificate first: without it this is no node.
var IdentityFiles = []string{nodeCertFile, nodeKeyFile, certificateFile, centersFile, termFile}

// OpenIdentity reads what Join kept. now is the clock; nil for time.Now.
func OpenIdentity(dir string, now func() time.Time) (*Identity, error) {
	if now == nil {
		now = time.Now
	}
	cert, err := readCertificate(filepath.Join(dir, nodeCertFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotJoined
	}
	if err != nil {
		return nil, err
	}
	i := &Identity{Node: cert.Subject.CommonName, dir: dir, now: now}
	if i.key, err = readKey(filepath.Join(dir, nodeKeyFile)); err != nil {
		return nil, err
	}
	if public, ok := cert.PublicKey.(ed25519.PublicKey); !ok || !public.Equal(i.key.Public()) {
		return nil, fmt.Errorf("%s is the certificate of another key than %s: let this node join again", filepath.Join(dir, nodeCertFile), nodeKeyFile)
	}
	if i.ca, err = readCertificate(filepath.Join(dir, certificateFile)); err != nil {
		return nil, err
	}
	if err := cert.CheckSignatureFrom(i.ca); err != nil {
		return nil, fmt.Errorf("%s was not signed by %s: let this node join again", filepath.Join(dir, nodeCertFile), certificateFile)
	}
	centers, err := os.ReadFile(filepath.Join(dir, centersFile))
	if err != nil {
		return nil, err
	}
	i.Centers = strings.Fields(string(centers))
	i.cert.Store(cert)
	return i, nil
}

// NodeName returns the name by which a node joined; "" where it did not.
func NodeName(dir string) string {
	cert, err := readCertificate(filepath.Join(dir, nodeCertFile))
	if err != nil {
		return ""
	}
	return cert.Subject.CommonName
}

// Join joins a fleet: the key is made here and never leaves. What was there of an
// earlier fleet is replaced once the center has answered.
func Join(ctx context.Context, dir string, i Invitation, now func() time.Time) (*Identity, error) {
	if now == nil {
		now = time.Now
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, pending, err := joiningKey(dir, i)
	if err != nil {
		return nil, err
	}
	request, err := requestOf(key, i.Node)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: pinned(i.Fingerprint, now), Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	g, err := askToJoin(ctx, client, i, request)
	if err != nil {
		return nil, err
	}
	cert, ca, err := g.check(key, nil, i.Fingerprint)
	if err != nil {
		return nil, err
	}
	if cert.Subject.CommonName != i.Node {
		return nil, fmt.Errorf("the center gave a certificate for node %q, and not for %q", cert.Subject.CommonName, i.Node)
	}
	// The certificate comes last: without it the node has not joined.
	os.Remove(filepath.Join(dir, nodeCertFile))
	if err := errors.Join(
		writeKey(filepath.Join(dir, nodeKeyFile), key),
		atomicfile.Write(filepath.Join(dir, certificateFile), pemCertificate(ca), 0o644),
		atomicfile.Write(filepath.Join(dir, centersFile), []byte(strings.Join(i.Centers, "\n")+"\n"), 0o644),
		atomicfile.Write(filepath.Join(dir, nodeCertFile), pemCertificate(cert), 0o644),
	); err != nil {
		return nil, err
	}
	os.Remove(pending)
	return OpenIdentity(dir, now)
}

// askToJoin asks the centers of an invitation, until one answers.
func askToJoin(ctx context.Context, client *http.Client, i Invitation, request string) (g granted, err error) {
	var silent []string // addresses at which nothing answers
	var errs []error
	for _, center := range i.Centers {
		err := ask(ctx, client, center+JoinPath, joining{Node: i.Node, Token: i.Token, Request: request}, &g)
		if err == nil {
			return g, nil
		}
		if _, ok := errors.AsType[*RefusedError](err); ok {
			return g, err
		}
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			silent = append(silent, fmt.Sprintf("%s (%v)", center, op.Err))
			continue
		}
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
			if errors.Is(err, http.ErrSchemeMismatch) {
				err = errors.New("what answers there is no center: is the port right?")
			}
		}
		errs = append(errs, fmt.Errorf("%s: %w", center, err))
	}
	if len(silent) > 0 {
		text := "the center does not answer at %s: is 'telltale center' running there, and may this machine reach the port?"
		if len(errs) == 0 {
			text += " The invitation was not used"
		}
		errs = append(errs, fmt.Errorf(text, strings.Join(silent, ", ")))
	}
	return g, errors.Join(errs...)
}

// joiningKey returns the key for an invitation, which is kept until the node has joined:
// the same invitation is good again for the same key.
func joiningKey(dir string, i Invitation) (key ed25519.PrivateKey, path string, err error) {
	path = filepath.Join(dir, "joining-"+i.Token[:8]+".key")
	if key, err = readKey(path); err == nil {
		return key, path, nil
	}
	if _, key, err = ed25519.GenerateKey(nil); err != nil {
		return nil, path, err
	}
	return key, path, writeKey(path, key)
}

func requestOf(key ed25519.PrivateKey, node string) (string, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: node}}, key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// check returns what was granted, if it is for the key, and of the authority that is
// known or has the fingerprint.
func (g *granted) check(key ed25519.PrivateKey, known *x509.Certificate, want string) (cert, ca *x509.Certificate, err error) {
	if cert, err = parseCertificate([]byte(g.Certificate)); err == nil {
		ca, err = parseCertificate([]byte(g.Authority))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the center's answer cannot be read: %w", err)
	}
	public, ok := cert.PublicKey.(ed25519.PublicKey)
	switch {
	case known != nil && !ca.Equal(known), known == nil && fingerprint(ca) != want:
		return nil, nil, errors.New("the center's answer is of another authority")
	case !ok || !public.Equal(key.Public()):
		return nil, nil, errors.New("the center gave a certificate for another key")
	}
	return cert, ca, cert.CheckSignatureFrom(ca)
}

// pinned connects to who shows a certificate that the authority of a fingerprint signed.
func pinned(want string, now func() time.Time) *http.Transport {
	return transport(&tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: ServerName,
		InsecureSkipVerify: true, // VerifyConnection verifies
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, ca := range s.PeerCertificates[1:] {
				if fingerprint(ca) != want {
					continue
				}
				pool := x509.NewCertPool()
				pool.AddCert(ca)
				_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, DNSName: ServerName, CurrentTime: now()})
				return err
			}
			return errors.New("this is not the center that the invitation is of: its key has another fingerprint")
		},
	})
}

func transport(c *tls.Config) *http.Transport {
	return &http.Transport{
		TLSClientConfig: c, ForceAttemptHTTP2: true,
		// Short, so that what was begun while the way was cut does not wait for long once it is back.
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 2 * time.Minute, MaxIdleConnsPerHost: 4, ResponseHeaderTimeout: 0,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
}

// clock returns the time, which is not before this node's certificate was made: a router
// may begin in 1970.
func (i *Identity) clock() time.Time {
	now := i.now()
	if from := i.cert.Load().NotBefore; now.Before(from) {
		return from.Add(allowance)
	}
	return now
}

// Transport returns what connects to the fleet's centers alone, and shows the node's
// certificate to them. Its caller closes its idle connections.
func (i *Identity) Transport() *http.Transport {
	pool := x509.NewCertPool()
	pool.AddCert(i.ca)
	return transport(&tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: ServerName, RootCAs: pool, Time: i.clock,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert := i.cert.Load()
			return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: i.key, Leaf: cert}, nil
		},
	})
}

// Expires returns when the certificate ends that the node has now.
func (i *Identity) Expires() time.Time { return i.cert.Load().NotAfter }

// RenewIfDue renews the certificate where a third of its time is over, with the first
// center that answers, and reports whether it did.
func (i *Identity) RenewIfDue(ctx context.Context, client *http.Client, centers []string) (renewed bool, err error) {
	cert := i.cert.Load()
	if i.clock().Before(cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) / 3)) {
		return false, nil
	}
	request, err := requestOf(i.key, i.Node)
	if err != nil {
		return false, err
	}
	var g granted
	err = errors.New("no center is known")
	for _, center := range centers {
		if err = ask(ctx, client, center+RenewPath, joining{Request: request}, &g); err == nil {
			break
		}
	}
	if err != nil {
		return false, err
	}
	fresh, _, err := g.check(i.key, i.ca, "")
	if err != nil {
		return false, err
	}
	if err := atomicfile.Write(filepath.Join(i.dir, nodeCertFile), pemCertificate(fresh), 0o644); err != nil {
		return false, err
	}
	i.cert.Store(fresh)
	return true, nil
}

// ask posts JSON and reads the answer into out.
func ask(ctx context.Context, client *http.Client, url string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := client.Do(r)
	if err != nil {
		return ExplainTLS(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, mostRequest))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return AnswerError(res, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("the center's answer cannot be read: %w", err)
	}
	return nil
}

// AnswerError returns the error that an answer with another status than 200 is; text is
// what it has read of the answer. It is a *RefusedError where the center refuses the node.
func AnswerError(res *http.Response, text []byte) error {
	why := strings.ToValidUTF8(strings.TrimSpace(string(text[:min(len(text), 1000)])), "?")
	if res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized {
		return refused("the center refuses this node: %s", why)
	}
	return fmt.Errorf("the center answered %s: %s", res.Status, why)
}

// ExplainTLS says of errors of TLS what is to be done.
func ExplainTLS(err error) error {
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return fmt.Errorf("the center's certificate does not hold by this machine's clock: set the clock (%w)", err)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("this is not the center of this node's fleet: another authority signed its certificate (%w)", err)
	}
	return err
}
