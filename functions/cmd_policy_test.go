package main

import (
	"maps"
	"slices"
	"testing"
)

func TestPolicyPlanAndDryRun(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	for _, args := range [][]string{{"policy", "plan", "--group", salesID}, {"policy", "rollout", "--dry-run", "--group", salesID}} {
		f.piped(args...).has(t, exitDone, "hash         abc123", "1. POST /v1.0/deviceManagement/deviceConfigurations", `"displayName": "PIN recovery"`,
			"next: pinreset policy rollout --shape oma-uri --group "+salesID+" --plan abc123 --reason TEXT")
	}
	if sent := f.sent("POST /rollouts"); len(sent) != 0 {
		t.Errorf("a dry run sent %v", sent)
	}
	f.change(func() {
		f.plan = planObject(object{"state": "refused", "code": "consent_missing", "text": "The client application is missing.",
			"links": []object{{"step": "client", "url": "https://login.example/consent"}}})
	})
	f.piped("policy", "plan", "--all-users").has(t, exitError, "The client application is missing.", "code: consent_missing", "next: https://login.example/consent")
}

func TestPolicyRolloutAndWatch(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.piped("policy", "rollout", "--group", salesID, "--exclude", laptopID, "--plan", "abc123", "--reason", "PINs are forgotten", "--watch").want(t, exitDone,
		`ID  STATE      SHAPE    POLICY        WRITES  PERCENT  HAVE IT  PENDING  FAILED  CONFLICT  NOT APPLICABLE  WHY  REQUESTED             DIAG
p1  completed  oma-uri  PIN recovery  2       100      2        0        0       0         7               -    2026-11-22T08:14:03Z  -
`,
		`accepted
watching · [##########..........] 50 % of 2 devices have it, 1 waiting, 7 not applicable, counted apart
completed · [####################] 100 % of 2 devices have it, 7 not applicable, counted apart
`)
	want := object{"shape": "oma-uri", "planHash": "abc123", "reason": "PINs are forgotten"}
	sent := f.sent("POST /rollouts")
	if len(sent) != 1 || !slices.Equal(sent[0]["include"].([]any), []any{salesID}) || !slices.Equal(sent[0]["exclude"].([]any), []any{laptopID}) {
		t.Fatalf("sent %v", sent)
	}
	delete(sent[0], "include")
	delete(sent[0], "exclude")
	if !maps.Equal(sent[0], want) {
		t.Errorf("sent %v, want %v", sent[0], want)
	}
}

// TestPolicyRolloutWaitsForTheWriting: without --watch the command ends when the policy is in place, and says that devices are
// still to take it.
func TestPolicyRolloutWaitsForTheWriting(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.piped("policy", "rollout", "--all-devices", "--reason", "x").has(t, exitPending, "p1  watching", "pending: It has not ended; it is watching", "next: pinreset policy status p1 --watch")
	f.piped("policy", "rollout", "--all-devices").has(t, exitError, "--reason is needed")
}

func TestPolicyRolloutRefused(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.change(func() {
		f.stages = []object{rolloutObject("failed", false, object{"failureCode": "consent_missing", "diagnostics": "/tenants/" + contosoID + "/diag/7KQ4MXWD",
			"links": []object{{"step": "service", "url": "https://login.example/service"}}})}
	})
	f.piped("policy", "rollout", "--all-users", "--reason", "x").has(t, exitError, "code: consent_missing", "next: https://login.example/service", "diag show 7KQ4MXWD")
	f.refuses("POST /rollouts", refusal{409, "plan_changed", "The plan would be def456 now.", ""})
	f.piped("policy", "rollout", "--all-users", "--reason", "x", "--plan", "abc123").has(t, exitError, "code: plan_changed", "def456")
}

func TestPolicyStatus(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.piped("policy", "status").has(t, exitDone, "p1  accepted  oma-uri")
	f.change(func() {
		f.stages = []object{rolloutObject("rolledback", false, object{"rollback": object{"id": "b1", "reason": "x", "by": object{"kind": "system", "id": "pinreset"}, "requestedAt": fakeNow, "remains": "1 of 2 devices have reported the value false."},
			"samples": []object{progressObject(0, 2), progressObject(1, 1)}})}
	})
	f.piped("policy", "status", "p1").has(t, exitDone, "created the policy PIN recovery", "1 of 2 devices have reported the value false.", "HAVE IT  PENDING")
	f.piped("policy", "status", "--watch").has(t, exitError, "--watch needs ROLLOUT")
}

func TestPolicyRollback(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.change(func() {
		f.stages = []object{rolloutObject("rolledback", false, object{"rollback": object{"id": "b1", "reason": "x", "by": object{"kind": "system", "id": "pinreset"}, "requestedAt": fakeNow, "remains": "Devices may keep it."}})}
	})
	f.piped("policy", "rollback", "p1", "--unassign", "--reason", "x").has(t, exitError, "nobody to ask here")
	f.typed("no\n", "policy", "rollback", "p1", "--delete", "--reason", "x").has(t, exitCancelled, "Type PIN recovery to go on")
	if sent := f.sent("POST /rollouts/p1/rollback"); len(sent) != 0 {
		t.Errorf("sent %v", sent)
	}
	f.piped("policy", "rollback", "p1", "--delete", "--yes", "--reason", "x", "--watch").has(t, exitDone, "Devices may keep it.")
	if sent := f.sent("POST /rollouts/p1/rollback"); len(sent) != 1 || !maps.Equal(sent[0], object{"delete": true, "reason": "x"}) {
		t.Errorf("sent %v", sent)
	}
}

func TestPolicyLint(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.piped("policy", "lint").has(t, exitDone, "warning", "policy_unassigned", "Nobody has it.")
}
