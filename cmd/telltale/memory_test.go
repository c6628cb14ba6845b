package main

import (
	"math"
	"testing"

	"telltale/querylog"
)

func TestTheLogsMemoryIsTheMachines(t *testing.T) {
	for _, test := range []struct {
		machine int64
		want    int
	}{
		{0, querylog.DefaultMaxMemory}, // not known
		{128 << 20, querylog.DefaultMaxMemory},
		{1 << 30, 16 << 20},
		{4 << 30, 32 << 20},
		{math.MaxInt64, 32 << 20},
	} {
		if got := logMemory(test.machine); got != test.want {
			t.Errorf("on a machine with %d octets of memory the log's rows may take %d, want %d", test.machine, got, test.want)
		}
	}
}
