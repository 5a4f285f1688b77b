package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/onboarding"
	policies "pinreset/shared/policy"
)

// wire answers the reads of an audit as Graph's JSON. Audits decode that themselves, out of batches, so that the client is the
// real one, over this round-tripper. There is no limit in it: nothing here waits by a real clock.
type wire struct{ w *world }

const graphBase = "https://graph.simulation"

func newClient(w *world) *graph.Client {
	c, err := graph.New(graph.Config{
		Graph: graphBase, Transport: wire{w}, Limits: &graph.Limits{}, WaitPeople: -1, WaitBulk: -1, Now: w.clock, Jitter: w.rng.Float64,
		NewID: func() string { return "00000000-0000-4000-8000-000000000000" },
		App: graph.App{ClientID: appID, Credential: func(tenant string) (azcore.TokenCredential, error) {
			return token(tenant), nil
		}},
	})
	if err != nil {
		panic(err) // the configuration is a constant
	}
	return c
}

var errReset = errors.New("connection reset")

// token is a tenant's, and names it.
type token string

func (t token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: start.AddDate(100, 0, 0)}, nil
}

// RoundTrip answers one request: all of a batch goes wrong, or one part of it.
func (x wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w := x.w
	tenant := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	m, err := w.cloud.call(readBatch, tenant, "")
	if w.cur.dead {
		return nil, errCrashed
	}
	if m == noAnswer {
		return nil, errReset
	}
	if v, ok := fault.As(err); ok {
		status := http.StatusServiceUnavailable
		switch v.Code {
		case fault.GraphThrottled:
			status = http.StatusTooManyRequests
		case fault.GraphForbidden:
			status = http.StatusForbidden
		}
		return x.answer(req, status, v.Delay, refusal(status)), nil
	}
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(req.URL.Path, "/$batch") {
		_, target, _ := strings.Cut(strings.TrimPrefix(req.URL.RequestURI(), "/"), "/")
		status, body := x.read(tenant, "/"+target, w.now)
		if err := w.after(m); err != nil {
			return nil, err
		}
		return x.answer(req, status, 0, body), nil
	}
	var batch struct {
		Requests []struct{ ID, URL string }
	}
	if err := json.NewDecoder(req.Body).Decode(&batch); err != nil {
		return nil, err
	}
	broken := -1
	if m == partUnavailable || m == partThrottled || m == partForbidden {
		broken = w.rng.IntN(len(batch.Requests))
	}
	at := w.now
	if m == stale {
		at = at.Add(-w.upTo(replicaLag))
	}
	type part struct {
		ID      string            `json:"id"`
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers,omitempty"`
		Body    json.RawMessage   `json:"body"`
	}
	var parts []part
	for i, r := range batch.Requests {
		p := part{ID: r.ID}
		if i == broken {
			p.Status = map[mishap]int{partUnavailable: 503, partThrottled: 429, partForbidden: 403}[m]
			p.Body = json.RawMessage(refusal(p.Status))
			if m == partThrottled {
				p.Headers = map[string]string{"Retry-After": strconv.Itoa(1 + w.rng.IntN(300))}
			}
		} else {
			var body []byte
			p.Status, body = x.read(tenant, r.URL, at)
			p.Body = body
		}
		parts = append(parts, p)
	}
	body, err := json.Marshal(map[string]any{"responses": parts})
	if err != nil {
		return nil, err
	}
	if err := w.after(m); err != nil {
		return nil, err
	}
	return x.answer(req, http.StatusOK, 0, body), nil
}

func refusal(status int) []byte {
	return fmt.Appendf(nil, `{"error":{"code":"Status%d","message":"simulated"}}`, status)
}

func (x wire) answer(req *http.Request, status int, retry time.Duration, body []byte) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}, "Date": {x.w.now.UTC().Format(http.TimeFormat)}}
	if retry > 0 && status == http.StatusTooManyRequests {
		h.Set("Retry-After", strconv.Itoa(max(1, int(retry/time.Second))))
	}
	return &http.Response{StatusCode: status, Status: strconv.Itoa(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req}
}

// read is one resource as a replica shows it that is as of the time.
func (x wire) read(tenant, target string, at time.Time) (status int, body []byte) {
	d := x.w.cloud.tenants[tenant]
	path, query, _ := strings.Cut(target, "?")
	ok := func(v any) (int, []byte) {
		body, err := json.Marshal(v)
		if err != nil {
			panic(err) // maps and texts
		}
		return http.StatusOK, body
	}
	list := func(all ...any) (int, []byte) {
		if all == nil {
			all = []any{}
		}
		return ok(map[string]any{"value": all})
	}
	switch {
	case path == "/domains":
		return list(map[string]any{"id": "contoso.example", "authenticationType": "Managed", "isDefault": true, "isVerified": true})
	case path == "/servicePrincipals/delta":
		// The token is the state that was told.
		var all []any
		state := ""
		_, told, follows := strings.Cut(query, "$deltatoken=")
		for i, app := range bothApps {
			now := "gone"
			one := map[string]any{"id": objectOf(app), "@removed": map[string]any{"reason": "deleted"}}
			if d.present(app, at) {
				enabled := d.disabled != app
				now, one = fmt.Sprint("enabled-", enabled), map[string]any{"id": objectOf(app), "accountEnabled": enabled}
			}
			if !follows && now != "gone" || follows && strings.Split(told, ".")[i] != now {
				all = append(all, one)
			}
			state += now + "."
		}
		if all == nil {
			all = []any{}
		}
		return ok(map[string]any{"value": all, "@odata.deltaLink": graphBase + "/v1.0/servicePrincipals/delta?$deltatoken=" + state})
	case strings.HasPrefix(path, "/servicePrincipals(appId='"):
		app := path[len("/servicePrincipals(appId='"):][:36]
		if !d.present(app, at) {
			return http.StatusNotFound, []byte(`{"error":{"code":"Request_ResourceNotFound","message":"simulated"}}`)
		}
		return ok(map[string]any{"id": objectOf(app), "appId": app, "accountEnabled": d.disabled != app})
	case strings.HasSuffix(path, "/appRoleAssignments"):
		return list(map[string]any{"id": "a", "resourceDisplayName": "Microsoft Graph", "principalId": path[len("/servicePrincipals/"):][:36]})
	case path == "/oauth2PermissionGrants":
		client := query[strings.Index(query, "%27")+3:]
		if i := strings.Index(query, "'"); i >= 0 {
			client = query[i+1:]
		}
		return list(map[string]any{"id": "g" + client[:36], "clientId": client[:36], "consentType": "AllPrincipals", "resourceId": "r", "scope": "User.Read"})
	case path == "/oauth2PermissionGrants/delta":
		return ok(map[string]any{"value": []any{}, "@odata.deltaLink": graphBase + "/v1.0/oauth2PermissionGrants/delta?$deltatoken=t1"})
	case path == "/deviceManagement/managedDevices":
		var all []any
		for range d.fleet {
			all = append(all, map[string]any{"id": "de000001-0000-4000-8000-000000000001", "operatingSystem": "Windows", "osVersion": "10.0.22631", "managedDeviceOwnerType": "company", "managementAgent": "mdm", "deviceEnrollmentType": "windowsAzureADJoin"})
		}
		return list(all...)
	}
	for _, store := range policies.Stores {
		rest, in := strings.CutPrefix(path, store.Path())
		if !in || rest != "" && rest[0] != '/' {
			continue
		}
		if rest == "" {
			var all []any
			for _, f := range d.policies(at) {
				if f.Shape.Store() == store {
					all = append(all, entity(tenant, f))
				}
			}
			return list(all...)
		}
		id, of, _ := strings.Cut(rest[1:], "/")
		i := slices.IndexFunc(d.policies(at), func(f policies.Found) bool { return f.ID == id })
		if i < 0 {
			return http.StatusNotFound, []byte(`{"error":{"code":"ResourceNotFound","message":"simulated"}}`)
		}
		f := d.policies(at)[i]
		switch of {
		case "settings":
			var made struct {
				Settings []any `json:"settings"`
			}
			call, err := policies.Create(tenant, f.Shape, f.Value)
			if err != nil || json.Unmarshal(call.Body, &made) != nil {
				panic(err) // a shape of our own
			}
			return list(made.Settings...)
		case "deviceStatusOverview":
			n := map[string]int{}
			for _, after := range d.fleet {
				switch {
				case after < 0:
					n["notApplicableCount"]++
				case after > 0 && !f.Modified.Add(after).After(at):
					n["successCount"]++
				default:
					n["pendingCount"]++
				}
			}
			return ok(n)
		}
	}
	x.w.violate("an audit reads %s, which nothing here answers", target)
	return http.StatusNotFound, refusal(http.StatusNotFound)
}

// entity is a policy as a list of its store shows it.
func entity(tenant string, f policies.Found) map[string]any {
	call, err := policies.Create(tenant, f.Shape, f.Value)
	var e map[string]any
	if err != nil || json.Unmarshal(call.Body, &e) != nil {
		panic(err) // a shape of our own
	}
	delete(e, "settings")
	e["id"], e["lastModifiedDateTime"] = f.ID, f.Modified.UTC().Format(time.RFC3339Nano)
	name := "displayName"
	if f.Shape.Store() == policies.ConfigurationPolicies {
		name = "name"
		e["settingCount"] = 1
	}
	if e[name] = f.Name; !f.Mine {
		e["description"] = "not pinreset's"
	}
	assign := policies.Assign(f.Ref(), f.Assignments)
	var set struct {
		Assignments []any `json:"assignments"`
	}
	if err := json.Unmarshal(assign.Body, &set); err != nil {
		panic(err) // made a line above
	}
	if set.Assignments == nil {
		set.Assignments = []any{}
	}
	e["assignments"] = set.Assignments
	return e
}

// present reports whether the directory, as of the time, has the application's service principal.
func (d *directory) present(app string, at time.Time) bool {
	from, there := d.principals[app]
	return there && !at.Before(from)
}

var bothApps = []string{onboarding.ServiceAppID, onboarding.ClientAppID}
