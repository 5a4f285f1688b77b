package graphschema

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// A Report says what one check looked at and what it found wrong.
type Report struct {
	Properties int      // properties and query names checked
	Violations []string // each starts with the property path or the part of the request
}

// CheckRequest checks a request: its path, the bound operation, the names in
// its query options and the properties of its body. Target is path and query
// relative to the version, "/servicePrincipals?$select=id"; body may be empty.
func (s *Schema) CheckRequest(method, target string, body []byte) Report {
	res, query, err := s.locate(target)
	if err != nil {
		return Report{Violations: []string{err.Error()}}
	}
	if res.batch {
		return s.checkBatchRequest(body)
	}
	c := &checker{schema: s}
	checked, wrong := s.checkQuery(res.typ, query)
	c.properties += checked
	c.violations = append(c.violations, wrong...)
	if op := res.operation; op != nil {
		if want := map[string]string{"action": http.MethodPost, "function": http.MethodGet}[op.Kind]; method != want {
			c.fail("method", "%s %s is called with %s, not %s", op.Kind, op.Name, want, method)
		}
	}
	if len(body) > 0 {
		c.requestBody(res, body)
	}
	return Report{c.properties, c.violations}
}

func (c *checker) requestBody(res resource, body []byte) {
	value, err := decode(body)
	if err != nil {
		c.fail("body", "%v", err)
		return
	}
	if op := res.operation; op != nil {
		members, ok := value.(map[string]any)
		if !ok {
			c.fail("body", "want an object with the parameters of %s", op.Name)
		}
		for name, member := range members {
			typ, ok := op.Parameters[name]
			if !ok {
				c.fail("body."+name, "%s has no such parameter", op.Name)
				continue
			}
			c.properties++
			c.value("body."+name, Property{Type: typ}, member)
		}
		return
	}
	element, _ := elementOf(res.typ)
	c.object("body", element, value)
}

// CheckResponse checks the answer to a request: an error body for a status of
// 400 and above, an empty body for 204, else the type that the target names.
func (s *Schema) CheckResponse(target string, status int, body []byte) Report {
	res, _, err := s.locate(target)
	if status >= 400 {
		// An unknown path answers with an error too.
		return s.checkError(body)
	}
	if err != nil {
		return Report{Violations: []string{err.Error()}}
	}
	if res.batch {
		return s.checkBatchResponse(body)
	}
	c := &checker{schema: s}
	if status == http.StatusNoContent || len(body) == 0 {
		if len(body) > 0 {
			c.fail("body", "204 with a body")
		}
		return Report{c.properties, c.violations}
	}
	if res.typ == "" {
		c.fail("body", "the operation returns nothing, got %d bytes", len(body))
		return Report{c.properties, c.violations}
	}
	value, err := decode(body)
	if err != nil {
		c.fail("body", "%v", err)
		return Report{c.properties, c.violations}
	}
	if element, ok := elementOf(res.typ); ok && status != http.StatusCreated {
		c.collection(element, value)
	} else {
		c.value("body", Property{Type: element}, value)
	}
	return Report{c.properties, c.violations}
}

func (c *checker) collection(element string, value any) {
	envelope, ok := value.(map[string]any)
	if !ok {
		c.fail("body", "want a collection envelope, got %s", describe(value))
		return
	}
	for name := range envelope {
		if name != "value" && !strings.HasPrefix(name, "@odata.") {
			c.fail("body."+name, "not part of a collection")
		}
	}
	if _, ok := envelope["value"]; !ok {
		c.fail("body.value", "missing")
		return
	}
	c.value("body.value", Property{Type: "Collection(" + element + ")"}, envelope["value"])
}

// checkError checks {"error":{"code","message","innerError":{…}}}. Only the
// inner error is an open type.
func (s *Schema) checkError(body []byte) Report {
	c := &checker{schema: s}
	value, err := decode(body)
	if err != nil {
		c.fail("body", "%v", err)
		return Report{c.properties, c.violations}
	}
	envelope, _ := value.(map[string]any)
	problem, ok := envelope["error"].(map[string]any)
	if !ok || len(envelope) != 1 {
		c.fail("body", "want one member named error")
		return Report{c.properties, c.violations}
	}
	for _, name := range []string{"code", "message"} {
		if text, ok := problem[name].(string); !ok || text == "" {
			c.fail("body.error."+name, "missing or empty")
		}
	}
	for name, member := range problem {
		p, ok := s.Property("publicError", name)
		if !ok {
			c.fail("body.error."+name, "publicError has no such property")
			continue
		}
		c.properties++
		if name == "innerError" {
			if _, ok := member.(map[string]any); !ok {
				c.fail("body.error.innerError", "want an object, got %s", describe(member))
			}
			continue
		}
		c.value("body.error."+name, p, member)
	}
	return Report{c.properties, c.violations}
}

// A batchPart is one member of "requests" or "responses" of a $batch.
type batchPart struct {
	ID     string          `json:"id"`
	Method string          `json:"method"`
	URL    string          `json:"url"`
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"`
}

func (s *Schema) checkBatchRequest(body []byte) Report {
	var envelope struct {
		Requests []batchPart `json:"requests"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return Report{Violations: []string{fmt.Sprintf("decode batch: %v", err)}}
	}
	var all Report
	for _, part := range envelope.Requests {
		all.add("requests["+part.ID+"] ", s.CheckRequest(part.Method, part.URL, part.Body))
	}
	return all
}

// checkBatchResponse checks the envelope; the parts are checked by
// [Schema.CheckBatch], which knows the requests.
func (s *Schema) checkBatchResponse(body []byte) Report {
	var envelope struct {
		Responses []batchPart `json:"responses"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return Report{Violations: []string{fmt.Sprintf("decode batch: %v", err)}}
	}
	all := Report{Properties: len(envelope.Responses)}
	for _, part := range envelope.Responses {
		if part.ID == "" || part.Status < 100 {
			all.Violations = append(all.Violations, "responses: a part without id or status")
		}
	}
	return all
}

// CheckBatch checks each part of a batch response against the request of the
// same id. Ids are not case-sensitive.
func (s *Schema) CheckBatch(request, response []byte) Report {
	var asked struct {
		Requests []batchPart `json:"requests"`
	}
	var answered struct {
		Responses []batchPart `json:"responses"`
	}
	if err := json.Unmarshal(request, &asked); err != nil {
		return Report{Violations: []string{fmt.Sprintf("decode batch request: %v", err)}}
	}
	if err := json.Unmarshal(response, &answered); err != nil {
		return Report{Violations: []string{fmt.Sprintf("decode batch response: %v", err)}}
	}
	targets := make(map[string]string)
	for _, part := range asked.Requests {
		targets[strings.ToLower(part.ID)] = part.URL
	}
	var all Report
	for _, part := range answered.Responses {
		target, ok := targets[strings.ToLower(part.ID)]
		if !ok {
			all.Violations = append(all.Violations, "responses["+part.ID+"]: nobody asked for it")
			continue
		}
		all.add("responses["+part.ID+"] ", s.CheckResponse(target, part.Status, part.Body))
	}
	return all
}

func (r *Report) add(prefix string, other Report) {
	r.Properties += other.Properties
	for _, v := range other.Violations {
		r.Violations = append(r.Violations, prefix+v)
	}
}

// locate parses a target and resolves its path.
func (s *Schema) locate(target string) (resource, url.Values, error) {
	u, err := url.Parse(target)
	if err != nil {
		return resource{}, nil, fmt.Errorf("parse target: %w", err)
	}
	res, err := s.resolve(u.Path)
	return res, u.Query(), err
}
