package listen

import (
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// A request is what the fields of one say (RFC 9113, 8.2 and 8.3).
type request struct {
	method, scheme, target, authority string
	media, forwarded                  string // Content-Type; X-Forwarded-For, of all its fields
	length                            int64  // Content-Length; negative for none
	expects                           bool   // it waits for "100 Continue"
	hasForwarded, hasMedia            bool

	pseudo    uint8 // fields of the request itself that have come
	hasFields bool  // others have come, behind which there are none of the request itself
	trailers  bool  // they come behind a body, and none is of the request itself
	malformed bool
	size      int // as SETTINGS_MAX_HEADER_LIST_SIZE counts it
}

const (
	hasMethod = 1 << iota
	hasScheme
	hasPath
	hasAuthority
)

const fieldOverhead = 32 // that counts for each field

func (r *request) isTooLarge() bool { return r.size > requestHeader }

// add takes in a field.
func (r *request) add(f hpack.HeaderField) {
	if r.size += len(f.Name) + len(f.Value) + fieldOverhead; r.isTooLarge() || r.malformed {
		return
	}
	if !isFieldValue(f.Value) || f.Name == "" {
		r.malformed = true
		return
	}
	if f.Name[0] == ':' {
		r.malformed = !r.addPseudo(f.Name, f.Value)
		return
	}
	r.hasFields = true
	r.malformed = !isFieldName(f.Name) || !r.trailers && !r.addField(f.Name, f.Value)
}

// addPseudo takes in a field of the request itself; false where it is malformed.
func (r *request) addPseudo(name, value string) bool {
	var bit uint8
	var text *string
	switch name {
	case ":method":
		bit, text = hasMethod, &r.method
	case ":scheme":
		bit, text = hasScheme, &r.scheme
	case ":path":
		bit, text = hasPath, &r.target
	case ":authority":
		bit, text = hasAuthority, &r.authority
	default:
		return false
	}
	if r.pseudo&bit != 0 || r.hasFields || r.trailers {
		return false
	}
	r.pseudo |= bit
	*text = value
	return true
}

// addField takes in a field that is not of the request itself; false where it is
// malformed.
func (r *request) addField(name, value string) bool {
	switch name {
	case "content-type":
		if !r.hasMedia {
			r.media, r.hasMedia = value, true
		}
	case "content-length":
		n, err := strconv.ParseUint(value, 10, 62)
		if err != nil || r.length >= 0 && r.length != int64(n) {
			return false
		}
		r.length = int64(n)
	case "x-forwarded-for":
		if r.hasForwarded {
			value = r.forwarded + "," + value
		}
		r.forwarded, r.hasForwarded = value, true
	case "expect":
		r.expects = strings.EqualFold(value, "100-continue")
	case "te":
		return value == "trailers"
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return false // of a connection of HTTP/1 (RFC 9113, 8.2.2)
	}
	return true
}

// isWhole reports whether all fields have come that a request has.
func (r *request) isWhole() bool {
	switch {
	case r.malformed:
		return false
	case r.method == http.MethodConnect:
		return r.pseudo == hasMethod|hasAuthority
	case r.method == "" || r.pseudo|hasAuthority != hasMethod|hasScheme|hasPath|hasAuthority:
		return false
	}
	return (r.scheme == "https" || r.scheme == "http") && (strings.HasPrefix(r.target, "/") || r.target == "*")
}

// isFieldName reports whether a name is a token without upper case.
func isFieldName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c >= 0x80 || 'A' <= c && c <= 'Z' || !httpguts.IsTokenRune(rune(c)) {
			return false
		}
	}
	return true
}

// isFieldValue reports whether a value may be one: without control characters, and spaces
// at its ends (RFC 9113, 8.2.1).
func isFieldValue(value string) bool {
	if value == "" {
		return true
	}
	first, last := value[0], value[len(value)-1]
	return first != ' ' && first != '\t' && last != ' ' && last != '\t' && httpguts.ValidHeaderFieldValue(value)
}

// Fields of answers, by their numbers in the static table of HPACK (RFC 7541, appendix A).
// All but two are sent as they are, without Huffman code and without a place in the
// dynamic table: what that saves is some octets.
const (
	fieldStatus        = 8
	fieldAllow         = 22
	fieldCacheControl  = 24
	fieldContentLength = 28
	fieldContentType   = 31
	fieldDate          = 33
	staticFields       = 61

	indexed         = 0x80 // bits of how a field is sent (RFC 7541, 6)
	literalIndexed  = 0x40
	literal         = 0x00
	tableSizeToNone = 0x20
)

// statuses are those of the static table.
var statuses = [...]struct{ status, index int }{{http.StatusOK, 8}, {http.StatusBadRequest, 12}, {http.StatusNotFound, 13}, {http.StatusInternalServerError, 14}}

func appendStatus(dst []byte, status int) []byte {
	for _, s := range statuses {
		if s.status == status {
			return append(dst, indexed|byte(s.index))
		}
	}
	return strconv.AppendInt(append(dst, literal|fieldStatus, 3), int64(status), 10)
}

// appendName appends the beginning of a field whose name has a number.
func appendName(dst []byte, field byte) []byte {
	if field < 15 {
		return append(dst, literal|field)
	}
	return append(dst, literal|15, field-15)
}

// appendField appends a field whose name has a number. Its value is shorter than 127
// octets.
func appendField(dst []byte, field byte, value string) []byte {
	return appendText(appendName(dst, field), value)
}

func appendText(dst []byte, text string) []byte {
	return append(append(dst, byte(len(text))), text...)
}

// appendCount appends a field whose value is prefix and a number.
func appendCount(dst []byte, field byte, prefix string, n uint64) []byte {
	dst = append(appendName(dst, field), 0)
	at := len(dst)
	dst = strconv.AppendUint(append(dst, prefix...), n, 10)
	dst[at-1] = byte(len(dst) - at)
	return dst
}

// A fieldWriter writes the fields of answers. The client's table has two of them, from the
// first answer on: the media type, and where HTTP/3 is. It is used in the order in which
// answers are sent.
type fieldWriter struct {
	altSvc  string // "" for none
	has     bool   // the client's table has them
	without bool   // the client wants no such table
	shrink  bool   // it is yet to be told that the table is empty
}

// limit takes note of how large the client lets the table be. Any smaller one than at
// first is not used at all.
func (w *fieldWriter) limit(size uint32) {
	if size < tableSize && !w.without {
		w.without, w.shrink, w.has = true, true, false
	}
}

func (w *fieldWriter) begin(dst []byte) []byte {
	if w.shrink {
		w.shrink = false
		dst = append(dst, tableSizeToNone)
	}
	return dst
}

// appendAnswer appends the fields of an answer with a reply of n octets. caching is
// whether it may be kept, and for how many seconds.
func (w *fieldWriter) appendAnswer(dst []byte, date string, n int, caching bool, seconds uint32) []byte {
	dst = w.begin(dst)
	dst = appendStatus(dst, http.StatusOK)
	switch {
	case w.has:
		dst = w.appendKept(dst)
	case w.without:
		dst = w.appendAltSvc(appendField(dst, fieldContentType, dnsMediaType), literal)
	default:
		dst = appendText(append(dst, literalIndexed|fieldContentType), dnsMediaType)
		dst = w.appendAltSvc(dst, literalIndexed)
		w.has = true
	}
	if caching {
		dst = appendCount(dst, fieldCacheControl, cachePrivate, uint64(seconds))
	} else {
		dst = appendField(dst, fieldCacheControl, cacheNothing)
	}
	dst = appendCount(dst, fieldContentLength, "", uint64(n))
	return appendField(dst, fieldDate, date)
}

// appendKept appends the fields that the client's table has: the last that came first.
func (w *fieldWriter) appendKept(dst []byte) []byte {
	dst = append(dst, indexed|(staticFields+1))
	if w.altSvc != "" {
		dst = append(dst, indexed|(staticFields+2))
	}
	return dst
}

func (w *fieldWriter) appendAltSvc(dst []byte, how byte) []byte {
	if w.altSvc == "" {
		return dst
	}
	return appendText(appendText(append(dst, how), "alt-svc"), w.altSvc)
}

// appendRefusal appends the fields of an answer that is a text of n octets.
func (w *fieldWriter) appendRefusal(dst []byte, date string, why *refusal, n int) []byte {
	dst = appendStatus(w.begin(dst), why.status)
	dst = appendField(dst, fieldContentType, "text/plain; charset=utf-8")
	dst = appendText(appendText(append(dst, literal), "x-content-type-options"), "nosniff")
	if why == errMethod {
		dst = appendField(dst, fieldAllow, allowedMethods)
	}
	dst = w.appendAltSvc(dst, literal)
	dst = appendCount(dst, fieldContentLength, "", uint64(n))
	return appendField(dst, fieldDate, date)
}
