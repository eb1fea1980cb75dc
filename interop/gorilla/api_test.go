package gorilla

// The exported names of both packages, compared type by type. A type is
// described by a string in which the two packages have the same name, so that
// equal strings mean types a program cannot tell apart.

import (
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	gorillaPath = "github.com/gorilla/websocket"
	ourPath     = "github.com/tautws/websocket"
)

// additions are the names this package exports beyond gorilla's. There are no
// others, and none of gorilla's is missing.
var additions = map[string]string{
	"method *Conn.ReadMessageContext":          "func(context.Context) (int, []uint8, error)",
	"method *Conn.NextReaderContext":           "func(context.Context) (int, io.Reader, error)",
	"method *Conn.WriteMessageContext":         "func(context.Context, int, []uint8) error",
	"method *Conn.NextWriterContext":           "func(context.Context, int) (io.WriteCloser, error)",
	"method *Conn.ReadJSONContext":             "func(context.Context, interface{}) error",
	"method *Conn.WriteJSONContext":            "func(context.Context, interface{}) error",
	"method *Conn.WritePreparedMessageContext": "func(context.Context, *.PreparedMessage) error",
	"method *Conn.Handle":                      "func(func(*.Conn, .Message, error))",
	"method *Conn.Messages":                    "func(context.Context) iter.Seq2[.Message, error]",
	"method *Conn.Ping":                        "func(context.Context) error",
	"method *Conn.Shutdown":                    "func(context.Context, int, string) error",
	"method *Conn.Flush":                       "func() error",
	"method *CloseError.Unwrap":                "func() error",
	"method *ProtocolError.Error":              "func() string",

	"type Message":            "struct{Type int; Data []uint8}",
	"type ProtocolError":      "struct{Code int; Text string}",
	"type CompressionOptions": "struct{ContextTakeover bool; Threshold int; Level int}",
	"type KeepAlive":          "struct{Interval time.Duration; Timeout time.Duration}",

	"field Upgrader.Compression":        ".CompressionOptions",
	"field Upgrader.KeepAlive":          ".KeepAlive",
	"field Upgrader.WriteDelay":         "time.Duration",
	"field Upgrader.Origins":            "[]string",
	"field Upgrader.RequireSubprotocol": "bool",
	"field Dialer.ReadLimit":            "int64",
	"field Upgrader.ReadLimit":          "int64",
	"field Dialer.Compression":          ".CompressionOptions",
	"field Dialer.KeepAlive":            ".KeepAlive",
	"field Dialer.WriteDelay":           "time.Duration",

	"func HTTP2Handler": "func(net/http.Handler) net/http.Handler",

	"field ConnOptions.Buffered":          "[]uint8",
	"field ConnOptions.Compression":       ".CompressionOptions",
	"field ConnOptions.EnableCompression": "bool",
	"field ConnOptions.KeepAlive":         ".KeepAlive",
	"field ConnOptions.ReadBufferSize":    "int",
	"field ConnOptions.ReadLimit":         "int64",
	"field ConnOptions.Server":            "bool",
	"field ConnOptions.Subprotocol":       "string",
	"field ConnOptions.WriteBufferPool":   ".BufferPool",
	"field ConnOptions.WriteBufferSize":   "int",
	"field ConnOptions.WriteDelay":        "time.Duration",
	"func NewConn":                        "func(net.Conn, .ConnOptions) *.Conn",
	"func Pipe":                           "func(.ConnOptions) (*.Conn, *.Conn)",
	"method *Conn.CloseRead":              "func(context.Context) context.Context",
	"method *Conn.Err":                    "func() error",
	"method *Conn.Stream":                 "func(int) net.Conn",
	"type ConnOptions":                    "struct",

	"const CloseSlow":                 ".SlowPolicy 0",
	"const SkipSlow":                  ".SlowPolicy 1",
	"field ConnOptions.Trace":         "*.Trace",
	"field Dialer.Trace":              "*.Trace",
	"field Group.MaxLag":              "int",
	"field Group.Slow":                ".SlowPolicy",
	"field Group.Spread":              "time.Duration",
	"field GroupStats.Blocked":        "int",
	"field GroupStats.Bytes":          "int64",
	"field GroupStats.Expelled":       "int64",
	"field GroupStats.Lag":            "int64",
	"field GroupStats.Members":        "int",
	"field GroupStats.Messages":       "int64",
	"field GroupStats.Skipped":        "int64",
	"field Upgrader.Group":            "*.Group",
	"field Upgrader.Trace":            "*.Trace",
	"method *Dialer.Redial":           "func(context.Context, string, net/http.Header, .Backoff) iter.Seq2[*.Conn, error]",
	"method *Group.Add":               "func(*.Conn, ...*.PreparedMessage) error",
	"method *Group.All":               "func() iter.Seq[*.Conn]",
	"method *Group.Broadcast":         "func(int, []uint8) error",
	"method *Group.BroadcastLatest":   "func(string, int, []uint8) error",
	"method *Group.BroadcastPrepared": "func(*.PreparedMessage) error",
	"method *Group.Forget":            "func(string)",
	"method *Group.Len":               "func() int",
	"method *Group.Remove":            "func(*.Conn)",
	"method *Group.Shutdown":          "func(context.Context, int, string) error",
	"method *Group.Stats":             "func() .GroupStats",
	"type Backoff":                    "struct{Min time.Duration; Max time.Duration; Fatal func(error, *net/http.Response) bool}",
	"type Group":                      "struct",
	"type GroupStats":                 "struct",
	"type SlowPolicy":                 "int",
	"type Trace":                      "struct{Opened func(*.Conn); Message func(*.Conn, bool, int, int, int); Ping func(*.Conn, time.Duration); Closed func(*.Conn, error)}",
	"var ErrGroupClosed":              "error",
	"var ErrSlowMember":               "error",

	"const CloseBadGateway": "untyped int 1014",
}

func TestExportedNames(t *testing.T) {
	theirPackage, ourPackage := bothPackages(t)
	theirs, ours := load(t, theirPackage), load(t, ourPackage)
	if len(theirs) != 91 {
		t.Errorf("%d names found in %s, expected 91 (CloseError's fields count with their type)", len(theirs), gorillaPath)
	}
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		switch got, ok := ours[name]; {
		case !ok:
			t.Errorf("missing: %s %s", name, theirs[name])
		case got != theirs[name]:
			t.Errorf("%s\n\tgorilla %s\n\there    %s", name, theirs[name], got)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		if _, ok := theirs[name]; ok {
			continue
		}
		if want, ok := additions[name]; !ok {
			t.Errorf("an addition that is not listed: %s %s", name, ours[name])
		} else if want != ours[name] {
			t.Errorf("%s\n\tlisted %s\n\there   %s", name, want, ours[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(additions)) {
		if _, ok := ours[name]; !ok {
			t.Errorf("a listed addition is missing: %s", name)
		}
	}
}

// TestAdditionsDocumented holds MIGRATING.md to the additions: it names all of them.
func TestAdditionsDocumented(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join(moduleDir(t, ourPath), "MIGRATING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(guide), "## New beside the old names\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, name := range slices.Sorted(maps.Keys(additions)) {
		last := name[strings.LastIndexAny(name, " .")+1:]
		if !regexp.MustCompile(`\b` + last + `\b`).MatchString(section) {
			t.Errorf("the section on new names lacks %s", name)
		}
	}
}

// TestFieldOrder holds the fields of gorilla's structs in gorilla's order,
// for literals without keys and for programs that read fields by index.
func TestFieldOrder(t *testing.T) {
	theirs, ours := bothPackages(t)
	for _, name := range theirs.Scope().Names() {
		their, ok := structType(theirs.Scope().Lookup(name))
		if !ok {
			continue
		}
		our, ok := structType(ours.Scope().Lookup(name))
		if !ok {
			t.Errorf("%s is no struct", name)
			continue
		}
		want, got := exportedFields(their), exportedFields(our)
		if len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("%s begins with other fields:\n\tgorilla %v\n\there    %v", name, want, got)
		}
	}
}

func structType(o types.Object) (*types.Struct, bool) {
	if _, ok := o.(*types.TypeName); !ok || !o.Exported() {
		return nil, false
	}
	s, ok := o.Type().Underlying().(*types.Struct)
	return s, ok
}

func exportedFields(s *types.Struct) []string {
	var names []string
	for f := range s.Fields() {
		if f.Exported() {
			names = append(names, f.Name())
		}
	}
	return names
}

// bothPackages reads the types of the two packages.
func bothPackages(t *testing.T) (theirs, ours *types.Package) {
	t.Helper()
	both := exportedPackages(t, ".", gorillaPath, ourPath)
	return both[0], both[1]
}

// exportedPackages reads the types of packages from the compiler's export data, as they are to the
// module in a directory. One importer reads them all, so that the types that they share are
// identical.
func exportedPackages(t *testing.T, dir string, paths ...string) []*types.Package {
	t.Helper()
	list := exec.Command("go", append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}, paths...)...)
	list.Dir = dir
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	var packages []*types.Package
	for _, path := range paths {
		p, err := imp.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	return packages
}

// load returns a description of every exported name of a package: constants,
// variables, functions, types, their fields and their methods.
func load(t *testing.T, p *types.Package) map[string]string {
	t.Helper()
	names := make(map[string]string)
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		switch o := o.(type) {
		case *types.Const:
			names["const "+name] = describe(o.Type()) + " " + o.Val().ExactString()
		case *types.Var:
			names["var "+name] = describe(o.Type())
		case *types.Func:
			names["func "+name] = describe(o.Type())
		case *types.TypeName:
			addType(names, name, o.Type())
		default:
			t.Fatalf("%s: unexpected object %T", name, o)
		}
	}
	return names
}

func addType(names map[string]string, name string, typ types.Type) {
	s, isStruct := typ.Underlying().(*types.Struct)
	switch {
	case !isStruct:
		names["type "+name] = describe(typ.Underlying())
	case allExported(s) && s.NumFields() < 5:
		names["type "+name] = describe(s)
	default:
		// Options grow at their end, and private fields are nobody's business.
		names["type "+name] = "struct"
		for f := range s.Fields() {
			if f.Exported() {
				names["field "+name+"."+f.Name()] = describe(f.Type())
			}
		}
	}
	if types.IsInterface(typ) {
		return
	}
	values := types.NewMethodSet(typ)
	for method := range types.NewMethodSet(types.NewPointer(typ)).Methods() {
		if !method.Obj().Exported() {
			continue
		}
		receiver := "*"
		if values.Lookup(nil, method.Obj().Name()) != nil {
			receiver = ""
		}
		names["method "+receiver+name+"."+method.Obj().Name()] = describe(method.Type())
	}
}

func allExported(s *types.Struct) bool {
	for f := range s.Fields() {
		if !f.Exported() {
			return false
		}
	}
	return true
}

// describe writes a type without parameter names, which are not part of it,
// and without the path of either package.
func describe(t types.Type) string {
	switch t := types.Unalias(t).(type) {
	case *types.Named:
		name := t.Obj().Name()
		if p := t.Obj().Pkg(); p != nil && p.Path() != gorillaPath && p.Path() != ourPath {
			name = p.Path() + "." + name
		} else if p != nil {
			name = "." + name
		}
		if args := t.TypeArgs(); args.Len() > 0 {
			var list []string
			for a := range args.Types() {
				list = append(list, describe(a))
			}
			name += "[" + strings.Join(list, ", ") + "]"
		}
		return name
	case *types.Pointer:
		return "*" + describe(t.Elem())
	case *types.Slice:
		return "[]" + describe(t.Elem())
	case *types.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), describe(t.Elem()))
	case *types.Map:
		return "map[" + describe(t.Key()) + "]" + describe(t.Elem())
	case *types.Chan:
		return fmt.Sprintf("chan(%d) %s", t.Dir(), describe(t.Elem()))
	case *types.Signature:
		return "func" + describeSignature(t)
	case *types.Interface:
		var methods []string
		for m := range t.Methods() {
			methods = append(methods, m.Name()+describeSignature(m.Type().(*types.Signature)))
		}
		slices.Sort(methods)
		return "interface{" + strings.Join(methods, "; ") + "}"
	case *types.Struct:
		var fields []string
		for i := range t.NumFields() {
			f := t.Field(i)
			field := f.Name() + " " + describe(f.Type())
			if f.Embedded() {
				field = "embedded " + field
			}
			if tag := t.Tag(i); tag != "" {
				field += fmt.Sprintf(" %q", tag)
			}
			fields = append(fields, field)
		}
		return "struct{" + strings.Join(fields, "; ") + "}"
	case *types.Basic:
		return types.Typ[t.Kind()].Name() // byte is uint8
	default:
		panic(fmt.Sprintf("no description for %T", t))
	}
}

func describeSignature(s *types.Signature) string {
	params := describeTuple(s.Params())
	if n := len(params); s.Variadic() {
		params[n-1] = "..." + strings.TrimPrefix(params[n-1], "[]")
	}
	out := "(" + strings.Join(params, ", ") + ")"
	switch results := describeTuple(s.Results()); len(results) {
	case 0:
		return out
	case 1:
		return out + " " + results[0]
	default:
		return out + " (" + strings.Join(results, ", ") + ")"
	}
}

func describeTuple(t *types.Tuple) []string {
	var list []string
	for v := range t.Variables() {
		list = append(list, describe(v.Type()))
	}
	return list
}
