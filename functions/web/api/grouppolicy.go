package api

import (
	"bytes"
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"pinreset/shared/gpo"
	"pinreset/shared/identity"
)

// groupPolicy answers with the Group Policy export: the one way to set the policy that Microsoft Graph does not reach.
func (a *api) groupPolicy() {
	op := operation{method: http.MethodGet, path: "/v1/group-policy", permission: identity.PolicyRead, tag: "policies",
		summary: "Export the PIN recovery policy as a Group Policy backup, in a zip archive"}
	register(a, a.describe(op),
		func(_ context.Context, in *struct {
			Off bool `query:"off" doc:"Switch PIN recovery off instead of on"`
		}) (*archive, error) {
			var z bytes.Buffer
			if err := gpo.ForPinRecovery(!in.Off, a.Now()).Zip(&z); err != nil {
				return nil, err
			}
			name := "pin-recovery-on.zip"
			if in.Off {
				name = "pin-recovery-off.zip"
			}
			return &archive{ContentType: "application/zip", Disposition: `attachment; filename="` + name + `"`, Body: z.Bytes()}, nil
		})
	// The framework takes bytes for a JSON string in base64.
	a.described(op).Responses["200"].Content = map[string]*huma.MediaType{
		"application/zip": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}
}

// archive is an answer that is a file.
type archive struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}
