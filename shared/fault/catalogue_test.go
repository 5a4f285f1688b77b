package fault_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
)

// declared returns the codes that the package declares as constants, by reading its source: a constant that is nowhere in the
// table can't be found by asking the table.
func declared(t *testing.T) map[string]fault.Code {
	t.Helper()
	codes := map[string]fault.Code{}
	for _, name := range []string{"catalogue.go", "hello.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				if typ, ok := v.Type.(*ast.Ident); !ok || typ.Name != "Code" {
					continue
				}
				text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				codes[v.Names[0].Name] = fault.Code(text)
			}
		}
	}
	return codes
}

func TestEveryCodeIsInTheTable(t *testing.T) {
	t.Parallel()
	codes := declared(t)
	if len(codes) < 30 {
		t.Fatalf("only %d constants were found: the search is broken", len(codes))
	}
	seen := map[fault.Code]string{}
	for name, code := range codes {
		if !fault.Known(code) {
			t.Errorf("%s (%s) is not in the table", name, code)
		}
		if other, twice := seen[code]; twice {
			t.Errorf("%s and %s are both %s", name, other, code)
		}
		seen[code] = name
	}
	for _, code := range fault.Codes() {
		if seen[code] == "" {
			t.Errorf("%s is in the table and is no constant", code)
		}
	}
	if !slices.IsSorted(fault.Codes()) {
		t.Error("codes are not in alphabetical order")
	}
}

// TestEveryEntryCanBeTold proves that each entry says what it must, and that the event of such a failure can be sent.
func TestEveryEntryCanBeTold(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[a-z][a-z0-9_]{2,40}$`)
	titles := map[string]fault.Code{}
	for _, code := range fault.Codes() {
		e := fault.Lookup(code)
		if e.Code != code || !form.MatchString(string(code)) {
			t.Errorf("%s: its entry is named %q", code, e.Code)
		}
		if strings.TrimSpace(e.Title) == "" || strings.TrimSpace(e.Cause) == "" || len(e.Fix) == 0 {
			t.Errorf("%s: title %q, cause %q, %d fixes", code, e.Title, e.Cause, len(e.Fix))
		}
		if strings.HasSuffix(e.Title, ".") || !strings.HasSuffix(e.Cause, ".") {
			t.Errorf("%s: a title is a heading and a cause is a sentence: %q, %q", code, e.Title, e.Cause)
		}
		if other, twice := titles[e.Title]; twice {
			t.Errorf("%s and %s have the same title %q", code, other, e.Title)
		}
		titles[e.Title] = code
		data := events.FailureRaised{
			RequestID: "r", Function: "f", Code: string(code), Title: e.Title, Cause: e.Cause, Fix: e.Fix, LearnMore: e.LearnMore,
			Diagnostics: "/tenants/0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364/diag/2346789B",
		}
		event := events.Event{ID: "e", Tenant: "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364", Time: time.Unix(1, 0), Data: data}
		if err := event.Validate(); err != nil {
			t.Errorf("%s: %v", code, err)
		}
		raw, err := event.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := events.Parse(raw); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestUnknownCode(t *testing.T) {
	t.Parallel()
	const code fault.Code = "of_a_newer_version"
	e, internal := fault.Lookup(code), fault.Lookup(fault.Internal)
	if fault.Known(code) || e.Code != code || e.Title != internal.Title || len(e.Fix) == 0 {
		t.Errorf("entry %+v", e)
	}
	if fault.Lookup(fault.Internal).Code != fault.Internal {
		t.Error("a look-up has changed the table")
	}
}

// TestRemindersPointAtRealCommands proves that a fix which names a command of pinreset names its noun as the program does.
func TestRemindersPointAtRealCommands(t *testing.T) {
	t.Parallel()
	nouns := []string{"tenant", "event", "deadletter", "device", "passcode", "audit", "token", "error", "diag", "policy"}
	command := regexp.MustCompile("`pinreset ([a-z]+)")
	found := 0
	for _, code := range fault.Codes() {
		for _, fix := range fault.Lookup(code).Fix {
			for _, m := range command.FindAllStringSubmatch(fix, -1) {
				found++
				if !slices.Contains(nouns, m[1]) {
					t.Errorf("%s: no command is named %q: %s", code, m[1], fix)
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d commands were found: the search is broken", found)
	}
}
