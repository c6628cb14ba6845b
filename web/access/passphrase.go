package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// How a pass phrase is kept: argon2id with the memory that OWASP's Password Storage
// Cheat Sheet asks for, and no more, since routers have 128 MB.
const (
	hashMemory = 19 << 10 // KiB
	hashTime   = 2
	hashBytes  = 32
	saltBytes  = 16
)

// minPassphrase and maxPassphrase bound a pass phrase: in characters, and in octets.
const (
	minPassphrase = 10
	maxPassphrase = 512
)

func checkPassphrase(name, phrase string) error {
	switch {
	case utf8.RuneCountInString(phrase) < minPassphrase:
		return invalid("the pass phrase is too short: at least %d characters", minPassphrase)
	case len(phrase) > maxPassphrase:
		return invalid("the pass phrase is too long: at most %d octets", maxPassphrase)
	case strings.Contains(strings.ToLower(phrase), name) && len(phrase) < len(name)+minPassphrase,
		strings.Count(phrase, phrase[:1]) == len(phrase):
		return invalid("the pass phrase is too easy to guess")
	}
	return nil
}

// A hasher makes hashes of pass phrases one at a time, since each takes 19 MiB.
type hasher struct {
	memory uint32        // KiB
	one    chan struct{} // of one
	// waiting and waitingKnown bound who waits: browsers that were here before have a
	// queue of their own, so that strangers cannot keep them out.
	waiting, waitingKnown chan struct{}
}

func newHasher(memory uint32) *hasher {
	return &hasher{memory: memory, one: make(chan struct{}, 1), waiting: make(chan struct{}, 4), waitingKnown: make(chan struct{}, 4)}
}

// take waits for the turn to hash. done is to be called after it.
func (h *hasher) take(ctx context.Context, known bool) (done func(), err error) {
	queue := h.waiting
	if known {
		queue = h.waitingKnown
	}
	select {
	case queue <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	defer func() { <-queue }()
	select {
	case h.one <- struct{}{}:
		return func() { <-h.one }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// make returns what is kept of a pass phrase, in the form of the PHC.
func (h *hasher) make(ctx context.Context, phrase string) (string, error) {
	done, err := h.take(ctx, true)
	if err != nil {
		return "", err
	}
	defer done()
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails
	sum := argon2.IDKey([]byte(phrase), salt, hashTime, h.memory, 1, hashBytes)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, h.memory, hashTime, b64.EncodeToString(salt), b64.EncodeToString(sum)), nil
}

// is reports whether a pass phrase is the one that kept was made of. With kept "", of an
// account that is not there or has none, it takes as long and is false.
func (h *hasher) is(ctx context.Context, kept, phrase string, known bool) (bool, error) {
	p, err := parseHash(kept)
	if kept == "" {
		p, err = parsedHash{memory: h.memory, time: hashTime, salt: make([]byte, saltBytes), sum: make([]byte, hashBytes)}, nil
	}
	if err != nil {
		return false, err
	}
	done, err := h.take(ctx, known)
	if err != nil {
		return false, err
	}
	defer done()
	sum := argon2.IDKey([]byte(phrase), p.salt, p.time, p.memory, 1, uint32(len(p.sum)))
	return subtle.ConstantTimeCompare(sum, p.sum) == 1 && kept != "", nil
}

type parsedHash struct {
	memory, time uint32
	salt, sum    []byte
}

// parseHash reads what make wrote. It takes no parameters that would need more memory
// or time than those of make by much.
func parseHash(kept string) (p parsedHash, err error) {
	fields := strings.Split(kept, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, fmt.Errorf("a pass phrase's hash is not argon2id's")
	}
	if n, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=1", &p.memory, &p.time); n != 2 || err != nil || p.memory < 8 || p.memory > hashMemory || p.time < 1 || p.time > 8 {
		return p, fmt.Errorf("a pass phrase's hash has parameters that are not ours: %q", fields[3])
	}
	b64 := base64.RawStdEncoding
	if p.salt, err = b64.DecodeString(fields[4]); err != nil || len(p.salt) < 8 || len(p.salt) > 64 {
		return p, fmt.Errorf("a pass phrase's hash has no salt")
	}
	if p.sum, err = b64.DecodeString(fields[5]); err != nil || len(p.sum) != hashBytes {
		return p, fmt.Errorf("a pass phrase's hash is not whole")
	}
	return p, nil
}
