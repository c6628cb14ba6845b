//go:build !unix

package matcher

import (
	"io"
	"os"
)

func mapFile(f *os.File, size int) (data []byte, mapped bool, err error) {
	data = make([]byte, size)
	_, err = io.ReadFull(io.NewSectionReader(f, 0, int64(size)), data)
	return data, false, err
}

func unmap([]byte) {}
