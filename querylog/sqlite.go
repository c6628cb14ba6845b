package querylog

import (
	"errors"
	"fmt"

	"github.com/ncruces/go-sqlite3"
)

// errAddressSpace means that SQLite's library found no room for a connection.
var errAddressSpace = errors.New("too little address space for the store: each connection reserves 256 MiB of it (see ulimit -v)")

// openSQLite opens a database file. Flags 0 are those of sqlite3.Open. The library
// panics where it cannot reserve a connection's memory, which is an error here.
func openSQLite(path string, flags sqlite3.OpenFlag) (conn *sqlite3.Conn, err error) {
	defer func() {
		if p := recover(); p != nil {
			conn, err = nil, fmt.Errorf("%w: %v", errAddressSpace, p)
		}
	}()
	if flags == 0 {
		return sqlite3.Open(path)
	}
	return sqlite3.OpenFlags(path, flags)
}
