package vsockets

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityDocument holds docs/SECURITY.md to the code: the tests that it names are there;
// limits have the values that it tells, are used, and have tests; it names all fuzz targets,
// and these have seeds.
func TestSecurityDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.FromSlash("docs/SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := readTree(t)

	named := make(map[string]bool)
	for _, m := range testName.FindAllStringSubmatch(string(text), -1) {
		named[m[1]+"/"+m[2]] = true
		if f := code[m[1]]; f == nil || !f.tests[m[2]] {
			t.Errorf("there is no %s in %s", m[2], m[1])
		}
	}
	if len(named) < 100 {
		t.Errorf("%d tests are named; is their form another one now?", len(named))
	}

	const tables, title = 2, "| limit | value | constant | tests |"
	if n := strings.Count(string(text), title); n != tables {
		t.Errorf("%d tables of limits, want %d", n, tables)
	}
	limits := 0
	for _, table := range strings.Split(string(text), title)[1:] {
		rows, _, _ := strings.Cut(strings.TrimPrefix(table, "\n|---|---|---|---|\n"), "\n\n")
		for row := range strings.SplitSeq(rows, "\n") {
			limits++
			m := limitRow.FindStringSubmatch(row)
			if m == nil || !testName.MatchString(m[4]) {
				t.Errorf("a row that is no limit with its value, its constant and its tests: %s", row)
				continue
			}
			value, dir, name := m[1], m[2], m[3]
			if f := code[dir]; f == nil || f.values[name] != value {
				t.Errorf("%s.%s is %q, and not %q", dir, name, f.valueOf(name), value)
			}
			if !used(code, dir, name) {
				t.Errorf("nothing uses %s.%s", dir, name)
			}
		}
	}
	if limits < 30 {
		t.Errorf("%d limits; is their form another one now?", limits)
	}

	for dir, f := range code {
		for name, seeds := range f.fuzz {
			if !named[dir+"/"+name] {
				t.Errorf("%s of %s is not named", name, dir)
			}
			if !seeds {
				t.Errorf("%s of %s has no seeds", name, dir)
			}
		}
	}
}

var (
	testName = regexp.MustCompile("`([a-z/]+)/((?:Test|Fuzz)[A-Za-z0-9]+)`")
	limitRow = regexp.MustCompile("^\\|.*\\| `([^`|]+)` \\| `([a-z/]+)\\.([A-Za-z]+)` \\| (.*) \\|$")
)

// used says whether a constant is used in code that is no test: by its own package, or by
// another one.
func used(code map[string]*folder, dir, name string) bool {
	if f := code[dir]; f != nil && f.names[name] > 1 { // one declares it
		return true
	}
	for _, f := range code {
		if f.selected[path.Base(dir)+"."+name] {
			return true
		}
	}
	return false
}

// folder is what a folder's Go files have.
type folder struct {
	tests    map[string]bool   // tests and fuzz targets
	fuzz     map[string]bool   // fuzz targets, and whether they have seeds
	values   map[string]string // constants, as they are written
	names    map[string]int    // how often each name stands in code that is no test
	selected map[string]bool   // x.y of that code
}

func (f *folder) valueOf(name string) string {
	if f == nil {
		return ""
	}
	return f.values[name]
}

// readTree reads this module's Go files.
func readTree(t *testing.T) map[string]*folder {
	t.Helper()
	code, fset := make(map[string]*folder), token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != ".":
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			if err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(name))
		if code[dir] == nil {
			code[dir] = &folder{make(map[string]bool), make(map[string]bool), make(map[string]string), make(map[string]int), make(map[string]bool)}
		}
		code[dir].add(fset, file, strings.HasSuffix(name, "_test.go"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func (f *folder) add(fset *token.FileSet, file *ast.File, test bool) {
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if name := decl.Name.Name; test && decl.Recv == nil {
				f.tests[name] = true
				if strings.HasPrefix(name, "Fuzz") {
					f.fuzz[name] = addsSeeds(decl)
				}
			}
		case *ast.GenDecl:
			f.constants(fset, decl)
		}
	}
	if test {
		return
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			f.names[n.Name]++
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				f.selected[x.Name+"."+n.Sel.Name] = true
			}
		}
		return true
	})
}

// addsSeeds says whether a fuzz target calls Add of its parameter.
func addsSeeds(target *ast.FuncDecl) (found bool) {
	if len(target.Type.Params.List) != 1 || len(target.Type.Params.List[0].Names) != 1 {
		return false
	}
	param := target.Type.Params.List[0].Names[0].Name
	ast.Inspect(target.Body, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Add" {
			x, ok := s.X.(*ast.Ident)
			found = found || ok && x.Name == param
		}
		return true
	})
	return found
}

func (f *folder) constants(fset *token.FileSet, decl *ast.GenDecl) {
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
				f.values[s.Names[i].Name] = b.String()
			}
		}
	}
}
