package authority

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"telltale/atomicfile"
)

// A second center has the key of the authority. By that it shows who it is, and follows what the first one has in the
// directory of the authority.

// SharedFiles are the files of an authority's directory that two centers have the same of: its key, and its certificate.
var SharedFiles = []string{keyFile, certificateFile}

type centerKey struct{}

// IsCenter reports whether a request that Handler let pass is another center's.
func IsCenter(ctx context.Context) bool { return ctx.Value(centerKey{}) != nil }

// isCenter reports whether a certificate is of who has the authority's key.
func (a *Authority) isCenter(c *x509.Certificate) bool {
	now := a.now()
	return c.Subject.CommonName == ServerName && slices.Contains(c.DNSNames, ServerName) && slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) &&
		c.CheckSignatureFrom(a.cert) == nil && !now.After(c.NotAfter) && !now.Before(c.NotBefore)
}

// Client returns what speaks with other centers of the fleet as a center. Its caller closes its idle connections.
func (a *Authority) Client(terms *Terms) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &http.Client{Transport: &termTransport{terms, transport(&tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: ServerName, RootCAs: pool, Time: a.now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return a.serverCertificate(nil) },
	})}}
}

// copiedDirs are the folders of the authority that a second center has a copy of.
var copiedDirs = [...]string{invitesDir, nodesDir, revokedDir}

// Export returns the files by which the authority knows its nodes, by their names below its directory.
func (a *Authority) Export() (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, dir := range copiedDirs {
		entries, err := os.ReadDir(a.path(dir, ""))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !isCopied(e.Name()) {
				continue
			}
			text, err := os.ReadFile(a.path(dir, e.Name()))
			if errors.Is(err, fs.ErrNotExist) {
				continue // an invitation that was used just now
			}
			if err != nil {
				return nil, err
			}
			all[dir+"/"+e.Name()] = text
		}
	}
	return all, nil
}

// isCopied reports whether a file of a folder is whole, and of a node, an invitation or a membership.
func isCopied(name string) bool { return CheckNode(strings.TrimSuffix(name, used)) == nil }

// ErrRemovesNodes means that another center lacks most of the nodes that are known here: it was set up again, or lost them.
var ErrRemovesNodes = errors.New("the other center lacks most nodes that are known here")

// Import makes the files of another center's Export this one's. What was revoked here stays so. The error is ErrRemovesNodes where
// all nodes would be removed, or more than half of them: nothing is changed then, unless anyway is set.
func (a *Authority) Import(files map[string][]byte, anyway bool) error {
	for name := range files {
		if dir, base, _ := strings.Cut(name, "/"); !slices.Contains(copiedDirs[:], dir) || !isCopied(base) {
			return fmt.Errorf("the center has a file %q, which no authority has", name)
		}
	}
	if err := a.checkRemoved(files); err != nil && !anyway {
		return err
	}
	for name, text := range files {
		dir, base, _ := strings.Cut(name, "/")
		path := a.path(dir, base)
		if was, err := os.ReadFile(path); err == nil && string(was) == string(text) {
			continue
		}
		if err := atomicfile.Write(path, text, 0o600); err != nil {
			return err
		}
	}
	for _, dir := range []string{invitesDir, nodesDir} {
		entries, err := os.ReadDir(a.path(dir, ""))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if _, there := files[dir+"/"+e.Name()]; !there && isCopied(e.Name()) {
				if err := os.Remove(filepath.Join(a.path(dir, ""), e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkRemoved refuses files that lack most nodes of this authority.
func (a *Authority) checkRemoved(files map[string][]byte) error {
	entries, err := os.ReadDir(a.path(nodesDir, ""))
	if err != nil {
		return err
	}
	known, removed := 0, 0
	for _, e := range entries {
		if !isCopied(e.Name()) {
			continue
		}
		known++
		if _, there := files[nodesDir+"/"+e.Name()]; !there {
			removed++
		}
	}
	if 2*removed > known {
		return fmt.Errorf("%w: %d of %d", ErrRemovesNodes, removed, known)
	}
	return nil
}
