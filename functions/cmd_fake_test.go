package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
)

const (
	contosoID  = "8f1e0c52-7d7a-4c0e-9a53-1f5b1c1d2e3f"
	neverID    = "2b7d9c14-6e05-4a8f-b3c1-90d4e5f6a718"
	fabrikamID = "1b6a4c7e-2d3f-4a5b-8c9d-0e1f2a3b4c5d"
	pixelID    = "3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13"
	laptopID   = "7d0e5f31-1a2b-4c3d-9e8f-5a6b7c8d9e0f"
	salesID    = "44444444-0000-4000-8000-000000000001"
	canary     = "48291137" // the passcode; it must be nowhere but in a reveal
	goodToken  = "pr_01JD.canary-token"
)

var fakeNow = time.Date(2026, 11, 22, 8, 14, 3, 0, time.UTC)

type object = map[string]any

// fakeAPI answers as the HTTP API does, in its shapes, for what the command line does with the answers. Whether the real API
// has these shapes is for the end-to-end tests.
type fakeAPI struct {
	t      *testing.T
	server *httptest.Server
	token  string // file

	mu        sync.Mutex
	tenants   []object
	devices   []object
	deviceKey string                // what a new key signs with; "" once it was shown
	facts     readiness.TenantFacts // of Contoso
	laptop    readiness.DeviceFacts
	states    []object // of the reset, one a reading; the last one stays
	stages    []object // of the rollout, likewise
	plan      object
	refuse    map[string]refusal  // by "METHOD path below the tenant", before anything else
	bodies    map[string][]object // what was sent, by the same
	onAnswer  func(what string)
}

type refusal struct {
	status int
	code   string
	detail string
	page   string
}

func startFake(t *testing.T) *fakeAPI {
	t.Helper()
	f := &fakeAPI{
		t: t, refuse: map[string]refusal{}, bodies: map[string][]object{}, onAnswer: func(string) {},
		tenants: []object{tenantObject(contosoID, "Contoso")},
		facts:   readiness.NotAudited(contosoID),
		devices: []object{
			deviceObject(pixelID, "sales-pixel-12", "AndroidEnterprise", object{"answer": "yes", "effect": "passcode", "text": "A new temporary passcode is made."}),
			deviceObject(laptopID, "hr-laptop-11", "Windows", object{"answer": "no", "code": "platform_not_supported", "text": "Windows has no remote passcode reset."}),
		},
		states: []object{resetObject("accepted", true, nil), resetObject("waiting", true, object{"why": "waiting_for_device", "whyText": "Waiting for the device to check in"}),
			resetObject("issued", false, object{"expiresAt": fakeNow.Add(7 * 24 * time.Hour), "readable": true})},
	}
	f.stages = []object{rolloutObject("accepted", true, nil), rolloutObject("watching", true, object{"placed": true, "percent": 50, "progress": progressObject(1, 1)}),
		rolloutObject("completed", false, object{"placed": true, "percent": 100, "progress": progressObject(2, 0)})}
	f.plan = planObject(object{"state": "passed", "links": []object{}})
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	f.token = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(f.token, []byte(goodToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func tenantObject(id, name string) object {
	return object{
		"id": id, "displayName": name, "addedAt": fakeNow, "addedBy": object{"kind": "operator", "id": "o1", "name": "Noor"},
		"settings": object{"passcodeHours": 168, "resetDeadlineHours": 24, "budgetHour": 10, "budgetDay": 30, "suspendAbove": 0, "suspendMinutes": 60}, "consent": consentObject("pending"),
	}
}

func consentObject(state string) object {
	return object{
		"state": state, "requestId": "run-1", "checks": 3, "next": "service", "steps": []object{
			{"name": "app", "title": "pinreset", "appId": "a", "state": "proven"},
			{"name": "service", "title": "Microsoft Pin Reset Service", "appId": "b", "state": "waiting", "why": "waiting_for_consent",
				"whyText": "Waiting for an administrator's consent", "link": "https://login.example/consent", "warning": "You will land on a page that looks like an error."},
		},
	}
}

func deviceObject(id, name, platform string, eligibility object) object {
	return object{
		"id": id, "name": name, "user": "ada@contoso.example", "platform": platform, "osVersion": "14", "serial": "S1",
		"lastSync": fakeNow.Add(-4 * time.Minute), "eligibility": eligibility,
	}
}

func resetObject(state string, open bool, more object) object {
	r := object{
		"id": "r1", "deviceId": pixelID, "deviceName": "sales-pixel-12", "user": "ada@contoso.example", "state": state, "open": open,
		"reason": "forgot it", "by": object{"kind": "operator", "id": "o1", "name": "Noor"}, "requestedAt": fakeNow, "readable": false, "views": 0,
	}
	for name, value := range more {
		r[name] = value
	}
	return r
}

func rolloutObject(state string, open bool, more object) object {
	r := object{
		"id": "p1", "state": state, "open": open, "placed": false, "shape": "oma-uri", "include": []string{salesID}, "policyName": "PIN recovery", "policyId": laptopID,
		"reason": "PINs are forgotten", "by": object{"kind": "operator", "id": "o1", "name": "Noor"}, "requestedAt": fakeNow, "writes": 2,
		"steps": []object{{"at": fakeNow, "text": "created the policy PIN recovery"}},
	}
	for name, value := range more {
		r[name] = value
	}
	return r
}

func progressObject(succeeded, pending int) object {
	return object{"at": fakeNow, "source": "intune", "succeeded": succeeded, "pending": pending, "failed": 0, "conflict": 0, "notApplicable": 7}
}

func planObject(guard object) object {
	return object{
		"hash": "abc123", "writes": 2, "etaSeconds": 0, "eta": 0, "nothing": false, "guard": guard, "findings": []object{},
		"desired": object{"shape": "oma-uri", "value": "on"}, "policy": object{"store": "deviceConfigurations", "id": ""},
		"calls": []object{{"method": "POST", "version": "v1.0", "path": "/deviceManagement/deviceConfigurations", "purpose": "create the policy", "body": object{"displayName": "PIN recovery"}}},
	}
}

// auditObject is an audit that found a policy removed and could not read the devices, or one that could read nothing.
func auditObject(outcome string) object {
	o := object{"id": "01A", "tenantId": contosoID, "outcome": outcome, "cause": "operator", "by": object{"kind": "operator", "id": "o1"}, "at": fakeNow,
		"parts": []object{}, "drift": []object{}, "changes": []object{}, "requests": 0, "throttled": 0}
	switch outcome {
	case "partly":
		o["state"], o["requests"] = "unknown", 12
		o["parts"] = []object{{"name": "service", "read": true}, {"name": "devices", "read": false, "code": "graph_forbidden", "text": "Refused."}}
		o["drift"] = []object{{"code": "policy_removed", "detail": "\"PIN recovery\" is gone", "remedyId": "p9"}}
		o["changes"] = []object{{"what": "policy", "before": "on", "after": "not there"}}
		o["status"] = object{"pending": 1, "succeeded": 3, "failed": 0, "notApplicable": 7}
	case "notaudited":
		o["code"], o["codeTitle"], o["diagnostics"] = "app_not_consented", "Not consented", "/tenants/"+contosoID+"/diag/7KQ4MXWD"
	}
	return o
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	rest, inTenant := strings.CutPrefix(path, "tenants/"+contosoID)
	what := r.Method + " " + path
	if inTenant {
		what = r.Method + " " + rest
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Errorf("read %s: %v", what, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(raw) > 0 {
		var body object
		if err := json.Unmarshal(raw, &body); err != nil {
			f.t.Errorf("%s sent %s", what, raw)
		}
		f.bodies[what] = append(f.bodies[what], body)
	}
	defer f.onAnswer(what)
	w.Header().Set("X-Correlation-Id", "corr-1")
	if r.Header.Get("Authorization") != "Bearer "+goodToken {
		refusal{401, "unauthenticated", "The request carries no valid bearer token.", ""}.write(w)
		return
	}
	if no, ok := f.refuse[what]; ok {
		no.write(w)
		return
	}
	if r.Method == http.MethodPost && r.Header.Get("Idempotency-Key") == "" && what != "POST events" && what != "POST /policies/plan" && !strings.HasSuffix(what, "/reveal") {
		f.t.Errorf("%s has no Idempotency-Key", what)
	}
	status, body := f.answer(what, r)
	if status == http.StatusNotFound {
		refusal{404, "not_found", "What you asked for does not exist, or not for you.", ""}.write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (no refusal) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(no.status)
	_ = json.NewEncoder(w).Encode(object{
		"type": "/problems/" + no.code, "title": "Title of " + no.code, "status": no.status, "detail": no.detail, "code": no.code,
		"instance": no.page, "correlationId": "corr-1", "retryable": false, "fix": []string{"Do this first."}, "learnMore": []string{},
	})
}

func (f *fakeAPI) answer(what string, r *http.Request) (int, any) {
	path := r.URL.Path
	items := func(list ...object) (int, any) { return 200, object{"items": list} }
	attempt := object{
		"requestId": "r1", "function": "passcodereset", "kind": "passcode.reset.requested.v1", "startedAt": fakeNow, "milliseconds": 12.4, "verdict": "failed",
		"code": "device_action_failed", "steps": []object{{"at": fakeNow, "kind": "call", "text": "POST deviceManagement/managedDevices", "status": 204, "milliseconds": 80.2, "requestId": "graph-1"}},
	}
	failed := object{"id": "7KQ4MXWD", "requestId": "r1", "function": "passcodereset", "code": "device_action_failed", "at": fakeNow, "title": "The device reported a failure"}
	letter := object{"id": "l1", "queue": "passcode-reset", "messageId": "m1", "kind": "passcode.reset.requested.v1", "reason": "attempts_exhausted", "title": "t", "at": fakeNow, "deliveries": 10}
	switch what {
	case "GET tenants":
		return items(f.tenants...)
	case "POST tenants":
		return 202, tenantObject(contosoID, "Contoso")
	case "GET ":
		return 200, f.tenants[0]
	case "PATCH /settings":
		return 200, object{"passcodeHours": 8, "resetDeadlineHours": 24}
	case "GET /consent":
		return 200, f.tenants[0]["consent"]
	case "GET /readiness":
		return 200, client.TenantReadiness{TenantID: contosoID, TenantVerdict: readiness.Tenant(f.facts)}
	case "GET /devices/" + laptopID + "/readiness", "GET /devices/" + pixelID + "/readiness":
		facts := f.laptop
		if strings.Contains(what, pixelID) {
			facts = readiness.DeviceFacts{Managed: reading.Read(readiness.Managed{Name: "sales-pixel-12", OperatingSystem: "AndroidForWork", OSVersion: "14"})}
		}
		m, _ := facts.Managed.Get()
		r, _ := facts.Report.Get()
		return 200, client.DeviceReadiness{TenantID: contosoID, DeviceID: path[strings.Index(path, "devices/")+8 : len(path)-len("/readiness")], Name: m.Name, User: m.User,
			ReadAt: fakeNow, AuditedAt: f.facts.ReadAt, ReportedAt: r.ReportedAt, Paths: readiness.Device(f.facts, facts)}
	case "POST /consent":
		return 202, object{"requestId": "run-1"}
	case "GET /devices":
		var found []object
		for _, d := range f.devices {
			if s := r.URL.Query().Get("search"); s == "" || s == d["name"] || s == d["user"] {
				found = append(found, d)
			}
		}
		return items(found...)
	case "GET /devices/" + pixelID:
		d := f.devices[0]
		d["resets"] = []object{f.states[0]}
		return 200, d
	case "GET /devices/" + laptopID:
		return 200, f.devices[1]
	case "POST /devices/" + pixelID + "/resets", "POST /devices/" + laptopID + "/resets":
		return 202, f.states[0]
	case "POST /devices/" + laptopID + "/keys":
		return 201, object{"id": "k1", "deviceId": laptopID, "scheme": "v1a", "publicKey": "whpk_x", "createdAt": fakeNow, "callback": "/callbacks/devices/x.k1", "key": f.deviceKey}
	case "GET /devices/" + laptopID + "/keys":
		return items(object{"id": "k1", "deviceId": laptopID, "scheme": "v1a", "createdAt": fakeNow, "callback": "/callbacks/devices/x.k1"})
	case "DELETE /devices/" + laptopID + "/keys/k1":
		return 200, object{"id": "k1", "deviceId": laptopID, "scheme": "v1a", "createdAt": fakeNow, "revokedAt": fakeNow, "callback": "/callbacks/devices/x.k1"}
	case "GET /resets":
		return items(f.states[0], f.states[len(f.states)-1])
	case "GET /resets/r1":
		if len(f.states) > 1 {
			defer func() { f.states = f.states[1:] }()
		}
		return 200, f.states[0]
	case "POST /resets/r1/cancel":
		return 200, resetObject("cancelled", false, nil)
	case "POST /resets/r1/reveal":
		return 200, object{"passcode": canary, "expiresAt": fakeNow.Add(24 * time.Hour), "views": 2, "deviceName": "sales-pixel-12", "user": "ada@contoso.example"}
	case "GET /policies":
		return 200, object{"readAt": fakeNow, "policies": []object{{"id": laptopID, "name": "PIN recovery", "shape": "oma-uri", "setting": "pin-recovery", "scope": "device", "value": "on", "assignments": []object{}}},
			"findings": []object{{"code": "policy_unassigned", "severity": "warning", "text": "Nobody has it.", "fix": "Assign it.", "policyId": laptopID}}}
	case "POST /policies/plan":
		return 200, f.plan
	case "POST /rollouts", "POST /rollouts/p1/rollback":
		return 202, f.stages[0]
	case "GET /rollouts":
		return items(f.stages[0])
	case "GET /rollouts/p1":
		if len(f.stages) > 1 {
			defer func() { f.stages = f.stages[1:] }()
		}
		return 200, f.stages[0]
	case "GET /failures":
		return items(failed)
	case "GET /failures/7KQ4MXWD":
		failed["link"], failed["cause"], failed["fix"], failed["timeline"] = "/tenants/"+contosoID+"/diag/7KQ4MXWD", "Because.", []string{"Let the device synchronise."}, []object{attempt}
		return 200, failed
	case "GET /deadletters":
		return items(letter)
	case "GET /deadletters/l1":
		return 200, letter
	case "POST /deadletters/l1/replay", "POST /deadletters/l1/drop":
		return 200, object{"id": "l1"}
	case "GET audits":
		return items(object{"tenant": "Contoso", "tenantId": contosoID, "audit": auditObject("partly"), "trend": []object{}}, object{"tenant": "=cmd()", "tenantId": neverID, "trend": []object{}})
	case "POST audits":
		return 202, object{"id": "00RUN", "tenants": 0, "sent": false}
	case "GET audits/runs/00RUN":
		return 200, object{"id": "00RUN", "tenants": 1, "sent": true}
	case "POST /audits":
		return 202, auditObject("pending")
	case "GET /audits":
		return items(auditObject("partly"))
	case "GET /audits/01A":
		return 200, auditObject("partly")
	case "GET /audits/01B":
		return 200, auditObject("notaudited")
	case "GET /audit":
		return items(object{"id": "a1", "at": fakeNow, "actor": object{"kind": "operator", "id": "o1", "name": "Noor"}, "action": "passcode.revealed", "reason": "line\nbreak\t\x1b[31m"})
	case "GET /events":
		return items(object{"specversion": "1.0", "id": "e1", "type": "dev.pinreset.passcode.reset.issued.v1", "time": fakeNow, "subject": "devices/" + pixelID, "data": object{"requestId": "r1"}})
	case "POST events":
		return 202, object{"id": "e1", "requestId": "r1", "location": "/v1/tenants/" + contosoID + "/resets/r1"}
	case "GET tokens":
		return items(object{"id": "t1", "name": "ci", "tenants": []string{"*"}, "permissions": []string{"tenant.read", "device.read"}, "createdAt": fakeNow, "createdBy": object{"kind": "system", "id": "pinreset"}})
	case "POST tokens":
		return 201, object{"id": "t2", "name": "ci", "token": "pr_new"}
	case "POST tokens/t1/revoke":
		return 200, object{"id": "t1"}
	}
	return 404, nil
}

// sent returns the bodies that were sent.
func (f *fakeAPI) sent(what string) []object {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bodies[what]
}

// change changes what the server knows.
func (f *fakeAPI) change(to func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	to()
}

// refuses makes the server refuse one call from now on.
func (f *fakeAPI) refuses(what string, no refusal) { f.change(func() { f.refuse[what] = no }) }

// reset makes the server answer with these states of the reset.
func (f *fakeAPI) reset(states ...object) { f.change(func() { f.states = states }) }

// getenv is the environment of a command.
func (f *fakeAPI) getenv(name string) string {
	return map[string]string{envServer: f.server.URL, envTokenFile: f.token}[name]
}

// screen is a terminal: what is written is kept, and keys are what the person types.
type screen struct {
	bytes.Buffer
	person bool
}

func (s *screen) IsTerminal() bool { return s.person }

type keys struct {
	io.Reader
	person bool
}

func (k keys) IsTerminal() bool { return k.person }

// ended is how a command ended.
type ended struct {
	exit     int
	out, err string
}

// typed runs a command at a terminal where the person types the text; piped runs one in a pipe.
func (f *fakeAPI) typed(text string, args ...string) ended {
	return f.do(f.t.Context(), true, text, args...)
}

func (f *fakeAPI) piped(args ...string) ended { return f.do(f.t.Context(), false, "", args...) }

func (f *fakeAPI) do(ctx context.Context, person bool, text string, args ...string) ended {
	f.t.Helper()
	out, errs := &screen{person: person}, &screen{person: person}
	p := newProcess(f.getenv, keys{strings.NewReader(text), person}, out, errs)
	p.now = func() time.Time { return fakeNow }
	p.sleep = func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) }
	return ended{p.run(ctx, args), out.String(), errs.String()}
}
