package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pinreset/shared/fault"
)

func TestBatchCorrelatesById(t *testing.T) {
	t.Parallel()
	var sent struct {
		Requests []map[string]any
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, `{"responses":[
			{"id":"C","status":429,"headers":{"retry-after":"12"},"body":{"error":{"code":"TooManyRequests"}}},
			{"id":"x","status":200,"body":{}},
			{"id":"a","status":204,"headers":{"request-id":"ra"}},
			{"id":"d","status":400,"body":{"error":{"code":"BadRequest"}}}]}`)
	})
	c := s.client(t, nil)
	got, err := c.Batch(t.Context(), tenantA, V1, []BatchRequest{
		BatchResetPasscode("a", deviceX), BatchResetPasscode("b", deviceX), BatchResetPasscode("c", deviceX), BatchResetPasscode("d", deviceX),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || got[0].Status != 204 || got[0].Err != nil || got[0].RequestID != "ra" || got[0].Date.IsZero() {
		t.Errorf("parts %+v", got)
	}
	for i, want := range []struct {
		code    fault.Code
		unknown bool
	}{1: {fault.GraphUnavailable, true}, 2: {fault.GraphThrottled, true}, 3: {fault.GraphRefused, false}} {
		if i > 0 && (fault.CodeOf(got[i].Err) != want.code || errors.Is(got[i].Err, ErrOutcomeUnknown) != want.unknown) {
			t.Errorf("part %d: %v", i, got[i].Err)
		}
	}
	if v, _ := fault.As(got[2].Err); v.Delay != 12*time.Second {
		t.Errorf("throttled part: %v", got[2].Err)
	}
	first := sent.Requests[0]
	data, _ := json.Marshal(first)
	want := `{"body":{},"headers":{"Content-Type":"application/json"},"id":"a","method":"POST","url":"/deviceManagement/managedDevices/` + deviceX + `/resetPasscode"}`
	if string(data) != want {
		t.Errorf("part is sent as %s", data)
	}
	if s.posts.Load() != 1 {
		t.Errorf("%d POSTs", s.posts.Load())
	}
	// Each part took a permit, and the throttled one stops the family.
	if f := c.Snapshot().Families[0]; f.Writes != 4 || f.Calls != 5 || f.Blocked != 1 {
		t.Errorf("snapshot %+v", f)
	}
}

func TestBatchOfReads(t *testing.T) {
	t.Parallel()
	s := serve(t, answerWith(200, nil, `{"responses":[{"id":"2","status":404,"body":{"error":{"code":"Request_ResourceNotFound","message":"m"}}},{"id":"1","status":200,"body":{"id":"o","displayName":"Contoso"}}]}`))
	got, err := s.client(t, nil).Batch(t.Context(), tenantA, Beta, []BatchRequest{BatchGet("1", "/organization"), BatchGet("2", "/groups/"+spX)})
	if err != nil {
		t.Fatal(err)
	}
	var org Organization
	if err := got[0].Decode(&org); err != nil || org.DisplayName != "Contoso" {
		t.Errorf("%+v %v", org, err)
	}
	e, ok := errors.AsType[*Error](got[1].Err)
	if !errors.Is(got[1].Err, ErrNotFound) || !ok || e.Path != "/beta/groups/{id}" || e.Code != "Request_ResourceNotFound" {
		t.Errorf("error %v", got[1].Err)
	}
}

func TestBatchRules(t *testing.T) {
	t.Parallel()
	s := serve(t, answerWith(200, nil, `{}`))
	c := s.client(t, nil)
	var many []BatchRequest
	for i := range 21 {
		many = append(many, BatchGet(fmt.Sprint(i), "/organization"))
	}
	for name, requests := range map[string][]BatchRequest{
		"none":         nil,
		"too many":     many,
		"same id":      {BatchGet("a", "/organization"), BatchGet("A", "/organization")},
		"no id":        {BatchGet("", "/organization")},
		"absolute":     {BatchGet("1", "https://evil.example/")},
		"other host":   {BatchGet("1", "//evil.example/")},
		"nested":       {BatchGet("1", "/$batch")},
		"mixed":        {BatchGet("1", "/organization"), BatchResetPasscode("2", deviceX)},
		"zero request": {{}},
	} {
		if _, err := c.Batch(t.Context(), tenantA, V1, requests); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, version := range []string{"", "v2", "../v1.0"} {
		if _, err := c.Batch(t.Context(), tenantA, version, many[:1]); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("version %q: %v", version, err)
		}
	}
	if s.posts.Load() != 0 {
		t.Error("something was sent")
	}
}

func TestBatchLostAcknowledgement(t *testing.T) {
	t.Parallel()
	for name, graph := range map[string]http.HandlerFunc{
		"cut":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"garbage": answerWith(200, nil, strings.Repeat("x", 10)),
	} {
		s := serve(t, graph)
		_, err := s.client(t, nil).Batch(t.Context(), tenantA, V1, []BatchRequest{BatchResetPasscode("1", deviceX)})
		if !errors.Is(err, ErrOutcomeUnknown) || s.posts.Load() != 1 {
			t.Errorf("%s: %v after %d POSTs", name, err, s.posts.Load())
		}
	}
}
