package infra

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rooms says which of the module's packages each room may import. Rooms are matched by the longest prefix; a package may
// always import packages of its own room's subtree where that is listed.
var rooms = []struct {
	room    string
	imports []string
	sdk     bool // may import a cloud's SDK
}{
	{room: "pinreset/events", imports: []string{"pinreset/events/jsoncut"}},
	{room: "pinreset/events/jsoncut"}, // how JSON is cut, whatever it says
	{room: "pinreset/shared/fault"},
	{room: "pinreset/shared/work", imports: []string{"pinreset/events"}},
	{room: "pinreset/shared/work/sqlitework", imports: []string{"pinreset/events", "pinreset/shared/work"}},
	{room: "pinreset/shared/work/outbox", imports: []string{"pinreset/shared/work"}},
	{room: "pinreset/shared/work/tables", imports: []string{"pinreset/shared/work"}, sdk: true},
	{room: "pinreset/shared/work/servicebus", imports: []string{"pinreset/shared/work"}, sdk: true},
	{room: "pinreset/shared/work/sqs", imports: []string{"pinreset/shared/awsapi", "pinreset/shared/work"}, sdk: true},
	{room: "pinreset/shared/work/sqs/sqstest", imports: []string{"pinreset/shared/work/sqs/sqstest"}}, // fit for any project
	{room: "pinreset/shared/awsapi", sdk: true},
	{room: "pinreset/shared/work/worktest", imports: []string{"pinreset/events", "pinreset/shared/clocktest", "pinreset/shared/work"}},
	{room: "pinreset/shared/work/tables/tablestest", imports: []string{"pinreset/shared/nodetest", "pinreset/shared/work/tables"}, sdk: true},
	{room: "pinreset/shared/work/servicebus/servicebustest", imports: []string{"pinreset/shared/work/servicebus/servicebustest"}}, // fit for any project
	{room: "pinreset/shared/graph", imports: []string{"pinreset/events/jsoncut", "pinreset/shared/diag", "pinreset/shared/fault", "pinreset/shared/policy", "pinreset/shared/quota", "pinreset/shared/secret"}, sdk: true},
	{room: "pinreset/shared/graph/graphschema"},
	{room: "pinreset/shared/graph/graphsim", imports: []string{"pinreset/shared/graph/graphschema"}},
	{room: "pinreset/shared/graph/graphtest", imports: []string{"pinreset/shared/graph"}}, // for tests; joins client and simulator
	{room: "pinreset/shared/policy", imports: []string{"pinreset/events"}},                // what a policy is, whoever reads or writes it
	{room: "pinreset/shared/secret/keyvault", sdk: true},
	{room: "pinreset/shared/credential", imports: []string{"pinreset/shared/awsapi", "pinreset/shared/graph"}, sdk: true},
	{room: "pinreset/shared/host/lambda/lambdahost", imports: []string{"pinreset/shared/awsapi"}}, // for tests; asks the queues as the platform does
	{room: "pinreset/shared/host", imports: []string{"pinreset/shared/work"}, sdk: true},
	{room: "pinreset/shared/host/hosttest", imports: []string{"pinreset/events", "pinreset/shared"}}, // for tests; joins the program's client and a simulated cloud
	{room: "pinreset/shared", imports: []string{"pinreset/events", "pinreset/shared"}},
	{room: "pinreset/functions/web", imports: []string{"pinreset/events", "pinreset/shared", "pinreset/functions/web"}},
	{room: "pinreset/functions", imports: []string{"pinreset/events", "pinreset/shared"}}, // a handler
	{room: "pinreset/infra", imports: []string{"pinreset/infra/bundle"}},
	{room: "pinreset/infra/costtest", imports: []string{"pinreset/events", "pinreset/shared", "pinreset/functions/announcement", "pinreset/functions/passcodereset"}}, // for tests
	// The simulation is a main of its own: it wires the real handlers, over a store and a cloud in memory.
	{room: "pinreset/infra/simulation", imports: []string{"pinreset/events", "pinreset/shared",
		"pinreset/functions/announcement", "pinreset/functions/bulkreset", "pinreset/functions/consent", "pinreset/functions/devicereport",
		"pinreset/functions/graphsubscription",
		"pinreset/functions/housekeeping", "pinreset/functions/passcodereset", "pinreset/functions/policyrollout", "pinreset/functions/portalaction",
		"pinreset/functions/tenantaudit"}, sdk: true}, // the credential that the real client wants
}

// mainOnly are rooms that only main wires in: how messages travel, who runs a handler, and what stands in for a tenant is
// nobody else's matter.
var mainOnly = []string{"pinreset/shared/host", "pinreset/shared/work/sqlitework", "pinreset/shared/work/outbox", "pinreset/shared/work/tables",
	"pinreset/shared/work/servicebus", "pinreset/shared/work/sqs", "pinreset/shared/graph/graphsim", "pinreset/shared/client"}

// drivers are the rooms that may know the outbox beside main: what it is put over, what hands it its deliveries, and what
// simulates both.
var drivers = []string{"pinreset/shared/work", "pinreset/shared/host", "pinreset/infra/simulation"}

// forTests are packages that only tests import; they may wire what main wires.
var forTests = []string{"pinreset/infra/costtest", "pinreset/shared/clocktest", "pinreset/shared/credential/credentialtest", "pinreset/shared/dispatch/dispatchtest", "pinreset/shared/graph/graphtest",
	"pinreset/shared/host/azure/functionshost", "pinreset/shared/host/hosttest", "pinreset/shared/host/lambda/lambdahost", "pinreset/shared/nodetest",
	"pinreset/shared/secret/keyvault/keyvaulttest", "pinreset/shared/secret/ringtest", "pinreset/shared/work/worktest", "pinreset/shared/work/tables/tablestest",
	"pinreset/shared/work/servicebus/servicebustest", "pinreset/shared/work/sqs/sqstest"}

var sdks = []string{"github.com/Azure/", "github.com/aws/", "modernc.org/sqlite"}

type pkg struct {
	ImportPath string
	Imports    []string
}

// TestArrows proves that data flows one way: events ← shared ← functions ← main, that backends don't know each other, and
// that handlers know no host, no backend, no SDK and no other handler.
func TestArrows(t *testing.T) {
	t.Parallel()
	packages := list(t)
	checked := 0
	for _, p := range packages {
		if p.ImportPath == "pinreset/functions" || p.ImportPath == "pinreset/infra/bench" {
			continue // a main sees everything; what measures wires parts together as main does
		}
		room := roomOf(t, p.ImportPath)
		for _, imported := range p.Imports {
			checked++
			inModule := strings.HasPrefix(imported, "pinreset/")
			switch {
			case inModule && !allowed(p.ImportPath, rooms[room].room, imported, rooms[room].imports):
				t.Errorf("%s imports %s: not an allowed arrow", p.ImportPath, imported)
			case slices.Contains(forTests, imported) && !slices.Contains(forTests, p.ImportPath):
				t.Errorf("%s imports %s outside of its tests", p.ImportPath, imported)
			case inModule && !slices.Contains(forTests, p.ImportPath) && forMain(p.ImportPath, imported):
				t.Errorf("%s imports %s, which only main may", p.ImportPath, imported)
			case !inModule && isSDK(imported) && !rooms[room].sdk && !within(p.ImportPath, "pinreset/shared/work/sqlitework"):
				t.Errorf("%s imports the SDK %s", p.ImportPath, imported)
			}
		}
	}
	if len(packages) < 15 || checked < 100 {
		t.Fatalf("only %d packages and %d imports were checked: the list is not whole", len(packages), checked)
	}
	t.Logf("%d packages, %d imports checked", len(packages), checked)
}

// TestArrowsCatch proves that the check can fail.
func TestArrowsCatch(t *testing.T) {
	t.Parallel()
	for _, wrong := range [][2]string{
		{"pinreset/functions/consent", "pinreset/shared/work/outbox"},
		{"pinreset/functions/consent", "pinreset/shared/work/tables"},
		{"pinreset/shared/host/local", "pinreset/shared/work/tables"},
		{"pinreset/functions/consent", "pinreset/shared/work/servicebus"},
		{"pinreset/shared/work/servicebus", "pinreset/shared/work/tables"},
		{"pinreset/shared/work/tables", "pinreset/shared/work/servicebus"},
		{"pinreset/shared/work/sqs", "pinreset/shared/work/servicebus"},
	} {
		if !forMain(wrong[0], wrong[1]) {
			t.Errorf("%s may import %s", wrong[0], wrong[1])
		}
	}
	for _, wrong := range [][2]string{
		{"pinreset/shared/work/outbox", "pinreset/events"},
		{"pinreset/shared/work/tables", "pinreset/shared/graph"},
		{"pinreset/shared/work/servicebus", "pinreset/events"},
		{"pinreset/events", "pinreset/shared/work"},
		{"pinreset/shared/work", "pinreset/shared/graph"},
		{"pinreset/shared/diag", "pinreset/functions/web"},
		{"pinreset/functions/consent", "pinreset/functions/passcodereset"},
		{"pinreset/functions/consent", "pinreset/functions/web/api"},
		{"pinreset/shared/work/sqlitework", "pinreset/shared/graph"},
		{"pinreset/shared/work/servicebus/servicebustest", "pinreset/shared/work"},
	} {
		r := rooms[roomOf(t, wrong[0])]
		if allowed(wrong[0], r.room, wrong[1], r.imports) {
			t.Errorf("%s may import %s", wrong[0], wrong[1])
		}
	}
}

func allowed(from, room, to string, imports []string) bool {
	if strings.HasPrefix(room, "pinreset/functions") && room != "pinreset/functions/web" {
		return within(to, from) || !within(to, "pinreset/functions") && matches(to, imports)
	}
	return from == to || matches(to, imports)
}

// forMain reports whether the import is one that only main may make.
func forMain(from, to string) bool {
	if within(to, "pinreset/shared/work/outbox") && matches(from, drivers) {
		return false
	}
	return slices.ContainsFunc(mainOnly, func(f string) bool { return within(to, f) && !within(from, f) })
}

func matches(to string, imports []string) bool {
	return slices.ContainsFunc(imports, func(i string) bool { return within(to, i) })
}

func within(path, room string) bool { return path == room || strings.HasPrefix(path, room+"/") }

func isSDK(path string) bool {
	return slices.ContainsFunc(sdks, func(s string) bool { return strings.HasPrefix(path, s) })
}

func roomOf(t *testing.T, path string) int {
	t.Helper()
	best := -1
	for i, r := range rooms {
		if within(path, r.room) && (best < 0 || len(r.room) > len(rooms[best].room)) {
			best = i
		}
	}
	if best < 0 {
		t.Fatalf("%s is in no room", path)
	}
	return best
}

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "pinreset/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
