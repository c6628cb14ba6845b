package access

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"
)

// One-time codes by RFC 6238 as the usual programs make them: HMAC-SHA-1, six digits,
// steps of 30 seconds.
const (
	codeStep   = 30 // seconds
	codeDigits = 6
	codeBytes  = 20 // of the secret, RFC 4226, 4
)

// code returns the code of a step (RFC 4226, 5.3) with so many digits.
func code(secret []byte, step uint64, digits int) string {
	mac := hmac.New(sha1.New, secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, step))
	sum := mac.Sum(nil)
	number := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:]) & (1<<31 - 1)
	most := uint32(1)
	for range digits {
		most *= 10
	}
	return fmt.Sprintf("%0*d", digits, number%most)
}

// codeStepOf returns the step whose code is given: that of now, the one before or the
// one behind, as clocks differ. A step up to after is not taken again (RFC 6238, 5.2).
func codeStepOf(secret []byte, given string, after uint64, now time.Time) (step uint64, ok bool) {
	at := uint64(now.Unix()) / codeStep
	for s := at - 1; s <= at+1; s++ {
		if s > after && subtle.ConstantTimeCompare([]byte(code(secret, s, codeDigits)), []byte(given)) == 1 {
			step, ok = s, true
		}
	}
	return step, ok
}

// codeURI returns a secret as programs for codes read it from a QR code.
func codeURI(issuer, account string, secret []byte) string {
	q := url.Values{"secret": {base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)}, "issuer": {issuer}}
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + account, RawQuery: q.Encode()}
	return u.String()
}
