package subscribe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
)

// maxSignature is how long a signature may be, in octets.
const maxSignature = 4 << 10

// fetchSignature fetches the signature of a list, and puts it, and its length, at
// the end of what was fetched: the copy is one file, which is replaced as a whole.
func (s *Subscriber) fetchSignature(ctx context.Context, f *os.File, l List) error {
	u, err := parseURL(l.URL)
	if err != nil {
		return err
	}
	const ending = ".minisig"
	if u.Path += ending; u.RawPath != "" {
		u.RawPath += ending
	}
	req, err := http.NewRequestWithContext(withList(ctx, u), http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "Telltale")
	res, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("its signature: %w", because(ctx, err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("its signature, %s: %w", u.Redacted(), &errStatus{res.Status, s.retryAfter(res)})
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxSignature+1))
	switch {
	case err != nil:
		return fmt.Errorf("its signature: %w", because(ctx, err))
	case len(text) > maxSignature:
		return fmt.Errorf("its signature, %s, is longer than %d bytes", u.Redacted(), maxSignature)
	}
	_, err = f.Write(binary.BigEndian.AppendUint32(text, uint32(len(text))))
	return err
}

// SplitSigned tells the copy of a signed list from its signature: the first size
// octets are the list.
func SplitSigned(f *os.File) (size int64, signature []byte, err error) {
	errUnsigned := errors.New("has no signature at its end")
	info, err := f.Stat()
	if err != nil {
		return 0, nil, err
	}
	const ending = 4 // octets of the length
	var length [ending]byte
	if _, err := f.ReadAt(length[:], info.Size()-ending); err != nil {
		return 0, nil, errUnsigned
	}
	n := int64(binary.BigEndian.Uint32(length[:]))
	size = info.Size() - ending - n
	if n > maxSignature || size < 0 {
		return 0, nil, errUnsigned
	}
	signature = make([]byte, n)
	if _, err := f.ReadAt(signature, size); err != nil && err != io.EOF {
		return 0, nil, err
	}
	return size, signature, nil
}
