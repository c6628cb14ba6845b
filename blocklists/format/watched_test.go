package format

import (
	"go/ast"
	goparser "go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestAReadingIsOneGoroutines holds why the Makefile keeps the race detector from watching what
// happens in this package: it starts no goroutine and waits for none, and package variables
// are constants everywhere.
func TestAReadingIsOneGoroutines(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := goparser.ParseFile(set, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%v: starts a goroutine", set.Position(n.Pos()))
			case *ast.ImportSpec:
				if strings.HasPrefix(n.Path.Value, `"sync`) {
					t.Errorf("%v: imports %s", set.Position(n.Pos()), n.Path.Value)
				}
			}
			return true
		})
	}
}
