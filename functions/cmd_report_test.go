package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pinreset/shared/devicereport"
	"pinreset/shared/webhook"
)

const statusText = "| Device State |\n AzureAdJoined : YES\n EnterpriseJoined : NO\n DomainJoined : NO\n| User State |\n NgcSet : YES\n CanReset : DestructiveOnly\n WorkplaceJoined : NO\n"

func TestDeviceKeyCommands(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	signer := webhook.NewPair()
	f.deviceKey = signer.Clear()
	file := filepath.Join(t.TempDir(), "key.json")
	got := f.piped("device", "key", "add", "hr-laptop-11", "--save", file, "--reason", "an agent", "-o", "json")
	got.has(t, exitDone, `"file"`)
	if strings.Contains(got.out+got.err, signer.Clear()) {
		t.Errorf("a saved key is printed: %s%s", got.out, got.err)
	}
	k, saved, err := readKeyFile(file)
	if err != nil || saved.Clear() != signer.Clear() || k.Server != f.server.URL || k.Callback != "/callbacks/devices/x.k1" {
		t.Errorf("saved %+v, %v", k, err)
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the key file: %v, %v", info, err)
	}
	if sent := f.bodies["POST /devices/"+laptopID+"/keys"]; len(sent) != 1 || sent[0]["kind"] != "ed25519" || sent[0]["reason"] != "an agent" {
		t.Errorf("sent %v", sent)
	}
	f.piped("device", "key", "add", "hr-laptop-11", "--save", file).has(t, exitError, "exists already")
	f.piped("device", "key", "add", "hr-laptop-11").has(t, exitDone, signer.Clear())
	f.piped("device", "key", "list", "hr-laptop-11").has(t, exitDone, "/callbacks/devices/x.k1")
	f.piped("device", "key", "revoke", "hr-laptop-11", "k1", "--reason", "lost").has(t, exitDone, "revoked")
	f.deviceKey = ""
	other := filepath.Join(t.TempDir(), "key.json")
	f.piped("device", "key", "add", "hr-laptop-11", "--save", other).has(t, exitError, "lost on the way")
	if _, err := os.Stat(other); !os.IsNotExist(err) {
		t.Errorf("an empty key file stays: %v", err)
	}
}

func TestDeviceReportCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	signer := webhook.NewShared()
	var taken []devicereport.Report
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.Header.Get("Authorization") != "" || r.URL.Path != "/callbacks/devices/t.k" {
			t.Errorf("%s with %q", r.URL.Path, r.Header.Get("Authorization"))
		}
		if _, err := webhook.Check(r.Header, body, time.Now(), signer.Checker()); err != nil {
			refusal{401, "unauthenticated", "The report is not signed with a valid key of a device.", ""}.write(w)
			return
		}
		report, err := devicereport.Parse(body)
		if err != nil {
			t.Error(err)
		}
		taken = append(taken, report)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"id":"r1"}`)
	}))
	t.Cleanup(server.Close)
	keyOf := func(s webhook.Signer) string {
		text, err := json.Marshal(keyFile{Server: server.URL, Callback: "/callbacks/devices/t.k", Key: s.Clear()})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	key, status := put("key.json", keyOf(signer)), put("status.txt", statusText)
	device := func(stdin io.Reader, args ...string) ended {
		t.Helper()
		var out, errs strings.Builder
		exit := run(t.Context(), append([]string{"device", "report"}, args...), func(string) string { return "" }, stdin, &out, &errs)
		return ended{exit, out.String(), errs.String()}
	}
	none := strings.NewReader("")

	// --print shows everything and sends nothing.
	device(none, "--dsregcmd", status, "--print", "--key-file", key).has(t, exitDone, "CanReset : DestructiveOnly")
	if len(taken) != 0 {
		t.Fatal("--print has sent a report")
	}
	device(none, "--dsregcmd", status, "--key-file", key, "--pin-failed", "CAA20004").has(t, exitDone, "r1")
	device(strings.NewReader(statusText), "--dsregcmd", "-", "--key-file", key).has(t, exitDone, "r1")
	if len(taken) != 2 || taken[0].Status != statusText || len(taken[0].Resets) != 1 || taken[0].Resets[0].Code != "CAA20004" || taken[1].Sequence < taken[0].Sequence {
		t.Fatalf("taken %+v", taken)
	}
	file := put("report.json", `{"sequence":5,"collectedAt":"2026-11-22T08:00:00Z","edition":"Enterprise","agent":"another"}`)
	device(none, "--file", file, "--key-file", key).has(t, exitDone, "r1")
	if r := taken[2]; r.Sequence != 5 || r.Version != 1 || r.Agent != "another" || r.Edition != "Enterprise" {
		t.Errorf("taken of a file %+v", r)
	}

	for what, c := range map[string]struct {
		args []string
		want string
	}{
		"no key file":        {[]string{"--dsregcmd", status}, "--key-file"},
		"missing key file":   {[]string{"--dsregcmd", status, "--key-file", filepath.Join(dir, "none")}, "can't be read"},
		"no key in it":       {[]string{"--dsregcmd", status, "--key-file", put("bad.json", `{"server":"`+server.URL+`","callback":"/callbacks/devices/t.k","key":"whsec_x"}`)}, "does not hold a key"},
		"no key file's":      {[]string{"--dsregcmd", status, "--key-file", status}, "not a key file"},
		"missing file":       {[]string{"--file", filepath.Join(dir, "none"), "--key-file", key}, "can't be read"},
		"no report":          {[]string{"--file", status, "--key-file", key}, "not a report"},
		"a report refused":   {[]string{"--file", put("wrong.json", `{"edition":"<b>"}`), "--key-file", key}, "edition"},
		"no status":          {[]string{"--dsregcmd", put("status.bad", "it said nothing\n"), "--key-file", key}, "is not the text of dsregcmd"},
		"both files":         {[]string{"--file", file, "--dsregcmd", status}, "none of the others"},
		"another's key":      {[]string{"--dsregcmd", status, "--key-file", put("other.json", keyOf(webhook.NewShared()))}, "not signed"},
		"a far plain server": {[]string{"--dsregcmd", status, "--key-file", key, "--server", "http://pinreset.example"}, "https"},
	} {
		if got := device(none, c.args...); got.exit == exitDone || !strings.Contains(got.err, c.want) {
			t.Errorf("%s: exit %d: %s", what, got.exit, got.err)
		}
	}
	if runtime.GOOS != "windows" {
		device(none, "--print").has(t, exitError, "Only a Windows device")
	}
	if len(taken) != 3 {
		t.Errorf("%d reports were taken", len(taken))
	}
}
