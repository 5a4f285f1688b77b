package graph

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/shared/diag"
	"pinreset/shared/fault"
)

func TestDelta(t *testing.T) {
	t.Parallel()
	first := "GET /v1.0/servicePrincipals/delta?$select=" + servicePrincipalFields + "&$filter=id eq '" + spX + "'"
	s := put(t, map[string]string{
		first: `200 {"value":[{"id":"` + spX + `","appId":"` + appX + `","accountEnabled":true}],"@odata.nextLink":"BASE/v1.0/servicePrincipals/delta?$skiptoken=a"}`,
		"GET /v1.0/servicePrincipals/delta?$skiptoken=a": `200 {"value":[],"@odata.deltaLink":"BASE/v1.0/servicePrincipals/delta?$deltatoken=b"}`,
		"GET /v1.0/servicePrincipals/delta?$deltatoken=b": `200 {"value":[{"id":"` + spX + `","@removed":{"reason":"changed"}},{"id":"` + appX + `","@removed":{"reason":"deleted"}}],` +
			`"@odata.deltaLink":"BASE/v1.0/servicePrincipals/delta?$deltatoken=c"}`,
		"GET /v1.0/servicePrincipals/delta?$deltatoken=c": `410 {"error":{"code":"syncStateNotFound","message":"m"}}`,
		"GET /v1.0/servicePrincipals/delta?$deltatoken=d": `200 {"value":[],"@odata.deltaLink":"https://elsewhere.example/v1.0/servicePrincipals/delta?$deltatoken=c"}`,
		"GET /v1.0/servicePrincipals/delta?$deltatoken=e": `200 {"value":[],"@odata.deltaLink":"BASE/v1.0/groups/delta?$deltatoken=c"}`,
		"GET /v1.0/servicePrincipals/delta?$deltatoken=f": `200 {"value":[]}`,
		"GET /v1.0/servicePrincipals/delta?$deltatoken=g": `200 {"value":[],"@odata.nextLink":"BASE/v1.0/servicePrincipals/delta?$deltatoken=g"}`,
		first + "&$deltaToken=latest":                     `200 {"value":[],"@odata.deltaLink":"BASE/v1.0/servicePrincipals/delta?$deltatoken=c"}`,
	})
	ctx, c, d := t.Context(), s.client, PrincipalDelta(spX)
	all, err := d.Since(ctx, c, tenantA, "")
	if err != nil || len(all.Changed) != 1 || !all.Changed[0].Enabled() || len(all.Removed) > 0 {
		t.Fatalf("%+v %v", all, err)
	}
	next, err := d.Since(ctx, c, tenantA, all.Token)
	if err != nil || len(next.Changed) > 0 || !slices.Equal(next.Removed, []Removed{{spX, true}, {appX, false}}) {
		t.Fatalf("%+v %v", next, err)
	}
	gone, err := d.Since(ctx, c, tenantA, next.Token)
	if !errors.Is(err, ErrStartOver) || gone.Token != "" {
		t.Errorf("a token that is too old: %+v %v", gone, err)
	}
	latest, err := d.Since(ctx, c, tenantA, Latest)
	if err != nil || latest.Token != next.Token || len(latest.Changed) > 0 {
		t.Errorf("latest: %+v %v", latest, err)
	}
	for _, end := range []string{"d", "e", "f", "g"} {
		bad, err := d.Since(ctx, c, tenantA, "/servicePrincipals/delta?$deltatoken="+end)
		if err == nil || errors.Is(err, ErrStartOver) || bad.Token != "" {
			t.Errorf("answer %s: %+v %v", end, bad, err)
		}
	}
	before := len(s.calls())
	for _, token := range []string{"/groups/delta?$deltatoken=b", "https://elsewhere.example/servicePrincipals/delta", "x", "/servicePrincipals/delta/../../me", "//elsewhere.example/servicePrincipals/delta"} {
		if _, err := d.Since(ctx, c, tenantA, token); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("token %q: %v", token, err)
		}
	}
	if len(s.calls()) != before {
		t.Error("a token of something else was sent")
	}
}

func TestDeltaOfGroupsAndGrants(t *testing.T) {
	t.Parallel()
	s := put(t, map[string]string{
		"GET /v1.0/groups/delta?$select=id,displayName,members&$filter=id eq '" + groupX + "' or id eq '" + groupY + "'": `200 {"value":[{"id":"` + groupX + `","displayName":"x",` +
			`"members@delta":[{"@odata.type":"#microsoft.graph.user","id":"` + spX + `"},{"@odata.type":"#microsoft.graph.user","id":"` + appX + `","@removed":{"reason":"deleted"}}]}],` +
			`"@odata.deltaLink":"BASE/v1.0/groups/delta?$deltatoken=b"}`,
		"GET /v1.0/oauth2PermissionGrants/delta?$select=id,clientId,consentType,principalId,resourceId,scope": `200 {"value":[{"id":"x","clientId":"` + spX + `","scope":"a b"}],` +
			`"@odata.deltaLink":"BASE/v1.0/oauth2PermissionGrants/delta?$deltatoken=b"}`,
	})
	groups, err := GroupDelta(groupX, groupY).Since(t.Context(), s.client, tenantA, "")
	if err != nil || len(groups.Changed) != 1 || len(groups.Changed[0].Members) != 2 || groups.Changed[0].Members[0].Removed != nil || groups.Changed[0].Members[1].Removed == nil {
		t.Errorf("groups %+v %v", groups, err)
	}
	grants, err := GrantDelta().Since(t.Context(), s.client, tenantA, "")
	if err != nil || len(grants.Changed) != 1 || len(grants.Changed[0].Scopes()) != 2 || grants.Token == "" {
		t.Errorf("grants %+v %v", grants, err)
	}
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	const body = `{"id":"` + policyA + `","resource":"/groups/` + groupX + `/members","changeType":"updated,deleted","notificationUrl":"https://here.example/x","expirationDateTime":"2026-02-01T00:00:00Z"}`
	s := put(t, map[string]string{
		"POST /v1.0/subscriptions":                              "201 " + body,
		"GET /v1.0/subscriptions?$select=" + subscriptionFields: `200 {"value":[` + body + `]}`,
		"PATCH /v1.0/subscriptions/" + policyA:                  "200 " + body,
		"DELETE /v1.0/subscriptions/" + policyA:                 "204 ",
	})
	ctx, c := t.Context(), s.client
	until := time.Date(2026, 2, 1, 1, 0, 0, 0, time.FixedZone("", 3600))
	made, err := c.SubscribeMembers(ctx, tenantA, groupX, "https://here.example/x", "a secret state", until)
	if err != nil || made.ID != policyA || !made.Expires.Equal(until) {
		t.Fatalf("%+v %v", made, err)
	}
	if all, err := c.Subscriptions(ctx, tenantA); err != nil || !slices.Equal(all, []Subscription{made}) {
		t.Errorf("%+v %v", all, err)
	}
	if err := errors.Join(c.RenewSubscription(ctx, tenantA, made.ID, until), c.Unsubscribe(ctx, tenantA, made.ID)); err != nil {
		t.Error(err)
	}
	if err := c.Unsubscribe(ctx, tenantA, policyB); !errors.Is(err, ErrNotFound) {
		t.Errorf("one that has ended: %v", err)
	}
	if got, want := s.calls()[0], `POST /v1.0/subscriptions`+"\n"+`{"changeType":"updated,deleted","notificationUrl":"https://here.example/x","lifecycleNotificationUrl":"https://here.example/x","resource":"/groups/`+groupX+`/members","expirationDateTime":"2026-02-01T00:00:00Z","clientState":"a secret state"}`; got != want {
		t.Errorf("sent %s\nwant %s", got, want)
	}

	// What a server says of the state gets into no error and no record.
	loud := serve(t, answerWith(500, nil, `{"error":{"code":"x","message":"bad state: a secret state"}}`))
	record := new(diag.Record)
	_, err = loud.client(t, nil).SubscribeMembers(diag.NewContext(ctx, record), tenantA, groupX, "https://here.example/x", "a secret state", until)
	steps, _ := record.Steps()
	if len(steps) == 0 {
		t.Error("no step in the record")
	}
	if !errors.Is(err, ErrOutcomeUnknown) || strings.Contains(fmt.Sprintf("%+v %v", err, steps), "secret") {
		t.Errorf("%v %v", err, steps)
	}
	if graphErr, ok := errors.AsType[*Error](err); !ok || strings.Contains(graphErr.Message, "secret") {
		t.Errorf("message %+v", graphErr)
	}
	if n := loud.posts.Load(); n != 1 {
		t.Errorf("%d POSTs", n)
	}
}
