package vsockets

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityDocument holds docs/SECURITY.md to the code: the tests that it names are there,
// and limits have the values that it tells.
func TestSecurityDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.FromSlash("docs/SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	packages := make(map[string]*declared)
	of := func(dir string) *declared {
		if packages[dir] == nil {
			packages[dir] = declaredIn(t, dir)
		}
		return packages[dir]
	}

	tests := regexp.MustCompile("`([a-z/]+)/((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(string(text), -1)
	if len(tests) < 50 {
		t.Errorf("%d tests are named; is their form another one now?", len(tests))
	}
	for _, m := range tests {
		if !of(m[1]).tests[m[2]] {
			t.Errorf("there is no %s in %s", m[2], m[1])
		}
	}

	limits := regexp.MustCompile("(?m)^\\|.*\\| `([^`|]+)` \\| `([a-z/]+)\\.([A-Za-z]+)` \\|$").FindAllStringSubmatch(string(text), -1)
	if rows := strings.Count(string(text), "| limit | value | constant |"); len(limits) < 20 || rows != 2 {
		t.Errorf("%d limits in %d tables; is their form another one now?", len(limits), rows)
	}
	for _, m := range limits {
		if got := of(m[2]).values[m[3]]; got != m[1] {
			t.Errorf("%s.%s is %q, and not %q", m[2], m[3], got, m[1])
		}
	}
}

// declared is what a folder's Go files declare.
type declared struct {
	tests  map[string]bool   // tests and fuzz targets
	values map[string]string // constants, as they are written
}

func declaredIn(t *testing.T, dir string) *declared {
	t.Helper()
	d := &declared{make(map[string]bool), make(map[string]string)}
	files, err := filepath.Glob(filepath.Join(filepath.FromSlash(dir), "*.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("%s: %d Go files, %v", dir, len(files), err)
	}
	fset := token.NewFileSet()
	for _, name := range files {
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				d.tests[decl.Name.Name] = d.tests[decl.Name.Name] || strings.HasSuffix(name, "_test.go")
			case *ast.GenDecl:
				d.constants(fset, decl)
			}
		}
	}
	return d
}

func (d *declared) constants(fset *token.FileSet, decl *ast.GenDecl) {
	if decl.Tok != token.CONST {
		return
	}
	for _, s := range decl.Specs {
		s, ok := s.(*ast.ValueSpec)
		if !ok {
			continue
		}
		for i, v := range s.Values {
			var b bytes.Buffer
			if printer.Fprint(&b, fset, v) == nil {
				d.values[s.Names[i].Name] = b.String()
			}
		}
	}
}
