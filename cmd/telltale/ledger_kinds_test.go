package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"telltale/querylog"
)

// Every kind of event that code records is in querylog.Kinds, is explained in
// docs/querylog.md, and the other way round.
func TestEveryKindOfEventIsDocumented(t *testing.T) {
	t.Parallel()
	known := slices.Sorted(slices.Values(querylog.Kinds))
	if got := recordedKinds(t); !slices.Equal(got, known) {
		t.Errorf("kinds that code records: %s", difference(got, known))
	}
	if got := documentedKinds(t); !slices.Equal(got, known) {
		t.Errorf("kinds in docs/querylog.md: %s", difference(got, known))
	}
}

func difference(got, want []string) string {
	var all []string
	for _, k := range got {
		if !slices.Contains(want, k) {
			all = append(all, k+" is not in querylog.Kinds")
		}
	}
	for _, k := range want {
		if !slices.Contains(got, k) {
			all = append(all, k+" is in querylog.Kinds alone")
		}
	}
	return strings.Join(all, "; ")
}

var kindWord = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)

// recordedKinds are the constants Kind... of querylog, and the first words of
// calls of functions that report.
func recordedKinds(t *testing.T) []string {
	kinds := map[string]bool{}
	add := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if word, _ := strconv.Unquote(lit.Value); kindWord.MatchString(word) {
				kinds[word] = true
			}
		}
	}
	files := token.NewFileSet()
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if file.Name.Name == "querylog" && strings.HasPrefix(name.Name, "Kind") && i < len(n.Values) {
						add(n.Values[i])
					}
				}
			case *ast.CallExpr:
				if isReport(n.Fun) {
					for _, kind := range kindsOf(n.Args) {
						kinds[kind] = true
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for k := range kinds {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func isReport(f ast.Expr) bool {
	name := ""
	switch f := f.(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		name = f.Sel.Name
	}
	return name == "Report" || name == "report" || name == "addReport"
}

// kindsOf returns the kinds that a call records: its first word, or all that one
// made of a word and a state can be.
func kindsOf(args []ast.Expr) []string {
	for _, a := range args {
		switch a := a.(type) {
		case *ast.BasicLit:
			if word, err := strconv.Unquote(a.Value); err == nil && kindWord.MatchString(word) {
				return []string{word}
			}
			return nil
		case *ast.BinaryExpr:
			if lit, ok := a.X.(*ast.BasicLit); ok && lit.Value == `"upstream-"` {
				return []string{"upstream-up", "upstream-failing", "upstream-down", "upstream-looped", "upstream-self"}
			}
		}
	}
	return nil
}

func documentedKinds(t *testing.T) (all []string) {
	b, err := os.ReadFile(filepath.Join(tree, "docs", "querylog.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## The quality ledger\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, m := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(cells[1], -1) {
				all = append(all, m[1])
			}
		}
	}
	slices.Sort(all)
	return all
}
