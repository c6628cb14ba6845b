//go:build !linux

package main

import (
	"io"
	"os"
)

func isTerminalInput(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && isTerminal(f) || !ok && r != nil
}

func clockSynced() (synced, known bool) { return false, false }

func freeBytes(path string) (int64, bool) { return 0, false }
