package web_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"pinreset/shared/fault"
	"pinreset/shared/gpo"
	"pinreset/shared/identity"
)

func TestGroupPolicyExport(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	reader := f.may(identity.PolicyRead)
	for query, on := range map[string]bool{"": true, "?off=false": true, "?off=true": false} {
		a := f.call(http.MethodGet, "/v1/group-policy"+query, reader, nil)
		a.want(t, http.StatusOK)
		if a.header.Get("Content-Type") != "application/zip" || !strings.Contains(a.header.Get("Content-Disposition"), ".zip") || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%q: headers %v", query, a.header)
		}
		z, err := zip.NewReader(bytes.NewReader(a.body), int64(len(a.body)))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, file := range z.File {
			if !strings.HasSuffix(file.Name, "/Machine/registry.pol") {
				continue
			}
			found = true
			r, err := file.Open()
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			entries, err := gpo.ParsePol(raw)
			if err != nil || len(entries) != 1 {
				t.Fatalf("%q: %v, %v", query, entries, err)
			}
			if n, ok := entries[0].Uint32(); !ok || (n == 1) != on || entries[0].Value != "EnablePinRecovery" {
				t.Errorf("%q: %+v", query, entries[0])
			}
		}
		if !found {
			t.Errorf("%q: no registry.pol among %d files", query, len(z.File))
		}
	}
	f.call(http.MethodGet, "/v1/group-policy", f.may(identity.TenantRead), nil).refused(t, http.StatusForbidden, fault.Forbidden)

	var described struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct{ Content map[string]any }
		}
	}
	f.call(http.MethodGet, "/openapi.json", "", nil).into(t, &described)
	content := described.Paths["/v1/group-policy"]["get"].Responses["200"].Content
	if _, ok := content["application/zip"]; !ok || len(content) != 1 {
		t.Errorf("described as %v", content)
	}
}
