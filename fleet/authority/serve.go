package authority

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Where nodes join and renew their certificates. The paths never change.
const (
	JoinPath  = "/v1/join"
	RenewPath = "/v1/renew"
)

// joining is what a node sends to JoinPath and to RenewPath, and granted what it gets.
// The keys never change.
type joining struct {
	Node    string `json:"node,omitempty"`
	Token   string `json:"token,omitempty"`
	Request string `json:"request"` // PKCS #10, PEM
}

type granted struct {
	Certificate string `json:"certificate"` // PEM
	Authority   string `json:"authority"`   // PEM
}

const mostRequest = 16 << 10 // octets of a request or of its answer

func (a *Authority) certifyMember(m *Member, public crypto.PublicKey) (*x509.Certificate, error) {
	var id membership
	if b, err := hex.DecodeString(m.Membership); err != nil || copy(id[:], b) != len(id) {
		return nil, fmt.Errorf("the membership of node %s is damaged", m.Node)
	}
	return a.certifyNode(m.Node, id, public)
}

// serverCertificate is that of this process: its key is in no file.
type serverCertificate struct {
	mu    sync.Mutex
	now   *tls.Certificate
	renew time.Time
}

func (a *Authority) serverCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s := &a.server
	s.mu.Lock()
	defer s.mu.Unlock()
	now := a.now()
	if s.now != nil && now.Before(s.renew) && !now.Before(s.now.Leaf.NotBefore) {
		return s.now, nil
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	leaf, err := sign(&x509.Certificate{
		SerialNumber: newSerial(newMembership()), Subject: pkix.Name{CommonName: ServerName}, DNSNames: []string{ServerName},
		NotBefore: now.Add(-allowance), NotAfter: now.Add(serverHolds),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}, a.cert, public, a.key)
	if err != nil {
		return nil, err
	}
	s.now = &tls.Certificate{Certificate: [][]byte{leaf.Raw, a.cert.Raw}, PrivateKey: private, Leaf: leaf}
	s.renew = now.Add(serverHolds / 2)
	return s.now, nil
}

// ServerTLS returns how the center greets. It asks for a certificate and takes any:
// Handler decides, so that who is refused is told why.
func (a *Authority) ServerTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert, GetCertificate: a.serverCertificate, NextProtos: []string{"h2", "http/1.1"}}
}

type nodeKey struct{}

// NodeOf returns which node a request is of that Handler let pass.
func NodeOf(ctx context.Context) string {
	node, _ := ctx.Value(nodeKey{}).(string)
	return node
}

// WithNode returns a context of a request of a node, for tests of handlers.
func WithNode(ctx context.Context, node string) context.Context {
	return context.WithValue(ctx, nodeKey{}, node)
}

// Handler answers nodes that join or renew, and lets requests of nodes, and of other centers (IsCenter), pass to next.
// All others are refused with 401 or 403 and the reason as text. told is told of whom
// was refused, and why, and of who joined or was renewed (nil); nil for nobody.
func (a *Authority) Handler(next http.Handler, told func(node, remote, what string, err error)) http.Handler {
	if told == nil {
		told = func(string, string, string, error) {}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == JoinPath {
			node, err := a.serveJoin(w, r)
			told(node, r.RemoteAddr, "join", err)
			return
		}
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			http.Error(w, "a node of this fleet shows its certificate: this request has none", http.StatusUnauthorized)
			return
		}
		if a.isCenter(r.TLS.PeerCertificates[0]) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), centerKey{}, true)))
			return
		}
		node, err := a.Admit(r.TLS.PeerCertificates[0])
		if err != nil {
			told(r.TLS.PeerCertificates[0].Subject.CommonName, r.RemoteAddr, "request", err)
			answerError(w, err)
			return
		}
		if r.URL.Path == RenewPath {
			told(node, r.RemoteAddr, "renew", a.serveRenew(w, r, node))
			return
		}
		next.ServeHTTP(w, r.WithContext(WithNode(r.Context(), node)))
	})
}

// Again reports whether a request that Handler let pass, and that was held since, is still
// one of a node of this fleet. Where it is not, it is answered.
func (a *Authority) Again(w http.ResponseWriter, r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	if a.isCenter(r.TLS.PeerCertificates[0]) {
		return true
	}
	_, err := a.Admit(r.TLS.PeerCertificates[0])
	if err != nil {
		answerError(w, err)
	}
	return err == nil
}

func (a *Authority) serveJoin(w http.ResponseWriter, r *http.Request) (node string, err error) {
	var j joining
	request, err := readJoining(r, &j)
	var c *x509.Certificate
	if err == nil {
		c, err = a.join(j.Node, j.Token, request)
	}
	return j.Node, a.answer(w, c, err)
}

func (a *Authority) serveRenew(w http.ResponseWriter, r *http.Request, node string) error {
	var j joining
	request, err := readJoining(r, &j)
	if err != nil {
		return a.answer(w, nil, err)
	}
	if public, ok := request.PublicKey.(ed25519.PublicKey); !ok || request.CheckSignature() != nil || !public.Equal(r.TLS.PeerCertificates[0].PublicKey) {
		return a.answer(w, nil, refused("a certificate is renewed for the key that it is of"))
	}
	m, err := a.member(node)
	if err != nil {
		return a.answer(w, nil, err)
	}
	c, err := a.certifyMember(m, request.PublicKey)
	return a.answer(w, c, err)
}

func readJoining(r *http.Request, j *joining) (*x509.CertificateRequest, error) {
	if r.Method != http.MethodPost {
		return nil, refused("this is asked with POST")
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, mostRequest))
	if err != nil || json.Unmarshal(text, j) != nil {
		return nil, refused("the request is not whole")
	}
	block, _ := pem.Decode([]byte(j.Request))
	if block == nil {
		return nil, refused("the request has no request for a certificate in it")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, refused("the request for a certificate cannot be read: %v", err)
	}
	return request, nil
}

func (a *Authority) answer(w http.ResponseWriter, c *x509.Certificate, err error) error {
	if err != nil {
		answerError(w, err)
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(granted{Certificate: string(pemCertificate(c)), Authority: string(pemCertificate(a.cert))})
}

// answerError tells who was refused why, and of other errors only that there was one.
func answerError(w http.ResponseWriter, err error) {
	if r, ok := errors.AsType[*RefusedError](err); ok {
		http.Error(w, r.Why, http.StatusForbidden)
		return
	}
	http.Error(w, "the center failed: its messages say at what", http.StatusInternalServerError)
}
