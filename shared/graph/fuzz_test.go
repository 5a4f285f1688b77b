package graph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"pinreset/shared/fault"
)

// said is a transport that answers every call to Graph with the same, and is a credential too.
type said struct {
	status int
	header http.Header
	body   []byte
}

func (s said) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	return &http.Response{StatusCode: s.status, Header: s.header.Clone(), Body: io.NopCloser(bytes.NewReader(s.body)), Request: r}, nil
}

func (said) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func (s said) client(t *testing.T) *Client {
	t.Helper()
	c, err := New(Config{Graph: "https://graph.example", Authority: "https://login.example", Transport: s, WaitPeople: -1, WaitBulk: -1,
		App: App{ClientID: "app", Credential: func(string) (azcore.TokenCredential, error) { return s, nil }}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// judged checks what is true of every error of a call, whatever the answer was.
func judged(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := fmt.Sprintf("%s %v %+v", err, err, err)
	if e, ok := errors.AsType[*Error](err); ok && e.Code != "" {
		text = strings.ReplaceAll(text, e.Code, "") // error.code is one short word, and kept
	}
	if strings.Contains(text, canary) {
		t.Fatalf("%s: the error quotes the answer: %v", what, err)
	}
	if v, ok := fault.As(err); ok && v.Delay < 0 {
		t.Fatalf("%s: delay %s", what, v.Delay)
	}
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Message != "" {
			t.Fatalf("%s: Graph's text of an answer that may hold a code: %q", what, e.Message)
		}
		for _, r := range e.Code {
			if unicode.IsSpace(r) || unicode.IsControl(r) {
				t.Fatalf("%s: code %q", what, e.Code)
			}
		}
		if len(e.Code) > 80 || e.RetryAfter < 0 {
			t.Fatalf("%s: code %q, retry after %s", what, e.Code, e.RetryAfter)
		}
	}
}

// FuzzAnswer: whatever Graph answers to the read of a device, to a reset and in an OData error, there is no panic, no delay
// below zero, and nothing of the body in an error. CANARY stands for a passcode.
func FuzzAnswer(f *testing.F) {
	for _, status := range []int{200, 204, 302, 400, 404, 429, 503} {
		f.Add(status, "12", []byte(odataBody))
		f.Add(status, "Mon, 05 Jan 2026 10:01:00 GMT", []byte(`{"id":"`+deviceX+`","deviceActionResults":[`+
			entry("#microsoft.graph.resetPasscodeActionResult", "resetPasscode", "done", "2026-01-05T10:00:02.1234567Z", `"CANARY"`)+`]}`))
	}
	f.Add(400, "-1", []byte(`{"error":{"code":"CANARY x","message":"CANARY","innerError":{"request-id":7}}}`))
	f.Add(200, "99999999999999999999", []byte(`{"value":{"id":"x","deviceActionResults":[{"passcode":["CANARY"]}]}}`))
	f.Add(200, "", []byte(`{"value":[{"passcode":"CANARY"}],"@odata.nextLink":"https://CANARY"}`))
	f.Fuzz(func(t *testing.T, status int, hint string, body []byte) {
		if status < 200 || status > 599 || strings.ContainsAny(hint, "\r\n\x00") {
			return // net/http gives no such answers
		}
		body = bytes.ReplaceAll(body, []byte("CANARY"), []byte(canary))
		s := said{status, http.Header{"Retry-After": {hint}, "Date": {"Mon, 05 Jan 2026 10:00:00 GMT"}}, body}
		reading, err := s.client(t).PasscodeResult(t.Context(), tenantA, deviceX, time.Time{})
		judged(t, "read", err)
		if reading.Action != nil && strings.Contains(fmt.Sprintf("%v %+v %#v", reading.Action, reading.Action, *reading.Action), canary) &&
			!strings.Contains(string(reading.Action.State), canary) {
			t.Fatalf("a reading prints its passcode")
		}
		_, err = s.client(t).ResetPasscode(t.Context(), tenantA, deviceX)
		judged(t, "reset", err)
		if err != nil && maybeExecuted(status) != errors.Is(err, ErrOutcomeUnknown) {
			t.Fatalf("status %d: unknown %t: %v", status, errors.Is(err, ErrOutcomeUnknown), err)
		}
	})
}

// FuzzBatch: whatever Graph answers to a batch of resets, each part has its own answer under its own id, a part that is not
// a success has an error, and one that is missing or unclear is never taken for not done.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"responses":[{"id":"C","status":429,"headers":{"retry-after":"12"},"body":{"error":{"code":"TooManyRequests"}}},{"id":"a","status":204},{"id":"b","status":400,"body":{"error":{"code":"CANARY","message":"CANARY"}}}]}`))
	f.Add([]byte(`{"responses":[{"id":"a","status":200,"body":{"passcode":"CANARY"}},{"id":"A","status":500},{"id":"b","status":-1},{"id":"c","status":99999}]}`))
	f.Add([]byte(`{"responses":null}`))
	f.Add([]byte(`{"responses":[{"id":1}]}`))
	f.Add([]byte(`{"responses":[{"id":"a","status":503,"headers":{"Retry-After":"-5","":"x"},"body":"CANARY"}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		body = bytes.ReplaceAll(body, []byte("CANARY"), []byte(canary))
		c := said{http.StatusOK, http.Header{"Date": {"Mon, 05 Jan 2026 10:00:00 GMT"}}, body}.client(t)
		sent := []BatchRequest{BatchResetPasscode("a", deviceX), BatchResetPasscode("b", deviceX), BatchResetPasscode("c", deviceX)}
		parts, err := c.Batch(t.Context(), tenantA, V1, sent)
		if err != nil {
			judged(t, "batch", err)
			if !errors.Is(err, ErrOutcomeUnknown) {
				t.Fatalf("an answer that can't be read says that nothing was done: %v", err)
			}
			return
		}
		if len(parts) != len(sent) {
			t.Fatalf("%d answers", len(parts))
		}
		for i, p := range parts {
			judged(t, "part", p.Err)
			good := p.Status >= 200 && p.Status < 300
			switch {
			case p.ID != sent[i].id:
				t.Fatalf("answer %d is of %q", i, p.ID)
			case good != (p.Err == nil):
				t.Fatalf("part with status %d: %v", p.Status, p.Err)
			case (p.Status == 0 || maybeExecuted(p.Status)) && !good && !errors.Is(p.Err, ErrOutcomeUnknown):
				t.Fatalf("part with status %d is taken for not done: %v", p.Status, p.Err)
			case p.Err == nil && strings.Contains(fmt.Sprintf("%v %+v", p, p), canary):
				t.Fatalf("a part prints its body: %v", p)
			}
			var v struct{ ID string }
			judged(t, "decode", p.Decode(&v))
		}
	})
}

// FuzzNextLink: a next link is followed only to where the token may go.
func FuzzNextLink(f *testing.F) {
	for _, link := range []string{"https://graph.example/v1.0/devices?$skiptoken=x", "https://graph.example/beta/devices", "https://graph.example.evil/v1.0/x", "https://graph.example@evil/v1.0/x",
		"http://graph.example/v1.0/x", "https://GRAPH.example/v1.0/../x", "https://graph.example/v1.0//evil/x", "//graph.example/v1.0/x", "https://graph.example/v1.0/\\evil", "https://graph.example/v1.0/?#"} {
		f.Add(link)
	}
	c, err := New(Config{Graph: "https://graph.example", Authority: "https://login.example", App: App{ClientID: "app", Credential: func(string) (azcore.TokenCredential, error) { return said{}, nil }}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, link string) {
		target, err := c.nextTarget(V1, link)
		if err != nil {
			if len(link) > 12 && strings.Contains(err.Error(), link) {
				t.Fatalf("the error quotes the link: %v", err)
			}
			return
		}
		u, err := url.Parse("https://graph.example/" + V1 + target)
		if err != nil || u.Host != "graph.example" || u.Scheme != "https" || u.User != nil || !strings.HasPrefix(target, "/") {
			t.Fatalf("%q leads to %q", link, target)
		}
		if utf8.ValidString(link) && !strings.HasSuffix(link, target[1:]) {
			t.Fatalf("%q became %q", link, target)
		}
	})
}
