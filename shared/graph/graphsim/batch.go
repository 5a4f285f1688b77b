package graphsim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxParts is how many requests one batch may have (json-batching.md).
const maxParts = 20

type batchRequest struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []string          `json:"dependsOn"`
}

type batchResponse struct {
	ID      string            `json:"id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    any               `json:"body,omitempty"`
}

// batch runs the parts one by one, each with its own permissions, throttling
// and faults, and answers them in no order. A part whose answer is lost is
// missing from the answer.
func (c *Cloud) batch(ctx context.Context, outer *call, e envelope) answer {
	if outer.method != http.MethodPost {
		return problem(http.StatusMethodNotAllowed, "Request_BadRequest", "A batch is sent with POST.")
	}
	var body struct {
		Requests []batchRequest `json:"requests"`
	}
	if err := json.Unmarshal(outer.body, &body); err != nil {
		return badRequest("Unable to read JSON request payload.")
	}
	if refused := checkParts(body.Requests); refused != nil {
		return *refused
	}
	statuses := make(map[string]int)
	responses := []batchResponse{}
	for _, part := range inOrder(body.Requests) {
		a := c.part(ctx, outer, part, statuses)
		statuses[strings.ToLower(part.ID)] = a.status
		if a.lost {
			continue
		}
		if a.body != nil {
			a.set("Content-Type", "application/json")
		}
		responses = append(responses, batchResponse{ID: part.ID, Status: a.status, Headers: a.header, Body: e.finish(a)})
	}
	rand.Shuffle(len(responses), func(i, j int) { responses[i], responses[j] = responses[j], responses[i] })
	return answer{status: http.StatusOK, body: map[string]any{"responses": responses}}
}

// checkParts refuses what makes the whole batch invalid.
func checkParts(parts []batchRequest) *answer {
	fail := func(format string, args ...any) *answer {
		a := badRequest(fmt.Sprintf(format, args...))
		return &a
	}
	if len(parts) == 0 || len(parts) > maxParts {
		return fail("Number of batch request steps must be between 1 and %d.", maxParts)
	}
	seen := make(map[string]bool)
	for _, p := range parts {
		id := strings.ToLower(p.ID)
		switch {
		case id == "" || p.Method == "" || p.URL == "":
			return fail("A batch request step needs id, method and url.")
		case seen[id]:
			return fail("Request id '%s' is used more than once.", p.ID)
		}
		seen[id] = true
	}
	for _, p := range parts {
		for _, id := range p.DependsOn {
			if !seen[strings.ToLower(id)] || strings.EqualFold(id, p.ID) {
				return fail("Request '%s' depends on '%s', which is not another part of the batch.", p.ID, id)
			}
		}
	}
	if len(inOrder(parts)) != len(parts) {
		return fail("The dependencies of the batch form a circle.")
	}
	return nil
}

// inOrder returns the parts with dependencies first. Parts of a circle are
// left out.
func inOrder(parts []batchRequest) []batchRequest {
	var ordered []batchRequest
	done := make(map[string]bool)
	for range parts {
		for _, p := range parts {
			ready := !slices.ContainsFunc(p.DependsOn, func(id string) bool { return !done[strings.ToLower(id)] })
			if id := strings.ToLower(p.ID); ready && !done[id] {
				done[id] = true
				ordered = append(ordered, p)
			}
		}
	}
	return ordered
}

func (c *Cloud) part(ctx context.Context, outer *call, p batchRequest, statuses map[string]int) answer {
	for _, id := range p.DependsOn {
		if s := statuses[strings.ToLower(id)]; s < 200 || s >= 300 {
			return problem(http.StatusFailedDependency, "FailedDependency", "A request that this one depends on failed.")
		}
	}
	u, err := url.Parse("/" + strings.TrimPrefix(p.URL, "/"))
	if err != nil {
		return badRequest("The url of the batch step is not valid.")
	}
	k := &call{
		t: outer.t, appID: outer.appID, roles: outer.roles, beta: outer.beta, base: outer.base,
		method: strings.ToUpper(p.Method), path: strings.TrimPrefix(u.Path, "/"), query: u.Query(),
		header: make(http.Header), body: p.Body,
	}
	for name, value := range p.Headers {
		k.header.Set(name, value)
	}
	if otherVersion(k) {
		return problem(http.StatusMethodNotAllowed, "BadRequest", "All requests of a batch go to the version of the batch.")
	}
	rt, refused := k.match()
	if refused != nil {
		return *refused
	}
	hasBody := len(p.Body) > 0 && !bytes.Equal(p.Body, []byte("null"))
	isJSON := strings.HasPrefix(k.header.Get("Content-Type"), "application/json")
	switch {
	case hasBody && !isJSON:
		return badRequest("Write request id '" + p.ID + "' has a body without a Content-Type header.")
	case rt.action && !hasBody:
		return badRequest("Write request id '" + p.ID + "' does not contain a Content-Type header or a body.")
	}
	return c.serve(ctx, k)
}

// otherVersion reports a path that belongs to the other version.
func otherVersion(k *call) bool {
	first, _, _ := strings.Cut(k.path, "/")
	return first == "v1.0" || first == "beta"
}
