package azure

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"pinreset/shared/work/tables"
)

// asked answers every request that there is no such row, and keeps what was asked for.
type asked struct{ paths []string }

func (a *asked) Do(r *http.Request) (*http.Response, error) {
	a.paths = append(a.paths, r.URL.Path)
	return &http.Response{StatusCode: http.StatusNotFound, Request: r, Body: io.NopCloser(strings.NewReader("")),
		Header: http.Header{"X-Ms-Error-Code": {"ResourceNotFound"}}}, nil
}

// GetToken makes it a credential too.
func (*asked) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// TestTables: the template makes the table that the program asks for, and every name is one that Table storage takes.
func TestTables(t *testing.T) {
	t.Parallel()
	service := &asked{}
	table, err := tables.New("https://account.table.core.windows.net/", service, tables.Options{Transport: service})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Check(t.Context()); err != nil || len(service.paths) != 1 {
		t.Fatalf("%q was asked for: %v", service.paths, err)
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(service.paths[0], "/"), "(")
	for _, d := range environments(t, func(b []byte) []byte { return b }) {
		var made []string
		d.each("Microsoft.Storage/storageAccounts/tableServices/tables", func(r resource) {
			made = append(made, r.name[strings.LastIndex(r.name, "/")+1:])
		})
		if !slices.Contains(made, name) {
			t.Errorf("%s: the template makes %q, the program asks for %q", d.environment, made, name)
		}
		for _, each := range made {
			if _, err := tables.New("https://account.table.core.windows.net/", service, tables.Options{Name: each}); err != nil || len(each) < 3 || strings.ContainsAny(each, "-_.") {
				t.Errorf("table %q: %v", each, err)
			}
		}
	}
}
