package graphsim

import (
	"fmt"
	"strings"
	"testing"
)

// parts sends a batch and returns its parts by id.
func (s *sim) parts(version, token, requests string) map[string]map[string]any {
	s.t.Helper()
	r := s.want(200, "POST", "/"+version+"/$batch", token, `{"requests":[`+requests+`]}`)
	byID := make(map[string]map[string]any)
	for _, part := range r.body["responses"].([]any) {
		p := part.(map[string]any)
		byID[p["id"].(string)] = p
	}
	return byID
}

func wantStatus(t *testing.T, parts map[string]map[string]any, want map[string]int) {
	t.Helper()
	for id, status := range want {
		if got := fmt.Sprint(parts[id]["status"]); got != fmt.Sprint(status) {
			t.Errorf("part %s: status %s, want %d: %v", id, got, status, parts[id]["body"])
		}
	}
	if len(parts) != len(want) {
		t.Errorf("%d parts, want %d", len(parts), len(want))
	}
}

func TestBatchRules(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped})
	general, _ := s.Apps()
	token := s.token(Contoso, general)
	get := func(id string) string { return `{"id":"` + id + `","method":"GET","url":"/organization?$select=id"}` }
	many := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, get(fmt.Sprint("r", i)))
		}
		return strings.Join(list, ",")
	}
	if got := s.parts("v1.0", token, many(20)); len(got) != 20 {
		t.Errorf("%d parts answered, want 20", len(got))
	}
	for what, requests := range map[string]string{
		"21 parts":           many(21),
		"no part":            "",
		"same id":            get("a") + "," + get("A"),
		"no url":             `{"id":"1","method":"GET"}`,
		"unknown dependency": `{"id":"1","method":"GET","url":"/groups","dependsOn":["2"]}`,
		"circle":             `{"id":"1","method":"GET","url":"/groups","dependsOn":["2"]},{"id":"2","method":"GET","url":"/groups","dependsOn":["1"]}`,
	} {
		if r := s.want(400, "POST", "/v1.0/$batch", token, `{"requests":[`+requests+`]}`); r.code() == "" {
			t.Errorf("%s: no error code", what)
		}
	}
	parts := s.parts("v1.0", token,
		get("ok")+`,{"id":"missing","method":"GET","url":"/groups/none"}`+
			`,{"id":"after","method":"GET","url":"/groups","dependsOn":["missing"]}`+
			`,{"id":"then","method":"GET","url":"/groups","dependsOn":["ok"]}`+
			`,{"id":"forbidden","method":"POST","url":"/servicePrincipals","headers":{"Content-Type":"application/json"},"body":{"appId":"x"}}`+
			`,{"id":"untyped","method":"POST","url":"/servicePrincipals","body":{"appId":"x"}}`)
	wantStatus(t, parts, map[string]int{"ok": 200, "missing": 404, "after": 424, "then": 200, "forbidden": 403, "untyped": 400})
	// One version per batch. The recorder would take beta paths for mistakes.
	wantStatus(t, s.parts("beta", token, `{"id":"1","method":"GET","url":"/v1.0/organization"}`), map[string]int{"1": 405})
	s.want(401, "POST", "/v1.0/$batch", "", `{"requests":[`+get("1")+`]}`)
}

func TestBatchAnswersAreShuffled(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped})
	general, _ := s.Apps()
	var list []string
	for i := range 20 {
		list = append(list, fmt.Sprintf(`{"id":"%02d","method":"GET","url":"/organization"}`, i))
	}
	for range 5 {
		r := s.want(200, "POST", "/v1.0/$batch", s.token(Contoso, general), `{"requests":[`+strings.Join(list, ",")+`]}`)
		last, inOrder := "", true
		for _, part := range r.body["responses"].([]any) {
			id := part.(map[string]any)["id"].(string)
			inOrder = inOrder && id > last
			last = id
		}
		if !inOrder {
			return
		}
	}
	t.Error("five batches came back in order")
}

func TestBatchedActions(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped, Limits: Limits{DeviceWrites: Limit{N: 2}}})
	_, privileged := s.Apps()
	token := s.token(Contoso, privileged)
	action := func(id, device, rest string) string {
		return `{"id":"` + id + `","method":"POST","url":"/deviceManagement/managedDevices/` + s.deviceID(Contoso, device) + `/resetPasscode"` + rest + `}`
	}
	const typed = `,"headers":{"Content-Type":"application/json"},"body":{}`
	parts := s.parts("v1.0", token,
		action("good", "sales-pixel-12", typed)+","+
			action("bare", "store-kiosk-07", "")+","+
			action("untyped", "store-kiosk-07", `,"body":{}`)+","+
			action("second", "ceo-iphone", typed)+","+
			action("third", "board-ipad-01", typed))
	wantStatus(t, parts, map[string]int{"good": 204, "bare": 400, "untyped": 400, "second": 204, "third": 429})
	headers, _ := parts["third"]["headers"].(map[string]any)
	if headers["Retry-After"] != "20" {
		t.Errorf("throttled part has headers %v", headers)
	}
	if n := s.Counters().Tenants[0].Resets; n["sales-pixel-12"] != 1 || n["store-kiosk-07"] != 0 || n["board-ipad-01"] != 0 {
		t.Errorf("resets %v", n)
	}
}

func TestLostPartIsMissing(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped})
	_, privileged := s.Apps()
	s.must(s.Inject(Contoso, Fault{Kind: LostAnswer}))
	parts := s.parts("v1.0", s.token(Contoso, privileged),
		`{"id":"1","method":"POST","url":"/deviceManagement/managedDevices/`+s.deviceID(Contoso, "sales-pixel-12")+`/resetPasscode","headers":{"Content-Type":"application/json"},"body":{}}`)
	if len(parts) != 0 || s.Counters().Tenants[0].Resets["sales-pixel-12"] != 1 {
		t.Errorf("parts %v, want none although it took effect", parts)
	}
}
