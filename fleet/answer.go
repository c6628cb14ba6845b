package fleet

import (
	"crypto/sha256"
	"encoding/hex"
)

// Paths of a centre that nodes ship to.
const (
	RowsPath   = "/v1/rows"   // POST: a batch
	CursorPath = "/v1/cursor" // GET, store=ID: how far a store has come
	ForgetPath = "/v1/forget" // POST: a Forgetting of what the node sent
)

// An Answer is what a centre says to a batch, as JSON.
type Answer struct {
	Store string `json:"store"`
	Upto  int64  `json:"upto"`           // the store's last window that the centre has
	Hash  string `json:"hash,omitempty"` // SHA-256 of the packed batch, where it is stored

	Error    string `json:"error,omitempty"` // why nothing of it is
	Gap      bool   `json:"gap,omitempty"`   // it begins behind Upto
	Diverged int64  `json:"diverged,omitempty"`
}

// hashOf is Answer.Hash.
func hashOf(packed []byte) string {
	sum := sha256.Sum256(packed)
	return hex.EncodeToString(sum[:])
}
