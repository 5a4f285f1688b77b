package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/graph/graphsim"
)

// TestDoctor examines a server that runs, as its operator does, then breaks one thing after the other.
func TestDoctor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := startBinary(t, dir)
	waitProven(t, r.client())
	doctor := func(now func() time.Time, env map[string]string, args ...string) (all map[string][]finding, exit int) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		p := newProcess(func(name string) string { return env[name] }, strings.NewReader(""), &stdout, &stderr)
		p.now = now
		exit = p.run(t.Context(), append([]string{"doctor", "-o", "json", "--data", r.data, "--server", r.url, "--token-file", filepath.Join(r.data, "admin-token")}, args...))
		var list []finding
		if err := json.Unmarshal(stdout.Bytes(), &list); err != nil {
			t.Fatalf("doctor says %s and %s: %v", &stdout, &stderr, err)
		}
		all = map[string][]finding{}
		for _, f := range list {
			if f.State != fine && f.Fix == "" || f.State == fine && f.Fix != "" || f.Found == "" {
				t.Errorf("%+v: what is not fine comes with what to do, and only that", f)
			}
			all[f.Check] = append(all[f.Check], f)
		}
		return all, exit
	}
	is := func(all map[string][]finding, check, state, text string) {
		t.Helper()
		for _, f := range all[check] {
			if f.State == state && strings.Contains(f.Found, text) {
				return
			}
		}
		t.Errorf("%s is %+v, want %s with %q", check, all[check], state, text)
	}

	all, exit := doctor(time.Now, nil)
	if exit != exitDone {
		t.Errorf("a sound server: exit %d, %+v", exit, all)
	}
	is(all, "store work", fine, "sound")
	is(all, "store keys", fine, "sound")
	is(all, "clock", fine, "within")
	contoso := "permissions in " + graphsim.Contoso
	is(all, contoso, fine, "that reads has")
	is(all, contoso, fine, "that resets has")

	told := "notifications of " + graphsim.Contoso
	is(all, told, fine, "has what it needs")
	yes := true
	if _, err := r.client().ChangeNotifications(t.Context(), graphsim.Contoso, client.NotificationChange{MailUser: &yes}); err != nil {
		t.Fatal(err)
	}
	all, exit = doctor(time.Now, nil)
	is(all, told, warned, "not set up to send any")
	if exit != exitDone {
		t.Errorf("mail without a server: exit %d", exit)
	}

	// The permissions that only some work needs, taken away: told with what they are for, and no error.
	x := &examination{config: config{Data: r.data}, now: time.Now}
	at, err := x.reach()
	if err != nil {
		t.Fatal(err)
	}
	sim := &cloudProcess{pages: at.consent}
	lacking := map[string]string{
		"DeviceManagementApps.Read.All":               "Intune's portal",
		"DeviceManagementConfiguration.ReadWrite.All": "rolled out",
	}
	for role := range lacking {
		sim.control(t, http.MethodDelete, "/tenants/"+graphsim.Contoso+"/apps/"+at.app.id+"/roles", map[string]any{"roles": []string{role}}, nil)
	}
	for limit := time.Now().Add(20 * time.Second); len(all[contoso]) < 1+len(lacking) && time.Now().Before(limit); pass(50 * time.Millisecond) {
		all, exit = doctor(time.Now, nil) // directories replicate
	}
	for role, text := range lacking {
		is(all, contoso, warned, "lacks "+role)
		is(all, contoso, warned, text)
	}
	if exit != exitDone {
		t.Errorf("permissions that only some work needs: exit %d", exit)
	}

	all, exit = doctor(func() time.Time { return time.Now().Add(-90 * time.Second) }, nil)
	is(all, "clock", warned, "1m")
	if exit != exitDone {
		t.Errorf("a warning: exit %d", exit)
	}
	all, exit = doctor(func() time.Time { return time.Now().Add(time.Hour) }, nil)
	is(all, "clock", broken, "h")
	if exit != exitError {
		t.Errorf("a clock an hour away: exit %d", exit)
	}
	const nobody = "dddddddd-0000-4000-8000-00000000000d"
	all, exit = doctor(time.Now, nil, "--tenant", nobody)
	is(all, "permissions in "+nobody, broken, "can't sign in")
	if exit != exitError {
		t.Errorf("a tenant without consent: exit %d", exit)
	}
	all, exit = doctor(time.Now, map[string]string{"PINRESET_GRAPH": "http://graph", "PINRESET_GIVE_UP_AFTER": "soon"})
	is(all, "configuration", broken, "PINRESET_GRAPH")
	is(all, "configuration", broken, "PINRESET_GIVE_UP_AFTER")
	if exit != exitError {
		t.Errorf("a wrong configuration: exit %d", exit)
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(filepath.Join(r.data, keysDir, rootKeyFile), 0o640); err != nil {
			t.Fatal(err)
		}
		all, exit = doctor(time.Now, nil)
		is(all, "mode of keys/root-key", broken, "others")
		if exit != exitError {
			t.Errorf("a key that others can read: exit %d", exit)
		}
	}

	// The permissions that an app has are told from those that it lacks, and from those that it had better not have.
	cfg, _, err := at.signedIn(time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	x.permissions(t.Context(), cfg, cfg.App, graphsim.Contoso, "reader", []need{{one: []string{"Nothing.Read.All", "Nothing.ReadWrite.All"}}, {one: []string{"Directory.Read.All"}}})
	x.permissions(t.Context(), cfg, *cfg.Privileged, graphsim.Contoso, "resetter", []need{{one: []string{"DeviceManagementManagedDevices.Read.All"}}})
	x.permissions(t.Context(), cfg, cfg.SecretApp(at.app.id, "wrong"), graphsim.Contoso, "stranger", leastGeneral)
	// One that only some work needs takes away that work alone, and is told beside what is lacking for everything.
	x.permissions(t.Context(), cfg, cfg.App, graphsim.Contoso, "reader", []need{{[]string{"Nothing.Write.All"}, "nothing is written"}, {one: []string{"Directory.Read.All"}}})
	for i, want := range []struct{ state, text string }{{broken, "lacks Nothing.Read.All"}, {warned, "wipe"}, {broken, "can't sign in"},
		{warned, "lacks Nothing.Write.All: nothing is written; nothing else"}} {
		if f := x.findings[i]; f.State != want.state || !strings.Contains(f.Found, want.text) || strings.HasSuffix(f.Found, "Directory.Read.All") {
			t.Errorf("finding %d is %+v, want %s with %q", i, f, want.state, want.text)
		}
	}
	if len(x.findings) != 4 {
		t.Errorf("%d findings of four looks: %+v", len(x.findings), x.findings)
	}
	if strings.Contains(x.findings[2].Found, "wrong") {
		t.Errorf("the secret is told: %s", x.findings[2].Found)
	}
}
