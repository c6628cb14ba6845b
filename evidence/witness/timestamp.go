package witness

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/notaryproject/tspclient-go"

	"telltale/atomicfile"
	"telltale/evidence/post"
)

// maxStamp is how long the answer of a time-stamp authority may be. It has certificates.
const maxStamp = 64 << 10

// stamp has a time-stamp authority (RFC 3161) sign that it has seen a checkpoint, and keeps both: the
// checkpoint as NAME.txt, and what the authority answered as NAME.tsr. Nothing is asked again
// that is there.
func (o *Options) stamp(ctx context.Context, c *Checkpoint) error {
	text := filepath.Join(o.Timestamps, FileName(c))
	reply := strings.TrimSuffix(text, ".txt") + ".tsr"
	if err := os.MkdirAll(o.Timestamps, 0o700); err != nil {
		return err
	}
	if err := keepNote(text, c, 0o600); err != nil {
		return err
	}
	if _, err := os.Stat(reply); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	request, err := tspclient.NewRequest(tspclient.RequestOptions{Content: c.Note, HashAlgorithm: crypto.SHA256})
	if err != nil {
		return err
	}
	body, err := request.MarshalBinary()
	if err != nil {
		return err
	}
	p := post.Post{
		URL: o.Timestamp, Setting: "evidence.witness.timestamp", Body: body, Transport: o.Transport, Timeout: o.timeout, MaxAnswer: maxStamp,
		Header: http.Header{"Content-Type": {"application/timestamp-query"}, "User-Agent": {o.Agent}},
	}
	said, err := p.Send(ctx)
	if err != nil {
		return err
	}
	if err := checkStamp(request, c.Note, said); err != nil {
		return fmt.Errorf("what it answered is no time-stamp of the checkpoint: %w", err)
	}
	return atomicfile.Write(reply, said, 0o600)
}

// checkStamp checks that an answer is a time-stamp of a note, signed by the certificate that it
// brings along. Whose that is, is for who relies on it to check.
func checkStamp(request *tspclient.Request, note, said []byte) error {
	if len(said) > maxStamp {
		return fmt.Errorf("it has more than %d octets", maxStamp)
	}
	var r tspclient.Response
	if err := r.UnmarshalBinary(said); err != nil {
		return err
	}
	if err := r.Validate(request); err != nil {
		return err
	}
	_, _, err := openToken(&r, note, nil)
	return err
}

// keepNote makes the file of a checkpoint. One that is there is never replaced: what it says is
// the evidence.
func keepNote(path string, c *Checkpoint, mode fs.FileMode) error {
	switch before, err := os.ReadFile(path); {
	case err == nil && bytes.Equal(before, c.Note):
		return nil
	case err == nil:
		return fmt.Errorf("%s has another checkpoint of as many leaves: the log was written anew, or the file was changed. It stays as it is; run 'telltale evidence audit --checkpoint %[1]s'", path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return atomicfile.Write(path, c.Note, mode)
}
