package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/graph/graphtest"
)

// microsoftGraph is the client id of Microsoft Graph, by Microsoft's page "Verify first-party Microsoft applications in sign-in reports".
const microsoftGraph = "00000003-0000-0000-c000-000000000000"

// TestRegistrations: the operators' page makes two registrations with the permissions that the doctor asks for, by the ids that
// the model of Graph has of them, and neither has one of the other's.
func TestRegistrations(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "infra", "azure", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(text), "\\\n", " ") // a command goes on in the next line
	_, client := graphtest.New(t, graphsim.Options{})
	parts, err := client.Batch(t.Context(), graphsim.Contoso, graph.V1, []graph.BatchRequest{
		graph.BatchGet("1", "/servicePrincipals(appId='"+microsoftGraph+"')?$select=appRoles")})
	if err != nil {
		t.Fatal(err)
	}
	var principal struct {
		AppRoles []struct{ ID, Value string }
	}
	if err := parts[0].Decode(&principal); err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, r := range principal.AppRoles {
		ids[r.Value] = r.ID
	}

	command := regexp.MustCompile(`az ad app permission add --id (\w+) --api (\S+) --api-permissions +(.+)`)
	added := map[string][]string{}
	for _, m := range command.FindAllStringSubmatch(page, -1) {
		if m[2] != microsoftGraph {
			t.Errorf("%s is not Microsoft Graph", m[2])
		}
		for one := range strings.FieldsSeq(m[3]) {
			id, kind, _ := strings.Cut(one, "=")
			if kind != "Role" {
				t.Errorf("%s is added as %q, want an application permission", id, kind)
			}
			added[m[1]] = append(added[m[1]], id)
		}
	}
	row := regexp.MustCompile(`(?m)^ *\| (\S+) \| ([0-9a-f-]{36}) \| (\w+) \| (.*)\|$`)
	shown := map[string][]string{}
	spare := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(page, -1) {
		if ids[m[1]] == "" || ids[m[1]] != m[2] {
			t.Errorf("%s has the id %s, not %s", m[1], ids[m[1]], m[2])
		}
		shown[m[3]] = append(shown[m[3]], m[2])
		spare[m[1]] = strings.TrimSpace(m[4]) != ""
	}
	want := map[string][]string{}
	for registration, least := range map[string][]need{"READS": leastGeneral, "RESETS": leastPrivileged} {
		for _, n := range least {
			if id := ids[n.one[0]]; id == "" {
				t.Errorf("the model of Graph does not know %s", n.one[0])
			} else {
				want[registration] = append(want[registration], id)
			}
			if spare[n.one[0]] != (n.without != "") {
				t.Errorf("whether %s may be left out: the page says %t", n.one[0], spare[n.one[0]])
			}
		}
		for _, line := range []string{"az ad sp create --id ", "az ad app permission admin-consent --id "} {
			if !strings.Contains(page, line+registration+"\n") {
				t.Errorf("the page has no %s%s", line, registration)
			}
		}
	}
	same := func(a, b []string) bool {
		return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	}
	if !maps.EqualFunc(added, want, same) || !maps.EqualFunc(shown, want, same) {
		t.Errorf("the page adds %v and shows %v, want %v", added, shown, want)
	}
}
