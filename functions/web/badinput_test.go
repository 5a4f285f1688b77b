package web_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"pinreset/shared/fault"
)

// Bad input is what clients get wrong, and worse.
func TestBadInputChangesNothing(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	reset := "/v1/tenants/" + contoso + "/devices/" + pixel + "/resets"
	f.call(http.MethodPost, reset, f.admin, `{"reason":"first"}`, key("used")).want(t, http.StatusAccepted)
	rows, messages := f.stored()
	chunked := func(n int64) io.Reader { return io.LimitReader(letters{}, n) }
	long := strings.Repeat("x", 501)
	type bad struct {
		what, path string
		body       any
		status     int
		code       fault.Code
		options    []option
	}
	cases := []bad{
		{"no body", reset, nil, 400, fault.InvalidRequest, nil},
		{"empty body", reset, "", 400, fault.InvalidRequest, nil},
		{"malformed JSON", reset, `{"reason":`, 400, fault.InvalidRequest, nil},
		{"not UTF-8", reset, "{\"reason\":\"\xff\xfe", 400, fault.InvalidRequest, nil},
		{"two values", reset, `{"reason":"x"}{"reason":"y"}`, 400, fault.InvalidRequest, nil},
		{"null", reset, `null`, 422, fault.InvalidRequest, nil},
		{"array", reset, `[]`, 422, fault.InvalidRequest, nil},
		{"number for text", reset, `{"reason":1}`, 422, fault.InvalidRequest, nil},
		{"null for text", reset, `{"reason":null}`, 422, fault.InvalidRequest, nil},
		{"unknown field", reset, `{"reason":"x","wipe":true}`, 422, fault.InvalidRequest, nil},
		{"no reason", reset, `{}`, 422, fault.InvalidRequest, nil},
		{"blank reason", reset, `{"reason":"  "}`, 422, fault.InvalidRequest, nil},
		{"long reason", reset, `{"reason":"` + long + `"}`, 422, fault.InvalidRequest, nil},
		{"long ticket", reset, `{"reason":"x","ticket":"` + long + `"}`, 422, fault.InvalidRequest, nil},
		{"control character", reset, `{"reason":"a\u0000b"}`, 422, fault.InvalidRequest, nil},
		{"line break", reset, `{"reason":"a\nb"}`, 422, fault.InvalidRequest, nil},
		{"right-to-left override", reset, `{"reason":"a\u202eb"}`, 422, fault.InvalidRequest, nil},
		{"zero-width space", reset, `{"reason":"a\u200bb"}`, 422, fault.InvalidRequest, nil},
		{"another media type", reset, `{"reason":"x"}`, 400, fault.InvalidRequest, []option{header("Content-Type", "application/xml")}},
		{"10 MB with a length", reset, strings.Repeat("x", 10<<20), 413, fault.RequestTooLarge, nil},
		{"10 MB in chunks", reset, chunked(10 << 20), 413, fault.RequestTooLarge, nil},
		{"event of 10 MB", "/v1/events", chunked(10 << 20), 413, fault.RequestTooLarge, nil},
		{"deep nesting", reset, strings.Repeat("[", 30000), 400, fault.InvalidRequest, nil},
		{"no idempotency key", reset, `{"reason":"x"}`, 400, fault.IdempotencyKeyMissing, []option{key("")}},
		{"long idempotency key", reset, `{"reason":"x"}`, 422, fault.InvalidRequest, []option{key(strings.Repeat("k", 129))}},
		{"idempotency key beyond ASCII", reset, `{"reason":"x"}`, 422, fault.InvalidRequest, []option{key("schlüssel")}},
		{"key with another body", reset, `{"reason":"second"}`, 422, fault.IdempotencyKeyReused, []option{key("used")}},
		{"key with another path", "/v1/tenants/" + contoso + "/devices/" + laptop + "/resets", `{"reason":"first"}`, 422, fault.IdempotencyKeyReused, []option{key("used")}},
		{"key with another call", "/v1/tenants/" + contoso + "/consent", `{}`, 422, fault.IdempotencyKeyReused, []option{key("used")}},
		{"device that is no GUID", "/v1/tenants/" + contoso + "/devices/pixel/resets", `{"reason":"x"}`, 404, fault.NotFound, nil},
		{"tenant that is no GUID", "/v1/tenants", `{"tenantId":"contoso.com","displayName":"C"}`, 422, fault.InvalidRequest, nil},
		{"tenant without a name", "/v1/tenants", `{"tenantId":"` + nowhere + `","displayName":""}`, 422, fault.InvalidRequest, nil},
		{"tenant with a bidi name", "/v1/tenants", `{"tenantId":"` + nowhere + `","displayName":"a\u2066b"}`, 422, fault.InvalidRequest, nil},
		{"token for ever", "/v1/tokens", `{"name":"n","tenants":["*"],"permissions":["tenant.read"],"days":3660}`, 422, fault.InvalidRequest, nil},
		{"token for what is not", "/v1/tokens", `{"name":"n","tenants":["*"],"permissions":["root"],"days":1}`, 422, fault.InvalidRequest, nil},
		{"token for nobody", "/v1/tokens", `{"name":"n","tenants":[],"permissions":["tenant.read"],"days":1}`, 422, fault.InvalidRequest, nil},
		{"setting out of range", "PATCH /v1/tenants/" + contoso + "/settings", `{"passcodeHours":1000000000000000000000}`, 422, fault.InvalidRequest, nil},
		{"setting with a bidi reason", "PATCH /v1/tenants/" + contoso + "/settings", `{"passcodeHours":20,"reason":"a\u2066b"}`, 422, fault.InvalidRequest, nil},
		{"consent with a long reason", "/v1/tenants/" + contoso + "/consent", `{"reason":"` + strings.Repeat("r", 501) + `"}`, 422, fault.InvalidRequest, nil},
		{"limit 0", "GET " + "/v1/tenants?limit=0", nil, 422, fault.InvalidRequest, nil},
		{"limit 201", "GET " + "/v1/tenants?limit=201", nil, 422, fault.InvalidRequest, nil},
		{"limit in words", "GET " + "/v1/tenants?limit=ten", nil, 422, fault.InvalidRequest, nil},
		{"misspelt filter", "GET /v1/tenants/" + contoso + "/resets?stat=open", nil, 422, fault.InvalidRequest, nil},
		{"no such state", "GET /v1/tenants/" + contoso + "/resets?state=lost", nil, 422, fault.InvalidRequest, nil},
		{"long search", "GET /v1/tenants/" + contoso + "/devices?search=" + long, nil, 422, fault.InvalidRequest, nil},
		{"cursor of nobody", "GET /v1/tenants/" + contoso + "/devices?cursor=AAAA", nil, 400, fault.InvalidRequest, nil},
		{"long cursor", "GET /v1/tenants/" + contoso + "/devices?cursor=" + strings.Repeat("A", 9000), nil, 422, fault.InvalidRequest, nil},
	}
	for _, c := range cases {
		method, path := http.MethodPost, c.path
		if m, p, ok := strings.Cut(c.path, " "); ok {
			method, path = m, p
		}
		t.Run(c.what, func(t *testing.T) {
			a := f.call(method, path, f.admin, c.body, c.options...)
			a.refused(t, c.status, c.code)
			if text, ok := c.body.(string); ok && len(text) > 300 && strings.Contains(string(a.body), text[:300]) {
				t.Error("the refusal quotes the request")
			}
		})
	}
	if r, m := f.stored(); r != rows || m != messages {
		t.Errorf("bad input left %d rows and %d messages", r-rows, m-messages)
	}
	t.Logf("%d kinds of bad input", len(cases))
}

// letters is an endless reader.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
