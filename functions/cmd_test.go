package main

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"pinreset/events"
)

func (e ended) want(t *testing.T, exit int, out, err string) {
	t.Helper()
	if e.exit != exit || e.out != out || e.err != err {
		t.Errorf("exit %d, want %d\nstdout\n%s\nwant\n%s\nstderr\n%s\nwant\n%s", e.exit, exit, e.out, out, e.err, err)
	}
}

func (e ended) has(t *testing.T, exit int, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(e.out+e.err, part) {
			t.Errorf("no %q in\n%s%s", part, e.out, e.err)
		}
	}
	if e.exit != exit {
		t.Errorf("exit %d, want %d\n%s%s", e.exit, exit, e.out, e.err)
	}
}

const resetHead = "ID  STATE     DEVICE          USER                 WHY  REQUESTED             EXPIRES  DIAG\n"

func TestResetAndWatch(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.piped("device", "reset", "sales-pixel-12", "--reason", "forgot it", "--ticket", "INC-1", "--watch", "--yes").want(t, exitDone,
		`ID  STATE   DEVICE          USER                 WHY  REQUESTED             EXPIRES               DIAG
r1  issued  sales-pixel-12  ada@contoso.example  -    2026-11-22T08:14:03Z  2026-11-29T08:14:03Z  -
`,
		`AndroidEnterprise 14 · ada@contoso.example · last contact Sun 22 Nov 2026 08:10 UTC, 4 min ago
A new temporary passcode is made.
accepted
waiting · Waiting for the device to check in
issued
a code can be revealed until Sun 29 Nov 2026 08:14 UTC, in 7 d 0 h
next: pinreset passcode show r1 --reveal --reason TEXT
`)
	if sent := f.sent("POST /devices/" + pixelID + "/resets"); len(sent) != 1 || !maps.Equal(sent[0], object{"reason": "forgot it", "ticket": "INC-1"}) {
		t.Errorf("sent %v", sent)
	}
}

func TestResetThatIsNotWatchedIsPending(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.piped("device", "reset", pixelID, "--reason", "x", "--yes", "--quiet").want(t, exitPending,
		resetHead+"r1  accepted  sales-pixel-12  ada@contoso.example  -    2026-11-22T08:14:03Z  -        -\n", "")
	f.piped("device", "reset", pixelID, "--reason", "x", "--yes", "--watch", "--timeout", "1ns").has(t, exitPending,
		"pending: The reset has not ended; it is accepted\n", "next: pinreset passcode show r1 --watch\n")
}

func TestResetFails(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	page := "/tenants/" + contosoID + "/diag/7KQ4MXWD"
	f.reset(resetObject("failed", false, object{"failureCode": "device_action_failed", "diagnostics": page}))
	got := f.piped("device", "reset", pixelID, "--tenant", "Contoso", "--reason", "x", "--yes", "--watch")
	got.has(t, exitError, "error: The device reported a failure\ncode: device_action_failed\npage: "+f.server.URL+page+
		"\nnext: pinreset diag show 7KQ4MXWD --tenant Contoso\n")
	for _, state := range []string{"cancelled", "expired"} {
		f.reset(resetObject(state, false, nil))
		f.piped("passcode", "show", "r1", "--watch").has(t, exitError, "error: ", "code: ", "next: ")
	}
	f.reset(resetObject("removed", false, nil))
	f.piped("passcode", "show", "r1", "--watch").has(t, exitDone, "there is no code")
}

func TestCtrlCWhileWatching(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.change(func() {
		f.onAnswer = func(what string) {
			if what == "GET /resets/r1" {
				cancel()
			}
		}
	})
	f.do(ctx, false, "", "device", "reset", pixelID, "--reason", "x", "--yes", "--watch").has(t, exitCancelled, "cancelled: ")
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args  []string
		word  string
		posts string
	}{
		"reset":  {[]string{"device", "reset", "sales-pixel-12", "--reason", "x", "--watch"}, "sales-pixel-12", "POST /devices/" + pixelID + "/resets"},
		"cancel": {[]string{"passcode", "cancel", "r1", "--reason", "x"}, "sales-pixel-12", "POST /resets/r1/cancel"},
		"drop":   {[]string{"deadletter", "drop", "l1", "--reason", "x"}, "drop", "POST /deadletters/l1/drop"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t)
			f.piped(c.args...).has(t, exitError, "nobody to ask here", "next: the same command with --yes")
			f.typed(c.word+"\n", append(c.args, "--no-input")...).has(t, exitError, "nobody to ask here")
			f.typed("no\n", c.args...).has(t, exitCancelled, "Type "+c.word+" to go on: ", "cancelled: ")
			f.typed("", c.args...).has(t, exitCancelled)
			if sent := f.sent(c.posts); len(sent) != 0 {
				t.Errorf("sent %v", sent)
			}
			f.typed(c.word+"\n", c.args...).has(t, exitDone)
			f.piped(append(c.args, "--yes")...).has(t, exitDone)
			if sent := f.sent(c.posts); len(sent) != 2 {
				t.Errorf("sent %d times, want 2", len(sent))
			}
		})
	}
}

func TestResetThatCannotWork(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.typed("hr-laptop-11\n", "device", "reset", "hr-laptop-11", "--reason", "x").has(t, exitError,
		"Windows has no remote passcode reset.", "nothing was sent", "code: platform_not_supported", "I forgot my PIN")
	if sent := f.sent("POST /devices/" + laptopID + "/resets"); len(sent) != 0 {
		t.Errorf("sent %v", sent)
	}
	f.piped("device", "reset", "hr-laptop-11", "--reason", "x", "--yes").has(t, exitPending)
}

func TestPendingResetIsShownInstead(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.change(func() { f.devices[0]["pendingReset"] = "r1" })
	f.piped("device", "reset", pixelID, "--reason", "x").has(t, exitPending, "r1")
}

func TestReveal(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	reveal := []string{"passcode", "show", "r1", "--reveal", "--reason", "on the phone", "--ticket", "INC-1"}
	for name, more := range map[string][]string{
		"jsonl": {"-o", "jsonl"}, "json": {"-o", "json"}, "tsv": {"-o", "tsv"}, "fields": {"--fields", "id"}, "watch": {"--watch"},
	} {
		if got := f.typed("", append(slices.Clone(reveal), more...)...); got.exit != exitError || !strings.Contains(got.err, "--reveal") {
			t.Errorf("%s: exit %d, %s", name, got.exit, got.err)
		}
	}
	f.piped(append(slices.Clone(reveal), "--yes")...).has(t, exitError, "must be a terminal")
	f.typed("", "passcode", "show", "r1", "--reveal").has(t, exitError, "--reason")
	f.typed("", "passcode", "show", "r1", "--reveal", "--reason", "  ").has(t, exitError, "--reason")
	f.typed("", "passcode", "show", "r1", "--reason", "x").has(t, exitError, "--reveal")
	if sent := f.sent("POST /resets/r1/reveal"); len(sent) != 0 {
		t.Fatalf("a refused reveal was sent: %v", sent)
	}
	f.typed("", reveal...).want(t, exitDone, `passcode  48291137
groups    4829 1137
spelled   digit four, digit eight, digit two, digit nine, digit one, digit one, digit three, digit seven
`, `sales-pixel-12 · ada@contoso.example · seen 2 times · expires Mon 23 Nov 2026 08:14 UTC, in 1 d 0 h
this view is recorded with your reason; Intune keeps its own copy of the code
`)
	if sent := f.sent("POST /resets/r1/reveal"); len(sent) != 1 || !maps.Equal(sent[0], object{"reason": "on the phone", "ticket": "INC-1"}) {
		t.Errorf("sent %v", sent)
	}
	f.refuses("POST /resets/r1/reveal", refusal{409, "not_revealable", "The code has expired and was destroyed.", ""})
	f.typed("", reveal...).has(t, exitError, "code: not_revealable", "next: pinreset passcode show r1\n")
}

func TestGroups(t *testing.T) {
	t.Parallel()
	if got := groups("123456789"); got != "1234 5678 9" {
		t.Errorf("groups = %q", got)
	}
}

func TestOutputs(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.piped("tenant", "list", "-o", "tsv").want(t, exitDone, contosoID+"\tContoso\tpending\tservice\t2026-11-22T08:14:03Z\n", "")
	f.piped("tenant", "list", "-o", "jsonl", "--fields", "displayName,consent.state").want(t, exitDone, `{"displayName":"Contoso","consent.state":"pending"}`+"\n", "")
	f.piped("tenant", "show", "-o", "json", "--fields", "settings").want(t, exitDone, "{\n  \"settings\": {\n    \"budgetDay\": 30,\n    \"budgetHour\": 10,\n    \"passcodeHours\": 168,\n    \"resetDeadlineHours\": 24,\n    \"suspendAbove\": 0,\n    \"suspendMinutes\": 60\n  }\n}\n", "")
	f.piped("tenant", "list", "--fields", "displayName").want(t, exitDone, "DISPLAYNAME\nContoso\n", "")
	for _, command := range [][]string{{"tenant", "list"}, {"device", "list"}, {"passcode", "list"}, {"diag", "list"}, {"deadletter", "list"}, {"audit", "log"}, {"event", "list"}, {"event", "schema"}, {"token", "list"}} {
		whole, lines := f.piped(append(command, "-o", "json")...), f.piped(append(command, "-o", "jsonl")...)
		var rows []object
		if err := json.Unmarshal([]byte(whole.out), &rows); err != nil || len(rows) == 0 || whole.exit != exitDone {
			t.Errorf("%v: %d rows, %v in\n%s%s", command, len(rows), err, whole.out, whole.err)
		}
		if n := strings.Count(lines.out, "\n"); n != len(rows) {
			t.Errorf("%v: %d lines for %d rows", command, n, len(rows))
		}
	}
	f.change(func() { f.tenants = nil })
	f.piped("tenant", "list").want(t, exitDone, "", "no tenant yet: pinreset tenant add TENANT-ID --name NAME\n")
	f.piped("tenant", "list", "-q", "-o", "json").want(t, exitDone, "[]\n", "")
}

func TestTextFromElsewhereCannotMoveTheCursor(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.change(func() { f.devices[0]["name"] = "a\x1b[2J\u202eb\u200bc\rd" })
	f.piped("device", "list", "--fields", "name").want(t, exitDone, "NAME\n"+`a\u001b[2J\u202eb\u200bc\u000dd`+"\nhr-laptop-11\n", "")
	f.piped("audit", "log", "-o", "tsv", "--fields", "reason").want(t, exitDone, `line\nbreak\t\u001b[31m`+"\n", "")
	f.refuses("GET /audit", refusal{409, "state_conflict", "\x1b]0;title\x07", ""})
	if got := f.piped("audit", "log", "-v"); strings.ContainsAny(got.err, "\x1b\x07") {
		t.Errorf("stderr %q", got.err)
	}
}

func TestFinding(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.piped("device", "show", "ada@contoso.example").has(t, exitError, "No device of this tenant", "code: device_not_found", "next: pinreset device list")
	f.change(func() {
		f.devices = append(f.devices, deviceObject("00000000-0000-4000-8000-000000000001", "sales-pixel-12", "iOS", object{"answer": "yes"}))
	})
	f.piped("device", "show", "sales-pixel-12").has(t, exitError, "Several devices have the name", pixelID, "00000000-0000-4000-8000-000000000001")
	f.piped("device", "show", strings.ToUpper(pixelID)).has(t, exitDone, "sales-pixel-12", "A new temporary passcode is made.")

	f.piped("tenant", "show", "Nobody").has(t, exitError, `No tenant has the id or the display name "Nobody"`, "next: pinreset tenant list")
	f.change(func() { f.tenants = append(f.tenants, tenantObject(fabrikamID, "Fabrikam")) })
	f.piped("device", "list").has(t, exitError, "several tenants", "--tenant")
	f.piped("device", "list", "--tenant", "Contoso").has(t, exitDone, "sales-pixel-12")
	f.change(func() { f.tenants[1]["displayName"] = "Contoso" })
	f.piped("device", "list", "--tenant", "Contoso").has(t, exitError, "Several tenants", contosoID, fabrikamID)
	f.piped("device", "list", "--tenant", contosoID).has(t, exitDone)
	f.piped("device", "list", "--tenant", fabrikamID).has(t, exitError, "code: not_found")
	f.change(func() { f.tenants = nil })
	f.piped("device", "list").has(t, exitError, "code: tenant_unknown", "pinreset tenant add")
}

func TestTenantVerbs(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.piped("tenant", "add", contosoID, "--name", "Contoso").has(t, exitPending, "pending: The consent is pending",
		"open  https://login.example/consent", "looks like an error", "next: pinreset tenant consent "+contosoID+" --watch")
	if sent := f.sent("POST tenants"); len(sent) != 1 || !maps.Equal(sent[0], object{"tenantId": contosoID, "displayName": "Contoso"}) {
		t.Errorf("sent %v", sent)
	}
	f.piped("tenant", "consent").has(t, exitDone, "2. Microsoft Pin Reset Service: waiting (Waiting for an administrator's consent)")
	f.piped("tenant", "consent", "--create-service-principals").has(t, exitError, "needs --restart")
	f.piped("tenant", "consent", "Contoso", "--restart", "--create-service-principals").has(t, exitPending)
	if sent := f.sent("POST /consent"); len(sent) != 1 || !maps.Equal(sent[0], object{"createServicePrincipals": true}) {
		t.Errorf("sent %v", sent)
	}
	f.change(func() { f.tenants[0]["consent"] = consentObject("proven") })
	f.piped("tenant", "consent", "--watch").has(t, exitDone, "proven")
	failed := consentObject("failed")
	failed["failureCode"], failed["diagnostics"] = "consent_declined", "/tenants/x/diag/7KQ4MXWD"
	f.change(func() { f.tenants[0]["consent"] = failed })
	f.piped("tenant", "consent", "--watch").has(t, exitError, "The administrator declined", "page: "+f.server.URL+"/tenants/x/diag/7KQ4MXWD", "--restart")

	f.piped("tenant", "settings").has(t, exitDone, "passcode hours        168")
	f.piped("tenant", "settings", "--passcode-hours", "8").has(t, exitDone, "passcode hours        8")
	if sent := f.sent("PATCH /settings"); len(sent) != 1 || !maps.Equal(sent[0], object{"passcodeHours": 8.0}) {
		t.Errorf("sent %v", sent)
	}
}

func TestDiagAndDeadLetters(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	for _, ref := range []string{"7KQ4MXWD", "/tenants/" + contosoID + "/diag/7KQ4MXWD", f.server.URL + "/tenants/" + contosoID + "/diag/7KQ4MXWD"} {
		f.piped("diag", "show", ref).has(t, exitDone, "page     "+f.server.URL+"/tenants/", "1. Let the device synchronise.",
			"2026-11-22 08:14:03  passcodereset  failed (device_action_failed), 12ms", "POST deviceManagement/managedDevices · 204 · 80ms")
	}
	f.piped("diag", "show", "7KQ4MXWD", "-v").has(t, exitDone, "request-id graph-1", "correlation id corr-1")
	f.piped("deadletter", "show", "l1").has(t, exitDone, "attempts_exhausted")
	f.piped("deadletter", "replay", "l1", "--reason", "fixed").has(t, exitDone, "in its queue again")
}

func TestEvents(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	example, _ := events.Example("passcode.reset.requested.v1")
	f.piped("event", "schema", "passcode.reset.requested.v1", "--example").want(t, exitDone, string(example), "")
	schema, _ := events.Schema("passcode.reset.requested.v1")
	f.piped("event", "schema", "dev.pinreset.passcode.reset.requested.v1").want(t, exitDone, string(schema), "")
	f.piped("event", "schema", "nothing.v1").has(t, exitError, "next: pinreset event schema")
	f.piped("event", "schema").has(t, exitDone, "tenant.added.v1", "true")

	f.typed(string(example), "event", "send", "-").has(t, exitDone, "e1", "r1", "/v1/tenants/"+contosoID+"/resets/r1")
	file := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(file, example, 0o600); err != nil {
		t.Fatal(err)
	}
	f.piped("event", "send", file).has(t, exitDone, "e1")
	if sent := f.sent("POST events"); len(sent) != 2 || sent[0]["id"] != "01M8153H7RCP69BSGAYP9VT16F" {
		t.Errorf("sent %v", sent)
	}
	f.typed(strings.Repeat(" ", events.MaxBytes+1), "event", "send", "-").has(t, exitError, "code: request_too_large")
	f.typed(" \n", "event", "send", "-").has(t, exitError, "the event is empty")
	f.piped("event", "send", file+".missing").has(t, exitError, "no such file", "next: pinreset event send --help")
}

func TestTokens(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	add := []string{"token", "add", "--name", "ci", "--for", "Contoso", "--permission", "tenant.read,device.read", "--days", "7"}
	f.piped(append(add, "-o", "tsv", "--fields", "token")...).want(t, exitDone, "pr_new\n", "")
	want := object{"name": "ci", "tenants": []any{contosoID}, "permissions": []any{"tenant.read", "device.read"}, "days": 7.0}
	got, _ := json.Marshal(f.sent("POST tokens")[0])
	if wanted, _ := json.Marshal(want); string(got) != string(wanted) {
		t.Errorf("sent %s, want %s", got, wanted)
	}
	file := filepath.Join(t.TempDir(), "token")
	if got := f.piped(append(add, "--save", file)...); got.exit != exitDone || strings.Contains(got.out+got.err, "pr_new") {
		t.Errorf("exit %d, %s%s", got.exit, got.out, got.err)
	}
	kept, err := os.ReadFile(file)
	if err != nil || string(kept) != "pr_new\n" {
		t.Errorf("file holds %q, %v", kept, err)
	}
	if s, err := os.Stat(file); err != nil || s.Mode().Perm() != 0o600 {
		t.Errorf("file has mode %v, %v", s.Mode(), err)
	}
	f.piped(append(add, "--save", file)...).has(t, exitError, "exists already")
	f.piped("token", "revoke", "t1").has(t, exitDone, "revoked")
	f.refuses("POST tokens", refusal{403, "forbidden", "You lack grant.write.", ""})
	f.piped(append(add, "--save", file+"2")...).has(t, exitError, "code: forbidden")
	if _, err := os.Stat(file + "2"); err == nil {
		t.Error("the file of a token that was not made is left behind")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.refuses("GET /devices", refusal{503, "graph_throttled", "Graph is throttling.", "/tenants/" + contosoID + "/diag/7KQ4MXWD"})
	f.refuses("POST /resets/r1/cancel", refusal{409, "state_conflict", "The reset has ended: it is issued.", ""})
	f.piped("passcode", "cancel", "r1", "--reason", "x", "--yes").want(t, exitError, "",
		"error: Title of state_conflict: The reset has ended: it is issued\ncode: state_conflict\nnext: pinreset passcode show r1\n")
	f.piped("device", "list", "-v").has(t, exitError, "error: Title of graph_throttled: Graph is throttling\ncode: graph_throttled\npage: "+f.server.URL+
		"/tenants/"+contosoID+"/diag/7KQ4MXWD\nnext: pinreset diag show 7KQ4MXWD\nid:   correlation id corr-1\n", "GET /v1/tenants/"+contosoID+"/devices → 503")
	if err := os.WriteFile(f.token, []byte("pr_other"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.piped("tenant", "list").has(t, exitSignIn, "code: unauthenticated", "--token-file")
	for _, content := range []string{"", "two words", strings.Repeat("x", 5000)} {
		if err := os.WriteFile(f.token, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f.piped("tenant", "list").has(t, exitSignIn, "does not hold one token", "code: unauthenticated")
	}
}

func TestColours(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	if got := f.typed("", "device", "show", "nobody"); !strings.Contains(got.err, "\x1b[31merror:\x1b[0m") {
		t.Errorf("no colour on a terminal: %q", got.err)
	}
	if got := f.piped("device", "show", "nobody"); strings.Contains(got.err, "\x1b") {
		t.Errorf("colour in a pipe: %q", got.err)
	}
	errs := &screen{person: true}
	plain := func(name string) string {
		if name == envNoColor {
			return "1"
		}
		return f.getenv(name)
	}
	if exit := newProcess(plain, keys{}, &screen{}, errs).run(t.Context(), []string{"device", "show", "nobody"}); exit != exitError || strings.Contains(errs.String(), "\x1b") {
		t.Errorf("exit %d, colour despite NO_COLOR: %q", exit, errs.String())
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.piped("__complete", "device", "show", "").has(t, exitDone, "sales-pixel-12\tada@contoso.example\nhr-laptop-11")
	f.piped("__complete", "tenant", "show", "").has(t, exitDone, "Contoso\t"+contosoID)
	f.piped("__complete", "tenant", "list", "-o", "").has(t, exitDone, "jsonl")
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := f.piped("completion", shell); got.exit != exitDone || len(got.out) < 1000 {
			t.Errorf("%s: exit %d, %d bytes", shell, got.exit, len(got.out))
		}
	}
}

// Every command has a sentence that says what it does and help that works, and no flag takes a secret.
func TestHelp(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	root := newProcess(f.getenv, keys{}, &screen{}, &screen{}).command()
	commands := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		commands++
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short is %q", c.CommandPath(), c.Short)
		}
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		f.piped(args...).has(t, exitDone, "Usage:")
		for _, below := range c.Commands() {
			walk(below)
		}
	}
	walk(root)
	if commands < 35 {
		t.Errorf("%d commands", commands)
	}
}

func TestApart(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "now", 30 * time.Second: "in 30 s", -90 * time.Second: "1 min ago", 3*time.Hour + 5*time.Minute: "in 3 h 5 min", -147 * time.Hour: "6 d 3 h ago",
	} {
		if got := apart(d); got != want {
			t.Errorf("apart(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestQuoted(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"Contoso": "Contoso", "Contoso Ltd": "'Contoso Ltd'", "a'b": `'a'\''b'`, "": "''"} {
		if got := quoted(in); got != want {
			t.Errorf("quoted(%q) = %s, want %s", in, got, want)
		}
	}
}

// stopper ends a server once it has said where it is.
type stopper struct {
	screen
	stop func()
}

func (s *stopper) Write(b []byte) (int, error) {
	n, err := s.screen.Write(b)
	if strings.Contains(s.String(), "for resets") {
		s.stop()
	}
	return n, err
}

func TestSimEndsCleanly(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &stopper{stop: cancel}
	args := []string{"sim", "--listen", "127.0.0.1:0", "--listen-http", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "sim")}
	exit := run(ctx, args, func(string) string { return "" }, keys{}, out, &screen{})
	if exit != exitDone || !strings.Contains(out.String(), "https://127.0.0.1:") {
		t.Errorf("exit %d\n%s", exit, out.String())
	}
}
