package main

import (
	"context"
	"testing"

	"pinreset/shared/client"
)

// audits checks the client's calls about audits against the server.
func (c *contract) audits(ctx context.Context, api *client.Client, tenant string) {
	c.t.Helper()
	asked, err := api.StartAudit(ctx, tenant, "to compare")
	single(c, "StartAudit", asked, err)
	ended, err := api.WaitAudit(ctx, tenant, asked.ID)
	if single(c, "TenantAudit", ended, err); ended.Outcome == "pending" || len(ended.Parts) == 0 {
		c.t.Errorf("audit %+v", ended)
	}
	several(c, "TenantAudits", api.TenantAudits(ctx, tenant))
	run, err := api.StartAudits(ctx, "all of them")
	single(c, "StartAudits", run, err)
	if err := api.WaitAudits(ctx, run.ID, nil); err != nil {
		c.t.Error(err)
	}
	sent, err := api.AuditRun(ctx, run.ID)
	if single(c, "AuditRun", sent, err); !sent.Sent || sent.Tenants == 0 {
		c.t.Errorf("run %+v", sent)
	}
	several(c, "LatestAudits", api.LatestAudits(ctx))
	pace, err := api.Pace(ctx)
	if single(c, "Pace", pace, err); len(pace.Families) == 0 {
		c.t.Error("no family of limits")
	}
}

func TestAuditRun(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.piped("audit", "run").has(t, exitPending, "pending", "next: pinreset audit show 01A")
	f.piped("audit", "run", "--watch", "--reason", "a user called").has(t, exitDone, "outcome    partly", "could not be read: devices (graph_forbidden) Refused.",
		`drift: policy_removed: "PIN recovery" is gone`, "put right by rollout p9", "changed: policy: on → not there", "targeted   4", "succeeded  3")
	if sent := f.sent("POST /audits"); len(sent) != 2 || sent[1]["reason"] != "a user called" {
		t.Errorf("sent %v", sent)
	}
	f.piped("audit", "run", "--all", "--tenant", contosoID).has(t, exitError, "--all audits every tenant")
	f.piped("audit", "run", "--all").has(t, exitPending, "run 00RUN", "next: pinreset audit show")
	f.piped("audit", "run", "--all", "--watch").has(t, exitDone, "[####################] 1 of 1 tenant", "Contoso", "policy_removed")
}

func TestAuditShowAndExport(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.piped("audit", "show").has(t, exitDone, "Contoso", "partly", "policy_removed")
	f.piped("audit", "show", "-o", "tsv", "--fields", "tenant,tenantId").want(t, exitDone, "Contoso\t"+contosoID+"\n=cmd()\t"+neverID+"\n", "")
	f.piped("audit", "show", "--tenant", neverID, "-o", "tsv", "--fields", "tenant").want(t, exitDone, "=cmd()\n", "")
	f.piped("audit", "show", "--history").has(t, exitDone, "01A", "partly", "2026-11-22T08:14:03Z")
	f.piped("audit", "show", "01A", "-o", "tsv", "--fields", "drifted,status.notApplicable").want(t, exitDone, "policy_removed\t7\n", "")
	f.piped("audit", "export").want(t, exitDone, "tenant,tenantId,outcome,state,code,unread,drift,devices,windows,targeted,succeeded,at\n"+
		"Contoso,"+contosoID+",partly,unknown,,devices,policy_removed,,,4,3,2026-11-22T08:14:03Z\n"+
		"'=cmd(),"+neverID+",never,,,,,,,,,\n", "")
	f.piped("audit", "export", "--format", "jsonl").want(t, exitDone, `{"tenant":"Contoso","tenantId":"`+contosoID+`","outcome":"partly","state":"unknown","code":"","unread":["devices"],"drift":["policy_removed"],"devices":null,"windows":null,"targeted":4,"succeeded":3,"at":"2026-11-22T08:14:03Z"}
{"tenant":"=cmd()","tenantId":"`+neverID+`","outcome":"never","state":"","code":"","unread":[],"drift":[],"devices":null,"windows":null,"targeted":null,"succeeded":null}
`, "")
	f.piped("audit", "export", "--format", "xml").has(t, exitError, "--format is csv or jsonl")
}
