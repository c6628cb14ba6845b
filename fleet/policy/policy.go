// Package policy keeps what holds on the nodes of a fleet in step with their center:
// files, of which only those travel that changed. The center describes them by a
// manifest; a node holds a request for the next one, fetches what it does not have, and
// puts all of it in force at once or nothing. What is in force stays on the node's disk,
// and the node works by it for as long as the center is away.
//
// The package knows nothing of what is in the files.
package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"telltale/sorting"
)

// A Manifest is a policy: its files, by name. The keys of its JSON never change.
type Manifest struct {
	Version string `json:"version"` // of all below; two with the same version are the same
	Files   []File `json:"files"`   // by name, ascending
}

// A File is one file of a policy.
type File struct {
	Name string `json:"name"` // such as lists/ads.txt
	Size int64  `json:"size"`
	Hash string `json:"hash"` // SHA-256, hexadecimal
}

// Bounds of a policy.
const (
	mostFiles    = 10_000
	mostManifest = 4 << 20   // octets of one as JSON
	mostFile     = 512 << 20 // octets of a file
)

// Folders of a policy's files, and the file beside them. They never change.
const (
	Lists    = "lists"         // list files; own.txt are rules of the center's own
	Groups   = "groups"        // rules of groups
	Settings = "settings.yaml" // settings that the center shares
)

// newManifest returns the manifest of files.
func newManifest(files []File) *Manifest {
	m := &Manifest{Files: slices.Clone(files)}
	sorting.StableBy(m.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	m.Version = m.version()
	return m
}

func (m *Manifest) version() string {
	h := sha256.New()
	for _, f := range m.Files {
		fmt.Fprintf(h, "%q %d %s\n", f.Name, f.Size, f.Hash)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// parseManifest reads what a center sent, or what is on disk.
func parseManifest(text []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("the policy cannot be read: %w", err)
	}
	if len(m.Files) > mostFiles {
		return nil, fmt.Errorf("the policy has more than %d files", mostFiles)
	}
	for i, f := range m.Files {
		if err := checkName(f.Name); err != nil {
			return nil, err
		}
		if i > 0 && m.Files[i-1].Name >= f.Name {
			return nil, errors.New("the policy names a file twice, or not in order")
		}
		if sum, err := hex.DecodeString(f.Hash); err != nil || len(sum) != sha256.Size || strings.ToLower(f.Hash) != f.Hash {
			return nil, fmt.Errorf("the policy has no hash of %s", f.Name)
		}
		if f.Size < 0 || f.Size > mostFile {
			return nil, fmt.Errorf("%s would have %d octets", f.Name, f.Size)
		}
	}
	if m.version() != m.Version {
		return nil, errors.New("the policy's version is that of another one")
	}
	return m, nil
}

// checkName refuses names that would be files elsewhere.
func checkName(name string) error {
	folder, base := path.Split(name)
	switch {
	case !utf8.ValidString(name) || len(name) > 255 || strings.ContainsAny(name, "\\\x00:") || path.Clean(name) != name:
	case name == Settings:
		return nil
	case folder != Lists+"/" && folder != Groups+"/":
	case base != "" && base[0] != '.':
		return nil
	}
	return fmt.Errorf("the policy has a file %q, which none can have", name)
}

// file returns a file of the manifest.
func (m *Manifest) file(name string) (File, bool) {
	i, ok := slices.BinarySearchFunc(m.Files, name, func(f File, name string) int { return strings.Compare(f.Name, name) })
	if !ok {
		return File{}, false
	}
	return m.Files[i], true
}
