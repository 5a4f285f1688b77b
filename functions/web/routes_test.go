package web_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"pinreset/shared/fault"
	"pinreset/shared/identity"
)

// route is one call of the API as its description tells it.
type route struct {
	method, path string
	permission   identity.Permission // "" where the call decides by what it gets
	everywhere   bool
	keyed        bool
	paged        bool
}

var permissionOf = regexp.MustCompile("Permission: `([a-z.]+)`( on all tenants)?")

// routes reads the API's own description, so that a call that is added is tested without a word here.
func (f *fixture) routes() []route {
	f.t.Helper()
	var described struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Description string
			Parameters  []struct {
				Name     string
				Required bool
			}
		}
	}
	a := f.call(http.MethodGet, "/openapi.json", "", nil)
	a.want(f.t, http.StatusOK)
	a.into(f.t, &described)
	if !strings.HasPrefix(described.OpenAPI, "3.1") {
		f.t.Errorf("OpenAPI %s", described.OpenAPI)
	}
	var all []route
	for path, methods := range described.Paths {
		for method, op := range methods {
			r := route{method: strings.ToUpper(method), path: path}
			if m := permissionOf.FindStringSubmatch(op.Description); m != nil {
				r.permission, r.everywhere = identity.Permission(m[1]), m[2] != ""
			}
			for _, p := range op.Parameters {
				r.paged = r.paged || p.Name == "cursor"
				r.keyed = r.keyed || p.Name == "Idempotency-Key" && p.Required
			}
			all = append(all, r)
		}
	}
	return all
}

// noKey is the id of no device's key. That another device's key is like it, the tests of keys prove.
const noKey = "01M8153H7R1HEAD8X4A1JH69RE"

// in fills the path's parameters.
func (r route) in(tenant, id string) string {
	return strings.NewReplacer("{tenant}", tenant, "{id}", id, "{key}", noKey).Replace(r.path)
}

// body is one that every call refuses only after it knows who asks.
func (r route) body() any {
	if r.method == http.MethodGet {
		return nil
	}
	return `{"reason":"a test"}`
}

func without(p identity.Permission) []identity.Permission {
	var rest []identity.Permission
	for _, other := range identity.Permissions() {
		if other != p {
			rest = append(rest, other)
		}
	}
	return rest
}

func TestEveryRouteAsksWhoWhereAndWhether(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	everything := f.may(identity.Permissions()...)
	revokedID, revoked := f.token(identity.Grant{Name: "revoked", Tenants: []string{"*"}, Permissions: identity.Permissions(), Days: 1})
	f.call(http.MethodPost, "/v1/tokens/"+revokedID+"/revoke", f.admin, nil).want(t, http.StatusOK)
	reset := f.startReset(fabrikam, foreign) // somebody else's, and there
	diagID, letter := f.setAside(fabrikam, []byte("{}"))
	rows, messages := f.stored()

	routes, checks, missing := f.routes(), 0, [][]byte{}
	if len(routes) < 24 {
		t.Fatalf("only %d routes described", len(routes))
	}
	gone := func(what string, r route, a answer) {
		t.Helper()
		checks++
		a.refused(t, http.StatusNotFound, fault.NotFound)
		a.header.Del("X-Correlation-Id")
		a.header.Del("Date")
		var headers bytes.Buffer
		if err := a.header.Write(&headers); err != nil {
			t.Fatal(err)
		}
		missing = append(missing, append(headers.Bytes(), a.body...))
		if !bytes.Equal(missing[0], missing[len(missing)-1]) {
			t.Errorf("%s %s, %s: differs from the first:\n%s\n%s", r.method, r.path, what, missing[len(missing)-1], missing[0])
		}
	}
	for _, r := range routes {
		own := r.in(contoso, pixel)
		for what, token := range map[string]string{"no token": "", "bad token": "pr_x_y", "half a token": f.admin[:20], "revoked token": revoked} {
			a := f.call(r.method, own, token, r.body())
			a.refused(t, http.StatusUnauthorized, fault.Unauthenticated)
			if a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s, %s: no WWW-Authenticate", r.method, r.path, what)
			}
			checks++
		}
		if r.permission != "" {
			f.call(r.method, own, f.may(without(r.permission)...), r.body()).refused(t, http.StatusForbidden, fault.Forbidden)
			checks++
		}
		if r.everywhere {
			f.call(r.method, own, everything, r.body()).refused(t, http.StatusForbidden, fault.Forbidden)
			checks++
		}
		if strings.Contains(r.path, "{tenant}") {
			for what, id := range map[string]string{"another's tenant": fabrikam, "no such tenant": nowhere, "no tenant's id": "contoso", "hostile id": "..%2f..%2fetc", "another partition": "tokens"} {
				for _, object := range []string{reset, diagID, letter, foreign, nowhere} {
					gone(what, r, f.call(r.method, r.in(id, object), everything, r.body()))
				}
			}
		}
		if strings.Contains(r.path, "{tenant}") && strings.Contains(r.path, "{id}") {
			for what, id := range map[string]string{"another's reset": reset, "another's failure": diagID, "another's dead letter": letter, "no such id": "01J", "hostile id": "a%2Fb%23%00", "long id": strings.Repeat("A", 600)} {
				if strings.Contains(r.path, "/devices/{id}") && r.method == http.MethodPost && id == foreign {
					continue
				}
				gone(what, r, f.call(r.method, r.in(contoso, id), everything, r.body()))
			}
			if r.method == http.MethodGet {
				gone("another's device", r, f.call(r.method, r.in(contoso, foreign), everything, r.body()))
			}
		}
	}
	for _, path := range []string{"/v1/", "/v1/nothing", "/v1/tenants/" + contoso + "/wipe"} {
		gone("no such call", route{method: "GET", path: path}, f.call(http.MethodGet, path, everything, nil))
	}
	gone("no such method", route{method: "DELETE"}, f.call(http.MethodDelete, "/v1/tenants/"+contoso, everything, nil))
	if r, m := f.stored(); r-rows != tokensMade(f, routes) || m != messages {
		t.Errorf("refused requests left %d rows and %d messages", r-rows-tokensMade(f, routes), m-messages)
	}
	t.Logf("%d routes, %d refusals checked, %d of them byte-equal not found", len(routes), checks, len(missing))
}

// tokensMade is how many rows the test itself made: a token and its audit entry for each call with a permission.
func tokensMade(_ *fixture, routes []route) int {
	n := 0
	for _, r := range routes {
		if r.permission != "" {
			n += 2
		}
	}
	return n
}

func TestDescriptionSaysWhatNeedsAKey(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for _, r := range f.routes() {
		// Nothing of an offboarded tenant is kept, so not the answer either; who asks again finds it gone.
		exempt := strings.HasSuffix(r.path, "/reveal") || strings.HasSuffix(r.path, "/offboard") ||
			strings.HasSuffix(r.path, "/plan") || r.path == "/v1/events"
		if want := r.method == http.MethodPost && !exempt; r.keyed != want {
			t.Errorf("%s %s: takes a key %t, want %t", r.method, r.path, r.keyed, want)
		}
		if r.permission == "" && r.path != "/v1/events" {
			t.Errorf("%s %s: no permission", r.method, r.path)
		}
	}
	var anything map[string]any
	f.call(http.MethodGet, "/openapi.json", "", nil).into(t, &anything)
	if _, err := json.Marshal(anything); err != nil || len(anything) == 0 {
		t.Errorf("description: %v", err)
	}
}
