package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestGroupLimits(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"memory.max":                                 "max\n",
		"system.slice/memory.max":                    "268435456\n",
		"system.slice/telltale.service/memory.max":   "134217728\n",
		"memory/docker/memory.limit_in_bytes":        "9223372036854771712\n",
		"memory/docker/abcd/memory.limit_in_bytes":   "67108864\n",
		"memory/other.service/memory.limit_in_bytes": "1\n",
	} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, groups string
		want         []int64
	}{
		{"version 2 counts the parents", "0::/system.slice/telltale.service\n", []int64{134217728, 268435456}},
		{"version 1 by the memory controller", "5:cpu,cpuacct:/x\n4:memory:/docker/abcd\n", []int64{67108864}},
		{"both at once", "4:memory:/docker/abcd\n0::/system.slice\n", []int64{67108864, 268435456}},
		{"no limit", "0::/\n", nil},
		{"a group that is gone", "0::/../nowhere\n", nil},
		{"nonsense", "x\n::\n", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := groupLimits(test.groups, root); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	if memoryBound() <= 0 {
		t.Error("this machine has no memory")
	}
}
