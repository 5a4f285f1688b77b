package main

import (
	"bytes"
	"context"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/graph/graphsim"
)

// TestRefusalsNameFlags types what the server refuses: the refusal is told in the words of the command line.
func TestRefusalsNameFlags(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	o := observe(ctx, t, nil, "")
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		args []string
		exit int
		says string
	}{
		{[]string{"device", "reset", "sales-pixel-12", "--yes", "--reason", long}, exitError, "--reason "},
		{[]string{"device", "reset", "sales-pixel-12", "--yes", "--reason", "x", "--ticket", long}, exitError, "--ticket "},
		{[]string{"device", "reset", "--group", "pilot", "--dry-run"}, exitError, "--group must be a GUID"},
		{[]string{"device", "list", "--search", long}, exitError, "--search "},
		{[]string{"passcode", "list", "--state", "lost"}, exitError, "--state is not a state"},
		{[]string{"policy", "rollout", "--group", graphsim.Contoso, "--reason", "x"}, exitError, "--group is the tenant's id"},
		{[]string{"tenant", "settings", "--passcode-hours", "999"}, exitError, "--passcode-hours "},
		{[]string{"notification", "settings", "--contact", "nobody"}, exitError, "--contact "},
		{[]string{"notification", "settings", "--webhook", "ftp://hook.example"}, exitError, "--webhook "},
		{[]string{"notification", "settings", "--teams-on"}, exitError, "--teams-on "},
		{[]string{"tenant", "add", "fab21ca0-7e57-4c10-8d01-000000000002", "--name", long}, exitError, "--name "},
		{[]string{"token", "add", "--name", "n", "--for", "*", "--permission", "tenant.read", "--days", "9999"}, exitError, "--days "},
		{[]string{"token", "add", "--name", "n", "--for", "*", "--permission", "everything"}, exitError, "--permission "},
		{[]string{"device", "key", "add", "hr-laptop-11", "--kind", "rsa"}, exitError, "--kind "},

		// Whoever only looks needs no reason; whoever resets does.
		{[]string{"device", "reset", "--all", "--dry-run"}, exitDone, "can be reset"},
		{[]string{"policy", "rollout", "--dry-run", "--all-users"}, exitDone, "hash"},
		{[]string{"device", "reset", "--all", "--yes"}, exitError, "--reason is needed"},
		{[]string{"device", "reset", "sales-pixel-12", "--yes"}, exitError, "--reason is needed"},
		{[]string{"device", "reset", "--dry-run"}, exitError, "--dry-run needs --group or --all"},
		{[]string{"device", "reset", "sales-pixel-12", "--dry-run"}, exitError, "name a device, or --group, or --all"},
		{[]string{"device", "reset", "--reason", "x"}, exitError, "name a device, or --group, or --all"},
	} {
		var stdout, stderr bytes.Buffer
		args := append(slices.Clone(c.args), "--server", o.url, "--token-file", filepath.Join(o.config.Data, "admin-token"))
		exit := run(ctx, args, func(string) string { return "" }, strings.NewReader(""), &stdout, &stderr)
		what := strings.Join(c.args, " ")
		what = what[:min(len(what), 80)]
		all := stdout.String() + stderr.String()
		if exit != c.exit || !strings.Contains(all, c.says) {
			t.Errorf("%s: exit %d, want %d with %q:\n%s", what, exit, c.exit, c.says, all)
		}
		if strings.Contains(all, "body.") || strings.Contains(all, "query.") {
			t.Errorf("%s names the places of a request:\n%s", what, all)
		}
		if exit == exitError && (strings.Count(stderr.String(), "error:") != 1 || !strings.Contains(stderr.String(), "next: pinreset "+c.args[0])) {
			t.Errorf("%s does not say in one line what is wrong, and then what to do:\n%s", what, &stderr)
		}
	}
	for b, err := range o.api.Bulks(ctx, graphsim.Contoso) {
		if err != nil || !b.Plan {
			t.Errorf("%s is no plan: %v", b.ID, err)
		}
	}
}

// TestEveryFieldHasAFlag: a field that a command sends, and that can therefore be refused, has a name at the command line.
func TestEveryFieldHasAFlag(t *testing.T) {
	t.Parallel()
	root := newProcess(func(string) string { return "" }, strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}).command()
	for _, c := range []struct {
		command string
		body    any
		none    []string // that no flag fills by itself
	}{
		{"device reset", client.NewBulk{}, []string{"expected", "planHash"}}, // of the plan that was confirmed
		{"policy rollout", client.NewRollout{}, nil},
		{"policy rollback", client.NewRollback{}, nil},
		{"device key add", client.NewDeviceKey{}, nil},
		{"tenant add", client.NewTenant{}, []string{"kind", "tenantId"}}, // --on-premises, and an argument
		{"tenant settings", client.SettingsChange{}, nil},
		{"notification settings", client.NotificationChange{}, nil},
		{"token add", client.NewToken{}, nil},
	} {
		command, _, err := root.Find(strings.Fields(c.command))
		if err != nil {
			t.Fatal(err)
		}
		if err := command.ParseFlags(nil); err != nil { // which joins those of its parents
			t.Fatal(err)
		}
		fields := reflect.VisibleFields(reflect.TypeOf(c.body))
		for _, f := range fields {
			field, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if field == "" {
				continue
			}
			name, flag := named(command, "body."+field+"[0]")
			if flag == slices.Contains(c.none, field) {
				t.Errorf("%s: %s is called %s, a flag %t", c.command, field, name, flag)
			}
		}
	}
	if name, flag := named(root, "body.data.reason"); name != "data.reason" || flag {
		t.Errorf("a field of an event is called %s", name)
	}
	if name, _ := named(root, "body"); name != "" {
		t.Errorf("the whole body is called %s", name)
	}
}
