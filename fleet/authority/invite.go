package authority

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// An Invitation lets a node join. Its text is one word without characters that a shell
// reads as others:
//
//	https://center.lan:5390/kitchen/TOKEN/FINGERPRINT
//
// More addresses of the center stand in front, each with a comma behind it.
type Invitation struct {
	Centers     []string // https://HOST:PORT
	Node        string
	Token       string
	Fingerprint string // of the authority's key
}

const (
	tokenLen       = 22 // of 16 octets
	fingerprintLen = 43
	mostCenters    = 8
)

func (i Invitation) String() string {
	return strings.Join(i.Centers, ",") + "/" + i.Node + "/" + i.Token + "/" + i.Fingerprint
}

// joinCommand is what 'telltale center invite' prints before an invitation.
const joinCommand = "telltale fleet join "

// ParseInvitation reads what String made, also with the command and the quotes around it
// that 'telltale center invite' prints.
func ParseInvitation(text string) (Invitation, error) {
	var i Invitation
	wrong := func(why string) (Invitation, error) {
		return Invitation{}, fmt.Errorf("this is no invitation: %s (copy the whole line that 'telltale center invite' printed)", why)
	}
	if _, after, ok := strings.Cut(text, joinCommand); ok {
		text = after
	}
	rest, ok := strings.CutPrefix(strings.Trim(text, " \t\r\n'\""), "https://")
	parts := strings.Split(rest, "/")
	if n := len(parts); ok && n > 4 { // further addresses have slashes of their own
		parts = append([]string{strings.Join(parts[:n-3], "/")}, parts[n-3:]...)
	}
	if !ok || len(parts) != 4 {
		return wrong("it is not https://CENTER/NODE/TOKEN/FINGERPRINT")
	}
	i.Centers = strings.Split("https://"+parts[0], ",")
	i.Node, i.Token, i.Fingerprint = parts[1], parts[2], parts[3]
	if len(i.Centers) > mostCenters {
		return wrong(fmt.Sprintf("it has more than %d addresses", mostCenters))
	}
	for k, c := range i.Centers {
		if err := CheckCenter(c); err != nil {
			return wrong(err.Error())
		}
		i.Centers[k] = WithPort(c)
	}
	if err := CheckNode(i.Node); err != nil {
		return wrong(err.Error())
	}
	for _, p := range []struct {
		what, text string
		length     int
	}{{"token", i.Token, tokenLen}, {"fingerprint", i.Fingerprint, fingerprintLen}} {
		if _, err := base64.RawURLEncoding.DecodeString(p.text); err != nil || len(p.text) != p.length {
			return wrong("its " + p.what + " is not whole")
		}
	}
	return i, nil
}

// CheckCenter says what is wrong with the address of a center.
func CheckCenter(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no address of a center", address)
	case u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || address != "https://"+u.Host:
		return fmt.Errorf("the address of a center is https://HOST:PORT, found %q", address)
	}
	return nil
}

// Port is that of a center whose address has none.
const Port = "5390"

// WithPort adds the port to the address of a center that has none.
func WithPort(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" && u.Port() == "" {
		return "https://" + strings.TrimSuffix(u.Host, ":") + ":" + Port
	}
	return address
}

const (
	invitesDir = "invites" // by node
	used       = "+used"   // ends the name of one that was used; no node's name has it
)

// invite is what is kept of an invitation. The keys never change.
type invite struct {
	Token   []byte    `json:"token"` // its SHA-256
	Expires time.Time `json:"expires"`
	Key     []byte    `json:"key,omitempty"` // of who used it
	Used    time.Time `json:"used,omitzero"`
}

// Invite makes an invitation for a node that holds for so long, in place of an earlier
// one for that node. Where a node of that name joined already, its certificates hold
// until the invitation is used.
func (a *Authority) Invite(node string, centers []string, lasts time.Duration) (Invitation, error) {
	if err := CheckNode(node); err != nil {
		return Invitation{}, err
	}
	centers = slices.Clone(centers)
	for k, c := range centers {
		if err := CheckCenter(c); err != nil {
			return Invitation{}, err
		}
		centers[k] = WithPort(c)
	}
	var token [16]byte
	rand.Read(token[:])
	i := Invitation{Centers: centers, Node: node, Token: base64.RawURLEncoding.EncodeToString(token[:]), Fingerprint: a.Fingerprint()}
	if err := os.Remove(a.path(invitesDir, node+used)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Invitation{}, err
	}
	sum := sha256.Sum256([]byte(i.Token))
	return i, writeJSON(a.path(invitesDir, node), invite{Token: sum[:], Expires: a.now().Add(lasts).UTC()})
}

// join takes an invitation, and returns the certificate of a key. The same key gets one
// again for the same token, for the answer may have been lost on the way.
func (a *Authority) join(node, token string, request *x509.CertificateRequest) (*x509.Certificate, error) {
	again := fmt.Sprintf("run 'telltale center invite %s' again", node)
	if err := CheckNode(node); err != nil {
		return nil, refused("%v", err)
	}
	public, ok := request.PublicKey.(ed25519.PublicKey)
	if !ok || request.CheckSignature() != nil {
		return nil, refused("the request for a certificate is not signed with an Ed25519 key")
	}
	sum := sha256.Sum256([]byte(token))
	var earlier invite
	switch err := readJSON(a.path(invitesDir, node+used), &earlier); {
	case err == nil && subtle.ConstantTimeCompare(earlier.Token, sum[:]) == 1:
		if !public.Equal(ed25519.PublicKey(earlier.Key)) || a.now().After(earlier.Expires) {
			return nil, refused("this invitation for node %s was used already, %s: %s; if it was not you who used it, revoke the node first", node, earlier.Used.Format(time.RFC3339), again)
		}
		m, err := a.member(node)
		if err != nil {
			return nil, err
		}
		if !m.Revoked.IsZero() {
			return nil, refused("node %s was revoked %s: %s", node, m.Revoked.Format(time.RFC3339), again)
		}
		return a.certifyMember(m, public)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	var i invite
	switch err := readJSON(a.path(invitesDir, node), &i); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, refused("node %s is not invited: %s", node, again)
	case err != nil:
		return nil, err
	case subtle.ConstantTimeCompare(i.Token, sum[:]) != 1:
		return nil, refused("this is not the last invitation for node %s, which alone holds: %s", node, again)
	case a.now().After(i.Expires):
		return nil, refused("this invitation for node %s ended %s: %s", node, i.Expires.Format(time.RFC3339), again)
	}
	return a.use(node, i, public)
}

// use uses an invitation up. Of several who come at once, one gets the certificate.
func (a *Authority) use(node string, i invite, public ed25519.PublicKey) (*x509.Certificate, error) {
	if err := os.Rename(a.path(invitesDir, node), a.path(invitesDir, node+used)); err != nil {
		return nil, refused("this invitation for node %s was used just now by another machine", node)
	}
	i.Key, i.Used = public, a.now().UTC()
	if err := writeJSON(a.path(invitesDir, node+used), i); err != nil {
		return nil, err
	}
	m := &Member{Node: node, Membership: newMembership().String(), Joined: a.now().UTC()}
	if err := writeJSON(a.path(nodesDir, node), m); err != nil {
		return nil, err
	}
	return a.certifyMember(m, public)
}
