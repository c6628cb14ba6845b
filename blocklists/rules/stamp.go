package rules

import (
	"encoding/binary"
	"os"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// programStamp tells this program from every other: another one may read the same
// text in another way, so that what it compiled is not to be relied on.
var programStamp = sync.OnceValue(func() uint64 {
	path, err := os.Executable()
	if err != nil {
		return 1
	}
	info, err := os.Stat(path)
	if err != nil {
		return 1
	}
	b := binary.LittleEndian.AppendUint64([]byte(setMagic), uint64(info.Size()))
	b = binary.LittleEndian.AppendUint64(b, uint64(info.ModTime().UnixNano()))
	return xxhash.Sum64(b)
})
