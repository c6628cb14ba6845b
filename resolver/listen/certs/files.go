package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Files are a certificate and its private key, in PEM.
type Files struct {
	Certificate string // with those of its chain behind it
	Key         string // readable by its owner and their group alone
	// Later says that they may not be there yet. Until they are, there is no such
	// certificate.
	Later bool
}

// contents tell what files held apart.
type contents struct{ certificate, key [sha256.Size]byte }

// ErrLater means that there is no certificate yet, and that this is no mistake.
var ErrLater = errors.New("there is no certificate yet")

// maxFile bounds what is read of a file: the longest chains have some 10 kB.
const maxFile = 1 << 20

// Check returns why the files cannot be used, and else how the certificate does.
func (f Files) Check() (Status, error) {
	_, parsed, err := f.load()
	if err != nil {
		return Status{Files: f, Err: err}, err
	}
	st := statusOf(parsed.Leaf)
	st.Files = f
	return st, nil
}

// load reads the files.
func (f Files) load() (read contents, parsed *tls.Certificate, err error) {
	certificate, _, err := readFile(f.Certificate)
	if f.Later && errors.Is(err, fs.ErrNotExist) {
		return read, nil, ErrLater
	}
	if err != nil {
		return read, nil, fmt.Errorf("certificate: %w", err)
	}
	key, err := ReadSecret(f.Key, true)
	if err != nil {
		return read, nil, fmt.Errorf("private key: %w", err)
	}
	read = contents{sha256.Sum256(certificate), sha256.Sum256(key)}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return read, nil, f.explain(certificate, key, err)
	}
	return read, &pair, nil
}

// explain says which file is wrong, and how.
func (f Files) explain(certificate, key []byte, err error) error {
	switch first := firstBlock(certificate); {
	case first == "":
		return fmt.Errorf("certificate %s: no PEM in it (it begins with -----BEGIN CERTIFICATE-----)", f.Certificate)
	case !holds(certificate, "CERTIFICATE"):
		return fmt.Errorf("certificate %s: it holds a %s and no certificate", f.Certificate, first)
	}
	if p := firstBlock(key); p == "" {
		return fmt.Errorf("private key %s: no PEM in it (it begins with -----BEGIN PRIVATE KEY-----)", f.Key)
	} else if p == "ENCRYPTED PRIVATE KEY" {
		return fmt.Errorf("private key %s: it is encrypted, and nobody is there to type a pass phrase: store it without one", f.Key)
	}
	if leaf, _ := pem.Decode(certificate); leaf != nil {
		if _, bad := x509.ParseCertificate(leaf.Bytes); bad != nil {
			return fmt.Errorf("certificate %s: %w", f.Certificate, bad)
		}
	}
	return fmt.Errorf("certificate %s and private key %s: %w", f.Certificate, f.Key, err)
}

func firstBlock(text []byte) string {
	if b, _ := pem.Decode(text); b != nil {
		return b.Type
	}
	return ""
}

func holds(text []byte, typ string) bool {
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		if b.Type == typ {
			return true
		}
	}
	return false
}

// ReadSecret returns what a regular file holds that nobody else may read or change, of
// at most 1 MiB. Where group is set, its group may read it.
func ReadSecret(file string, group bool) ([]byte, error) {
	text, mode, err := readFile(file)
	switch {
	case err != nil:
		return nil, err
	case group && mode&0o027 != 0:
		return nil, fmt.Errorf("%s: its mode is %04o, so that others can read or change it: run chmod 0600 %[1]s (or 0640, for a group of its own)", file, mode)
	case !group && mode&0o077 != 0:
		return nil, fmt.Errorf("%s: its mode is %04o, so that others can read or change it: run chmod 0600 %[1]s", file, mode)
	}
	return text, nil
}

// readFile returns what a regular file holds, and its mode at that time.
func readFile(file string) ([]byte, fs.FileMode, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() { // opening it might wait for somebody
		return nil, 0, fmt.Errorf("%s: not a file", file)
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrPermission) {
		return nil, 0, fmt.Errorf("%w: Telltale's user must be able to read it", err)
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s: more than %d octets", file, maxFile)
	}
	return b, info.Mode().Perm(), err
}
