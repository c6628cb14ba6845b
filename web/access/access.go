// Package access knows who may use the API from the network: accounts of people with
// pass phrases, their sessions, and tokens of programs. All is in one file, in which no
// secret can be read but those of one-time codes. It knows nothing of HTTP.
package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Scope is what somebody may do. Each has what those before it have. The words of
// scopes, roles and kinds are in files and in the API, and never change.
type Scope string

const (
	None  Scope = ""
	Read  Scope = "read"  // see all there is
	Rules Scope = "rules" // also change what is blocked, and for how long not
	Admin Scope = "admin" // everything
)

// Scopes are all that can be given, the least first.
var Scopes = []Scope{Read, Rules, Admin}

// Has reports whether s is enough for what takes another scope. An unknown word is
// enough for nothing, and nothing is enough for it.
func (s Scope) Has(other Scope) bool {
	have, want := slices.Index(Scopes, s), slices.Index(Scopes, other)
	return want >= 0 && have >= want
}

// A Role is what the person of an account may do.
type Role string

const (
	RoleAdmin  Role = "admin"
	RoleViewer Role = "viewer"
	RoleDevice Role = "device" // sees what the devices assigned to the account asked for
)

// Roles are all there are.
var Roles = []Role{RoleAdmin, RoleViewer, RoleDevice}

// scope returns what a role may do; a device's is further restricted to its devices.
func (r Role) scope() Scope {
	switch r {
	case RoleAdmin:
		return Admin
	case RoleViewer, RoleDevice:
		return Read
	}
	return None
}

// A Kind says what somebody has shown who they are by.
type Kind string

const (
	KindAccount Kind = "account" // a session
	KindToken   Kind = "token"
)

// By is who has shown who they are.
type By struct {
	Kind  Kind
	Name  string // of the account or token
	Role  Role   // of an account
	Scope Scope

	Devices  []string  // of an account with RoleDevice: all that it may see
	MayPause bool      // such an account may pause blocking for its devices
	Until    time.Time // when the session or token ends at the latest; zero for a token that does not
	OneTime  bool      // the account also asks for one-time codes

	session [sha256.Size]byte
}

// Restricted reports whether only some devices may be seen.
func (b *By) Restricted() bool { return b.Role == RoleDevice }

// String returns who it is, as lines of the ledger have it.
func (b *By) String() string {
	if b.Kind == KindToken {
		return "token " + b.Name
	}
	return b.Name
}

// reserved is the name that lines of the ledger have for whoever uses the control socket.
const reserved = "command"

// What a Store refuses for.
var (
	ErrRefused  = errors.New("the name or the pass phrase is wrong")
	ErrCode     = errors.New("the one-time code is missing or wrong")
	ErrLink     = errors.New("the link was used before, or its hour is over: 'telltale web link' makes another")
	ErrBusy     = errors.New("too many pass phrases are being checked: try again in a few seconds")
	ErrBroken   = errors.New("the accounts cannot be read, so nobody gets in by the network")
	ErrNotFound = errors.New("there is no such account or token")
	ErrInvalid  = errors.New("not valid")
	ErrConflict = errors.New("not possible now")
	ErrUnkept   = errors.New("in force, but not in the file")
)

// marked is an error with one of those above, which its text does not show.
type marked struct {
	error
	mark error
}

func (m marked) Unwrap() error { return m.mark }

func invalid(format string, args ...any) error {
	return marked{fmt.Errorf(format, args...), ErrInvalid}
}

func conflict(format string, args ...any) error {
	return marked{fmt.Errorf(format, args...), ErrConflict}
}

func missing(format string, args ...any) error {
	return marked{fmt.Errorf(format, args...), ErrNotFound}
}

// A WaitError refuses a log-in that came too soon after others that failed.
type WaitError struct{ Wait time.Duration }

func (e *WaitError) Error() string {
	return fmt.Sprintf("too many log-ins failed: try again in %s", (e.Wait + time.Second - 1).Truncate(time.Second))
}

// secretBytes is the length of secrets that programs keep, in octets.
const secretBytes = 32

// newSecret returns a secret as text.
func newSecret() string {
	var b [secretBytes]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// A digest is what is kept of a secret: it has 256 bits itself, so that no salt is needed.
type digest [sha256.Size]byte

func digestOf(secret string) digest { return sha256.Sum256([]byte(secret)) }

func (d digest) MarshalText() ([]byte, error) {
	return []byte(base64.RawURLEncoding.EncodeToString(d[:])), nil
}

func (d *digest) UnmarshalText(text []byte) error {
	b, err := base64.RawURLEncoding.DecodeString(string(text))
	if err != nil || len(b) != len(d) {
		return errors.New("no SHA-256")
	}
	copy(d[:], b)
	return nil
}

// maxName bounds names of accounts and tokens.
const maxName = 64

// checkName refuses names that could be taken for others where they are shown.
func checkName(name string) error {
	ok := name != "" && len(name) <= maxName && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "-")
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' || r == '@')
	}
	if !ok {
		return invalid("%q is no name: it takes 1 to %d of a to z, 0 to 9, and - _ . @ behind the first", name, maxName)
	}
	if name == reserved {
		return invalid("%q stands for whoever uses the control socket: take another name", name)
	}
	return nil
}
