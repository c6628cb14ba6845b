package witness

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/notaryproject/tspclient-go"
)

// A Stamp is a time-stamp of a checkpoint: a line of a bundle's witnesses.jsonl.
type Stamp struct {
	Leaves    int64  `json:"leaves"`
	Note      string `json:"note"`      // the checkpoint
	Timestamp []byte `json:"timestamp"` // what the authority answered: TimeStampResp of RFC 3161
}

// maxStamps is how many time-stamps ReadStamps returns.
const maxStamps = 100

// ReadStamps returns lines of time-stamps that are kept in a directory: the first ones made since
// a time, of checkpoints of one log and of at most so many leaves. What cannot be read as a
// time-stamp is left out.
func ReadStamps(dir, origin string, leaves int64, since time.Time) (lines []byte, err error) {
	texts, err := os.ReadDir(dir) // sorted: by leaves
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	before, n := strings.TrimSuffix(FileName(&Checkpoint{Origin: origin}), fmt.Sprintf("%015d.txt", 0)), 0
	for _, entry := range texts {
		name, of := strings.CutPrefix(entry.Name(), before)
		digits, isText := strings.CutSuffix(name, ".txt")
		s := Stamp{}
		if s.Leaves, err = strconv.ParseInt(digits, 10, 64); !of || !isText || err != nil || s.Leaves > leaves {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		note, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if s.Timestamp, err = os.ReadFile(strings.TrimSuffix(path, ".txt") + ".tsr"); err != nil {
			continue // the authority has not answered
		}
		s.Note = string(note)
		at, _, err := OpenStamp(note, s.Timestamp, nil)
		if err != nil || at.Before(since) {
			continue
		}
		line, err := json.Marshal(&s)
		if err != nil {
			return nil, err
		}
		lines = append(append(lines, line...), '\n')
		if n++; n == maxStamps {
			break
		}
	}
	return lines, nil
}

// OpenStamp returns when an authority signed that it had seen a note, and who that says it is. Its
// certificate must lead to one of the authorities; where they are nil, it may be anybody's.
func OpenStamp(note, reply []byte, authorities *x509.CertPool) (at time.Time, signer string, err error) {
	if len(reply) > maxStamp {
		return at, "", fmt.Errorf("it has more than %d octets", maxStamp)
	}
	var r tspclient.Response
	if err := r.UnmarshalBinary(reply); err != nil {
		return at, "", err
	}
	return openToken(&r, note, authorities)
}

// openToken checks that an answer is a time-stamp of a note.
func openToken(r *tspclient.Response, note []byte, authorities *x509.CertPool) (at time.Time, signer string, err error) {
	token, err := r.SignedToken()
	if err != nil {
		return at, "", err
	}
	info, err := token.Info()
	if err != nil {
		return at, "", err
	}
	stamp, err := info.Validate(note)
	if err != nil {
		return at, "", err
	}
	if authorities == nil {
		authorities = x509.NewCertPool()
		for _, cert := range token.Certificates {
			authorities.AddCert(cert)
		}
	}
	chain, err := token.Verify(context.Background(), x509.VerifyOptions{Roots: authorities, CurrentTime: stamp.Value})
	if err != nil {
		return at, "", err
	}
	if len(chain) > 0 {
		signer = chain[0].Subject.String()
	}
	return stamp.Value, signer, nil
}
