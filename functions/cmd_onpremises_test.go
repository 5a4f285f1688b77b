package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/tenant"
)

// TestOnPremisesFromTheCommandLine looks after a tenant without Entra on a server that runs, beside one with.
func TestOnPremisesFromTheCommandLine(t *testing.T) {
	t.Parallel()
	r := startBinary(t, t.TempDir())
	waitProven(t, r.client())
	dir := t.TempDir()
	pin := func(args ...string) ended {
		t.Helper()
		var stdout, stderr bytes.Buffer
		p := newProcess(func(string) string { return "" }, strings.NewReader(""), &stdout, &stderr)
		exit := p.run(t.Context(), append(args, "--server", r.url, "--token-file", filepath.Join(r.data, "admin-token"), "--no-input"))
		return ended{exit, stdout.String(), stderr.String()}
	}
	added := pin("tenant", "add", "--on-premises", "--domain", "Corp.Example", "Northwind", "-o", "json")
	var one client.Tenant
	if err := json.Unmarshal([]byte(added.out), &one); err != nil || added.exit != exitDone || one.Kind != tenant.OnPremises || one.Domain != "corp.example" {
		t.Fatalf("exit %d, %v: %s%s", added.exit, err, added.out, added.err)
	}
	pin("tenant", "show", "Northwind").has(t, exitDone, "on premises: Active Directory domain corp.example", "notApplicable", "what applies", "read aloud, from Settings",
		"read aloud, above the lock screen", "A domain controller in reach (the device reports it)", "The federation service in reach")
	if show := pin("tenant", "show", "Northwind"); strings.Contains(show.out+show.err, "tenant consent") {
		t.Errorf("it offers a consent: %s%s", show.out, show.err)
	}
	pin("tenant", "show", "Contoso (sample)").has(t, exitDone, "what applies", "Intune manages")
	pin("tenant", "list").has(t, exitDone, "Northwind", "notApplicable", "Contoso (sample)")
	pin("tenant", "consent", "Northwind", "--watch").has(t, exitDone, "notApplicable")
	for _, args := range [][]string{{"device", "list"}, {"tenant", "consent", "--restart"}} {
		pin(append(args, "--tenant", one.ID)...).has(t, exitError, "code: tenant_on_premises", "pinreset tenant show")
	}
	// A device of it is known by its id alone; its key is made without Intune.
	const counter = "5e7a0c3e-7e57-4c10-8d01-0000000000a1"
	pin("device", "key", "add", strings.ToUpper(counter), "--tenant", one.ID, "--reason", "an agent").has(t, exitDone, counter, "/callbacks/devices/")
	pin("device", "key", "list", counter, "--tenant", one.ID).has(t, exitDone, "/callbacks/devices/")
	pin("device", "key", "add", "counter-pc", "--tenant", one.ID).has(t, exitError, "code: tenant_on_premises")
	doctor := pin("doctor", "--data", r.data, "-o", "json")
	if strings.Contains(doctor.out, one.ID) || !strings.Contains(doctor.out, "permissions in ") || doctor.exit != exitDone {
		t.Errorf("doctor: exit %d\n%s%s", doctor.exit, doctor.out, doctor.err)
	}

	// The server's own measures and housekeeping go on with it there, and its log says who added it.
	deadline := time.Now().Add(20 * time.Second)
	for log := ""; !strings.Contains(log, "tenant.added"); log = pin("audit", "log", "--tenant", one.ID).out {
		if time.Now().After(deadline) {
			t.Fatalf("the log of the tenant is %s", log)
		}
	}
	res, err := http.Get(r.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("health: %d", res.StatusCode)
	}
	if failures := pin("diag", "list", "--tenant", one.ID); failures.out != "" {
		t.Errorf("it failed at something: %s", failures.out)
	}

	gone := pin("tenant", "offboard", "Northwind", "--reason", "the contract has ended", "--yes", "--export", filepath.Join(dir, "out.jsonl"))
	gone.has(t, exitDone, "0")
	if strings.Contains(gone.err, "Entra ID") {
		t.Errorf("it speaks of a consent: %s", gone.err)
	}
	if _, err := r.client().Tenant(t.Context(), one.ID); !client.IsCode(err, fault.NotFound) {
		t.Errorf("after offboarding: %v", err)
	}
}

func TestOnPremisesMistakes(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	for want, args := range map[string][]string{
		"needs --domain":           {"--on-premises", "Northwind"},
		"no --name":                {"--on-premises", "--domain", "corp.example", "--name", "N", "Northwind"},
		"needs --on-premises":      {"--domain", "corp.example", "--name", "N", contosoID},
		"nothing is consented":     {"--on-premises", "--domain", "corp.example", "--watch", "Northwind"},
		"is not for --on-premises": {"--on-premises", "--domain", "corp.example", "--create-service-principals", "Northwind"},
		`"name" not set`:           {contosoID},
		"is not a GUID":            {"--name", "N", "Northwind"},
	} {
		f.piped(append([]string{"tenant", "add"}, args...)...).has(t, exitError, want)
	}
	if sent := f.sent("POST tenants"); len(sent) != 0 {
		t.Errorf("sent %v", sent)
	}
}
