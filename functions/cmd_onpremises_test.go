package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
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

	// Nothing is read of it in Graph: it is left out of an audit of all, and that is no failure.
	pin("tenant", "readiness", "Northwind").has(t, exitDone, "on-premises-settings", "nothing is audited on premises")
	all := pin("audit", "run", "--all", "--watch")
	all.has(t, exitDone, "1 of 1 tenant", "Contoso (sample)", "on-premises")
	pin("audit", "export").has(t, exitDone, "Northwind,"+one.ID+",on-premises,,,,")
	pin("audit", "run", "Northwind").has(t, exitError, "code: tenant_on_premises")

	// A device there is the id that its first key was made for; all that is known of it, it tells.
	const computer = "6F1A2C3D-0000-4000-8000-0000000000AA"
	keyFile, report := filepath.Join(dir, "device.key"), filepath.Join(dir, "report.json")
	pin("device", "key", "add", "fin-laptop-3", "--tenant", one.ID).has(t, exitError, "is named by an id", "objectGUID")
	pin("device", "key", "add", computer, "--tenant", one.ID, "--save", keyFile).has(t, exitDone, strings.ToLower(computer))
	pin("device", "key", "list", computer, "--tenant", one.ID).has(t, exitDone, "v1a")
	pin("device", "readiness", computer, "--tenant", one.ID).has(t, exitError, "code: not_found")
	tell := func(sequence int, federation string) {
		t.Helper()
		text := fmt.Sprintf(`{"version":1,"sequence":%d,"collectedAt":%q,"edition":"Professional","osVersion":"10.0.19045.4291",
			"dsregcmd":"+----+\n| Device State |\n+----+\n AzureAdJoined : NO\n EnterpriseJoined : YES\n DomainJoined : YES\n+----+\n| User State |\n+----+\n NgcSet : YES\n CanReset : DestructiveOnly\n WorkplaceJoined : NO\n",
			"domainController":"yes","federation":%q}`, sequence, time.Now().UTC().Format(time.RFC3339), federation)
		if err := os.WriteFile(report, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		pin("device", "report", "--key-file", keyFile, "--file", report).has(t, exitDone, "sequence")
	}
	becomes := func(want ...string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; {
			got := pin("device", "readiness", computer, "--tenant", one.ID, "--verbose")
			missing := ""
			for _, part := range want {
				if !strings.Contains(got.out, part) {
					missing = part
				}
			}
			if missing == "" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("readiness does not say %q: %s%s", missing, got.out, got.err)
			}
		}
	}
	tell(1, "no")
	becomes("on-premises-settings: no", "federation [failed]", "non-destructive-settings: no")
	tell(2, "yes")
	becomes("on-premises-settings: yes", "federation [passed]", "I forgot my PIN")

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
		"is in Entra ID":           {"--on-premises", "--domain", "corp.example", strings.ToUpper(contosoID)},
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
