// Package authority says who is a node of a fleet, and who is its center. The center is
// an authority of its own that signs nothing but certificates of its nodes and of
// itself. A node joins by an invitation, which has a token that is good once and names
// the center's key; from then on both sides show a certificate, and the node renews its
// own before it ends.
//
// It knows nothing of what nodes and the center say to each other.
package authority

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telltale/atomicfile"
)

// ServerName is the name in every center's certificate. It is no name of DNS: nodes know
// their center by its authority, whatever address it has.
const ServerName = "center.telltale.internal"

// How long certificates hold. That of a node is renewed when a third of its time has
// gone by, so that one may be away for eight months.
const (
	authorityHolds = 30 * 365 * 24 * time.Hour
	nodeHolds      = 365 * 24 * time.Hour
	serverHolds    = 90 * 24 * time.Hour
	allowance      = 24 * time.Hour // that a clock may be behind when a certificate is new
)

// An Authority signs certificates. Commands and the running center may use the same
// directory at once: each file in it is put in place whole, and a token is used up by
// renaming its file. All methods may be called by any goroutine.
type Authority struct {
	dir  string
	now  func() time.Time
	key  ed25519.PrivateKey
	cert *x509.Certificate

	server serverCertificate
}

const (
	keyFile         = "authority.key"
	certificateFile = "authority.crt"
)

// Open opens the authority in a directory, and makes it where there is none. now is the
// clock; nil for time.Now.
func Open(dir string, now func() time.Time) (*Authority, error) {
	if now == nil {
		now = time.Now
	}
	a := &Authority{dir: dir, now: now}
	for _, d := range []string{dir, a.path(invitesDir, ""), a.path(nodesDir, ""), a.path(revokedDir, "")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	key, err := readKey(a.path("", keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a, a.make()
	}
	if err != nil {
		return nil, err
	}
	a.key = key
	if a.cert, err = readCertificate(a.path("", certificateFile)); errors.Is(err, fs.ErrNotExist) {
		return a, a.certify() // it ended between the two files
	}
	if err != nil {
		return nil, err
	}
	if public, ok := a.cert.PublicKey.(ed25519.PublicKey); !ok || !public.Equal(key.Public()) {
		return nil, fmt.Errorf("%s is not the certificate of %s: take both from the same backup", a.path("", certificateFile), keyFile)
	}
	return a, nil
}

// ErrNoAuthority means that no center was ever run with a directory.
var ErrNoAuthority = errors.New("no center was ever run here: run 'telltale center'")

// OpenExisting is Open that makes no authority. The error is ErrNoAuthority where there
// is none.
func OpenExisting(dir string, now func() time.Time) (*Authority, error) {
	if _, err := os.Stat(filepath.Join(dir, keyFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoAuthority
	} else if err != nil {
		return nil, err
	}
	return Open(dir, now)
}

func (a *Authority) path(dir, file string) string { return filepath.Join(a.dir, dir, file) }

// make makes the key and the certificate of a new authority.
func (a *Authority) make() (err error) {
	if _, a.key, err = ed25519.GenerateKey(nil); err != nil {
		return err
	}
	if err := writeKey(a.path("", keyFile), a.key); err != nil {
		return err
	}
	return a.certify()
}

func (a *Authority) certify() (err error) {
	t := &x509.Certificate{
		SerialNumber: newSerial(newMembership()), Subject: pkix.Name{CommonName: "Telltale center"},
		NotBefore: a.now().Add(-allowance), NotAfter: a.now().Add(authorityHolds),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	if a.cert, err = sign(t, t, a.key.Public(), a.key); err != nil {
		return err
	}
	return atomicfile.Write(a.path("", certificateFile), pemCertificate(a.cert), 0o644)
}

// Fingerprint is what a node knows the authority by before it has its certificate.
func (a *Authority) Fingerprint() string { return fingerprint(a.cert) }

// fingerprint returns the SHA-256 of a certificate's key.
func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// A membership is what one joining made. Every certificate of it has it in its number.
type membership [8]byte

func (m membership) String() string { return hex.EncodeToString(m[:]) }

func newMembership() (m membership) {
	rand.Read(m[:])
	m[0] = m[0]&0x7f | 0x40 // a positive number of always the same length
	return m
}

func newSerial(m membership) *big.Int {
	b := append(m[:], make([]byte, 8)...)
	rand.Read(b[8:])
	return new(big.Int).SetBytes(b)
}

func membershipOf(c *x509.Certificate) (m membership) {
	var b [16]byte
	if c.SerialNumber.BitLen() <= 128 {
		c.SerialNumber.FillBytes(b[:])
	}
	copy(m[:], b[:8])
	return m
}

func (a *Authority) certifyNode(node string, m membership, public crypto.PublicKey) (*x509.Certificate, error) {
	return sign(&x509.Certificate{
		SerialNumber: newSerial(m), Subject: pkix.Name{CommonName: node},
		NotBefore: a.now().Add(-allowance), NotAfter: a.now().Add(nodeHolds),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}, a.cert, public, a.key)
}

func sign(t, parent *x509.Certificate, public crypto.PublicKey, key ed25519.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// A Member is a node as the authority knows it. The keys of its JSON never change.
type Member struct {
	Node       string    `json:"node"`
	Membership string    `json:"membership"`
	Joined     time.Time `json:"joined"`

	Revoked time.Time `json:"-"` // zero for not
}

const (
	nodesDir   = "nodes"
	revokedDir = "revoked" // by membership
)

// Members returns all nodes that joined, also those that were revoked, by name.
func (a *Authority) Members() ([]Member, error) {
	entries, err := os.ReadDir(a.path(nodesDir, ""))
	if err != nil {
		return nil, err
	}
	var all []Member
	for _, e := range entries {
		if CheckNode(e.Name()) != nil {
			continue // unfinished
		}
		m, err := a.member(e.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, *m)
	}
	return all, nil
}

// member returns a node that joined. The error is fs.ErrNotExist where it did not.
func (a *Authority) member(node string) (*Member, error) {
	m := new(Member)
	if err := readJSON(a.path(nodesDir, node), m); err != nil {
		return nil, err
	}
	info, err := os.Stat(a.path(revokedDir, m.Membership))
	switch {
	case err == nil:
		m.Revoked = info.ModTime().UTC()
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return m, nil
}

// ErrNoNode means that no node of that name joined, and that none is invited.
var ErrNoNode = errors.New("no node of that name is in this fleet")

// Revoke ends a node's membership, and an invitation of that name. It holds for the
// running center from its next request on.
func (a *Authority) Revoke(node string) error {
	if err := CheckNode(node); err != nil {
		return err
	}
	uninvited := os.Remove(a.path(invitesDir, node))
	m, err := a.member(node)
	switch {
	case errors.Is(err, fs.ErrNotExist) && uninvited == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return ErrNoNode
	case err != nil:
		return err
	case !m.Revoked.IsZero():
		return nil
	}
	return atomicfile.Write(a.path(revokedDir, m.Membership), []byte(node+"\n"), 0o600)
}

// A RefusedError says why a certificate or an invitation is not taken, to who showed it.
type RefusedError struct{ Why string }

func (e *RefusedError) Error() string { return e.Why }

func refused(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// Admit returns which node a certificate is of. The error is a *RefusedError for one
// that is not taken.
func (a *Authority) Admit(c *x509.Certificate) (node string, err error) {
	node = c.Subject.CommonName
	again := fmt.Sprintf("run 'telltale center invite %s' at the center, and on the node what it prints", node)
	if err := c.CheckSignatureFrom(a.cert); err != nil {
		return "", refused("this certificate is of another fleet: the center did not sign it")
	}
	if !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || CheckNode(node) != nil {
		return "", refused("this is not the certificate of a node")
	}
	if now := a.now(); now.After(c.NotAfter) || now.Before(c.NotBefore) {
		return "", refused("the certificate of node %s holds from %s to %s, and it is %s at the center: if the center's clock is right, %s",
			node, c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), again)
	}
	m, err := a.member(node)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", refused("node %s is not known here any more: %s", node, again)
	case err != nil:
		return "", err
	case m.Membership != membershipOf(c).String():
		return "", refused("node %s joined again %s, and this certificate is of before: if that was not this machine, find out which one it is; else %s", node, m.Joined.UTC().Format(time.RFC3339), again)
	case !m.Revoked.IsZero():
		return "", refused("node %s was revoked %s: if it is to come back, %s", node, m.Revoked.Format(time.RFC3339), again)
	}
	return node, nil
}

// CheckNode says what is wrong with a node's name: it is the name of files, too.
func CheckNode(node string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	switch {
	case node == "" || len(node) > 63:
		return errors.New("a node's name has 1 to 63 characters")
	case strings.Trim(node, letters) != "" || strings.IndexFunc(node, func(r rune) bool { return !strings.ContainsRune(letters, r) }) >= 0:
		return fmt.Errorf("a node's name has letters of ASCII, digits, and . _ - alone, found %q", node)
	case node[0] == '.' || node[0] == '-':
		return fmt.Errorf("a node's name begins with a letter or a digit, found %q", node)
	}
	return nil
}

// CheckPrivate refuses a file that others may read.
func CheckPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s can be read or written by others (%#o): run chmod 600 on it, and if somebody may have read it, revoke this node and let it join again", path, mode)
	}
	return nil
}

func readKey(path string) (ed25519.PrivateKey, error) {
	if err := CheckPrivate(path); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s has no key in it: take it from a backup", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s has a key of another kind than Ed25519", path)
	}
	return private, nil
}

func writeKey(path string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

const certificateBlock = "CERTIFICATE"

func pemCertificate(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw})
}

func readCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := parseCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != certificateBlock {
		return nil, errors.New("no certificate is in it")
	}
	return x509.ParseCertificate(block.Bytes)
}

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(text, '\n'), 0o600)
}
