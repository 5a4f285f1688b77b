package devicereport_test

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"pinreset/events"
	"pinreset/shared/devicereport"
	"pinreset/shared/fault"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
)

//go:embed testdata/dsregcmd.txt
var dsregcmd string

const (
	tenant = "aaaaaaaa-0000-4000-8000-000000000001"
	sid    = "S-1-12-1-1234567890-1234567890-1234567890-1234567890"
)

var at = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

func report() devicereport.Report {
	return devicereport.Report{Version: 1, Sequence: 7, CollectedAt: at, Agent: "a test", Edition: "Enterprise", OSVersion: "10.0.22631.3447", Status: dsregcmd}
}

func value[T any](t *testing.T, what string, o reading.Of[T]) T {
	t.Helper()
	v, ok := o.Get()
	if !ok {
		t.Errorf("%s was not read: %+v", what, o.Why())
	}
	return v
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for what, text := range map[string]string{
		"lines": dsregcmd, "Windows' lines": strings.ReplaceAll(dsregcmd, "\n", "\r\n"),
		"PowerShell's file": devicereport.Text(wide(dsregcmd)), "UTF-8 with a mark": devicereport.Text([]byte("\ufeff" + dsregcmd)),
	} {
		s := devicereport.ParseStatus(text)
		if len(s.Other) != 1 || s.Other[0] != "A line of a newer Windows" {
			t.Errorf("%s: other lines %q", what, s.Other)
		}
		if v, ok := s.Get("Tenant Details", "AccessTokenUrl"); !ok || v != "" {
			t.Errorf("%s: an empty value is %q, %t", what, v, ok)
		}
		r := report()
		r.Status = text
		f := devicereport.Read(r, tenant, readiness.DeviceReport{})
		got := value(t, what, f.Status)
		want := readiness.Status{EntraJoined: true, HelloSet: true, HelloKey: "{FA0DB076-A5D7-4844-82D8-50A2FB42EC7B}", CanReset: "DestructiveAndNonDestructive",
			PrimaryToken: "YES", DeviceAuth: "SUCCESS", CloudTicket: "YES", OnPremisesTicket: "NO", ReportedDirectory: "Contoso"}
		if got != want || f.Tenant != tenant {
			t.Errorf("%s: %+v of tenant %s", what, got, f.Tenant)
		}
	}
	// Without the user's part it says nothing of the user's PIN; that is not "there is none".
	for _, text := range []string{dsregcmd[:strings.Index(dsregcmd, "| User State")], strings.Replace(dsregcmd, "NgcSet : YES", "NgcSet : ERROR", 1), "no such command"} {
		r := report()
		r.Status = text
		if o := devicereport.Read(r, tenant, readiness.DeviceReport{}).Status; o.OK() || o.Why().Code != fault.NotRead {
			t.Errorf("%.40q: %+v", text, o)
		}
	}
}

func wide(text string) []byte {
	out := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return out
}

func set(key, name, data string) devicereport.Value {
	return devicereport.Value{Key: key, Name: name, State: devicereport.Set, Data: data}
}

func without(key, name string, state devicereport.State) devicereport.Value {
	return devicereport.Value{Key: key, Name: name, State: state}
}

const (
	gpo    = `HKLM\SOFTWARE\Policies\Microsoft\PassportForWork`
	mdm    = `HKLM\SOFTWARE\Microsoft\Policies\PassportForWork\` + tenant + `\Device\Policies`
	userGP = `HKCU\SOFTWARE\Policies\Microsoft\PassportForWork`
	hive   = `HKU\` + sid + `\SOFTWARE\Policies\Microsoft\PassportForWork`
	mine   = `HKLM\SOFTWARE\Microsoft\Policies\PassportForWork\` + tenant + `\` + sid + `\Policies`
)

func TestPolicyInEachPlace(t *testing.T) {
	t.Parallel()
	const name = "EnablePinRecovery"
	for what, c := range map[string]struct {
		values []devicereport.Value
		want   [4]readiness.Setting // user GP, computer GP, user MDM, device MDM; "" is unread
	}{
		"nothing":             {nil, [4]readiness.Setting{}},
		"looked, none":        {[]devicereport.Value{without(gpo, name, devicereport.Absent), without(mdm, name, devicereport.Absent)}, [4]readiness.Setting{"", readiness.NotSet, "", readiness.NotSet}},
		"by Group Policy":     {[]devicereport.Value{set(strings.ToLower(gpo), "enablepinrecovery", "1")}, [4]readiness.Setting{"", readiness.On, "", ""}},
		"off by Group Policy": {[]devicereport.Value{set(gpo, name, "0"), set(mdm, name, "1")}, [4]readiness.Setting{"", readiness.Off, "", readiness.On}},
		"of the user":         {[]devicereport.Value{set(userGP, name, "1"), set(mine, name, "0")}, [4]readiness.Setting{readiness.On, "", readiness.Off, ""}},
		"in the user's hive":  {[]devicereport.Value{set(hive, name, "1")}, [4]readiness.Setting{readiness.On, "", "", ""}},
		"not allowed to look": {[]devicereport.Value{without(gpo, name, devicereport.Denied), without(mdm, name, devicereport.Absent)}, [4]readiness.Setting{"", "", "", readiness.NotSet}},
		"neither 0 nor 1":     {[]devicereport.Value{set(mdm, name, "2")}, [4]readiness.Setting{}},
		"another tenant's":    {[]devicereport.Value{set(strings.Replace(mdm, "aaaaaaaa", "bbbbbbbb", 1), name, "1")}, [4]readiness.Setting{}},
		"another value":       {[]devicereport.Value{set(mdm, "UsePassportForWork", "1")}, [4]readiness.Setting{}},
	} {
		r := report()
		r.Registry = c.values
		p := devicereport.Read(r, tenant, readiness.DeviceReport{}).Policies
		for i, o := range []reading.Of[readiness.Setting]{p.UserGroupPolicy, p.ComputerGroupPolicy, p.UserMDM, p.DeviceMDM} {
			got, _ := o.Get()
			if got != c.want[i] || o.OK() != (c.want[i] != "") {
				t.Errorf("%s, place %d: %q (%+v), want %q", what, i, got, o.Why(), c.want[i])
			}
		}
	}
}

func TestTrust(t *testing.T) {
	t.Parallel()
	both := func(name string, v func(key, name string) devicereport.Value) []devicereport.Value {
		return []devicereport.Value{v(gpo, name), v(mdm, name)}
	}
	absent := func(key, name string) devicereport.Value { return without(key, name, devicereport.Absent) }
	cert, cloud := "UseCertificateForOnPremAuth", "UseCloudTrustForOnPremAuth"
	for what, c := range map[string]struct {
		values []devicereport.Value
		want   readiness.Trust
	}{
		"nothing":             {nil, ""},
		"key":                 {append(both(cert, absent), both(cloud, absent)...), readiness.KeyTrust},
		"certificate":         {[]devicereport.Value{set(mdm, cert, "1")}, readiness.CertificateTrust},
		"cloud Kerberos":      {append(both(cert, absent), set(gpo, cloud, "1")), readiness.CloudKerberosTrust},
		"certificate unread":  {[]devicereport.Value{set(gpo, cloud, "1")}, ""},
		"one place not read":  {append(both(cloud, absent), absent(gpo, cert)), ""},
		"certificate and all": {[]devicereport.Value{set(gpo, cert, "1"), set(gpo, cloud, "1")}, readiness.CertificateTrust},
	} {
		r := report()
		r.Registry = c.values
		o := devicereport.Read(r, tenant, readiness.DeviceReport{}).Trust
		if got, _ := o.Get(); got != c.want || o.OK() != (c.want != "") {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}

// TestLockScreen sets every limitation that the registry tells, and looks that it holds, that it does not where the value is
// another or is not there, and that it is not spoken of where nobody looked.
func TestLockScreen(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, l := range readiness.Limitations() {
		if l.Key == "" {
			continue
		}
		seen++
		for data, want := range map[string]bool{fmt.Sprint(l.Blocks): true, fmt.Sprint(1 - l.Blocks): false, "": false} {
			v := set(`HKLM\`+l.Key, l.Name, data)
			if data == "" {
				v.State = devicereport.Absent
			}
			r := report()
			r.Registry = []devicereport.Value{v}
			held := devicereport.Read(r, tenant, readiness.DeviceReport{}).LockScreen
			if got := value(t, l.ID, held[l.ID]); got != want {
				t.Errorf("%s = %q holds %t", l.Name, data, got)
			}
			if len(held) > 2 { // the combination may be told too
				t.Errorf("%s alone tells of %v", l.Name, held)
			}
		}
	}
	if seen < 7 {
		t.Errorf("only %d limitations of the registry", seen)
	}
	r := report()
	r.Registry = []devicereport.Value{set(`HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon`, "Shell", `C:\kiosk\kiosk.exe`)}
	r.LockScreen = []devicereport.Limit{{ID: readiness.LostMode, Holds: devicereport.Yes}, {ID: readiness.RemoteSession, Holds: devicereport.No}, {ID: "smart-card", Holds: devicereport.Yes}, {ID: "of-a-newer-agent", Holds: devicereport.Yes}}
	held := devicereport.Read(r, tenant, readiness.DeviceReport{}).LockScreen
	if !value(t, "shell", held[readiness.CustomShell]) || !value(t, "lost mode", held[readiness.LostMode]) || value(t, "remote", held[readiness.RemoteSession]) {
		t.Errorf("told by the agent: %v", held)
	}
	if _, ok := held["smart-card"]; ok {
		t.Error("an agent may tell what the registry tells")
	}
	old := report()
	old.OSVersion, old.Edition = "10.0.16299.1", "Core"
	old.Registry = []devicereport.Value{set(`HKLM\SOFTWARE\Policies\Microsoft\Windows\System`, "DisableLockScreenAppNotifications", "1"),
		set(`HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System`, "DisableCAD", "0")}
	if held := devicereport.Read(old, tenant, readiness.DeviceReport{}).LockScreen; !value(t, "combination", held[readiness.CtrlAltDel]) {
		t.Error("Home of version 1709 is not blocked by the three together")
	}
}

func hello(id int, after time.Duration) devicereport.Event {
	return devicereport.Event{Log: devicereport.HelloLog, ID: id, At: at.Add(after)}
}

func key(after time.Duration) devicereport.Event {
	return devicereport.Event{Log: devicereport.RegistrationLog, ID: 300, At: at.Add(after)}
}

func TestTraces(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		events []devicereport.Event
		want   []devicereport.Kind
	}{
		"none":                              {nil, nil},
		"recovery alone":                    {[]devicereport.Event{hello(3130, 0)}, []devicereport.Kind{devicereport.NonDestructive}},
		"container replaced":                {[]devicereport.Event{key(4 * time.Minute), hello(3611, 0), hello(3555, time.Minute)}, []devicereport.Kind{devicereport.Destructive}},
		"recovery, then replaced":           {[]devicereport.Event{hello(3130, 0), hello(3611, time.Minute), hello(3555, 2*time.Minute), key(3 * time.Minute)}, []devicereport.Kind{devicereport.Destructive}},
		"recovery, container deleted":       {[]devicereport.Event{hello(3130, 0), hello(3611, time.Minute)}, []devicereport.Kind{""}},
		"container deleted":                 {[]devicereport.Event{hello(3611, 0)}, nil},
		"set up for the first time":         {[]devicereport.Event{hello(3555, 0), key(time.Minute)}, nil},
		"key an hour later":                 {[]devicereport.Event{hello(3130, 0), key(time.Hour)}, []devicereport.Kind{devicereport.NonDestructive}},
		"two resets":                        {[]devicereport.Event{hello(3130, 0), hello(3130, time.Hour)}, []devicereport.Kind{devicereport.NonDestructive, devicereport.NonDestructive}},
		"tried twice within minutes":        {[]devicereport.Event{hello(3130, 0), hello(3130, time.Minute)}, []devicereport.Kind{devicereport.NonDestructive}},
		"the same numbers of another log":   {[]devicereport.Event{{Log: "Application", ID: 3130, At: at}, {Log: devicereport.RegistrationLog, ID: 3130, At: at}}, nil},
		"enrolled in recovery, never reset": {[]devicereport.Event{hello(3060, 0)}, nil},
	} {
		var got []devicereport.Kind
		for _, trace := range devicereport.Traces(c.events) {
			got = append(got, trace.Kind)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) || len(got) != len(c.want) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}

func TestEndsAndLastReset(t *testing.T) {
	t.Parallel()
	r := report()
	r.CollectedAt = at.Add(6 * time.Hour)
	r.EventsRead = true
	r.Events = []devicereport.Event{hello(3060, -time.Hour), hello(3130, 0), hello(3130, 5*time.Hour)}
	r.Resets = []devicereport.PINReset{{At: at.Add(time.Minute), Outcome: devicereport.Failed, Code: "-2145647539"}}
	ends := devicereport.Ends(r, readiness.DeviceReport{})
	if len(ends) != 2 || ends[0].Signal != "0x801C044D" || len(ends[0].Meanings) != 2 || ends[0].Kind != devicereport.NonDestructive || ends[1].Outcome != "" {
		t.Fatalf("%+v", ends)
	}
	early := r
	early.CollectedAt = at.Add(-time.Hour)
	if e := devicereport.Ends(early, readiness.DeviceReport{}); len(e) != 0 {
		t.Errorf("dated after the report was collected: %+v", e)
	}
	f := devicereport.Read(r, tenant, readiness.DeviceReport{})
	last := value(t, "last reset", f.LastReset)
	if !value(t, "enrolled", f.Enrolled) || last.Code != "0x801C044D" || !last.At.Equal(at.Add(time.Minute)) {
		t.Errorf("enrolled %+v, last reset %+v: one that was only begun is no last one", f.Enrolled, last)
	}
	// A report that tells of none leaves what was known; logs that were overwritten take nothing back.
	quiet := report()
	quiet.EventsRead = true
	g := devicereport.Read(quiet, tenant, f)
	if !value(t, "enrolled", g.Enrolled) || value(t, "last reset", g.LastReset) != last {
		t.Errorf("forgotten: %+v", g)
	}
	if h := devicereport.Read(quiet, tenant, readiness.DeviceReport{}); value(t, "enrolled", h.Enrolled) || h.LastReset.OK() {
		t.Errorf("invented: %+v", h)
	}
	if h := devicereport.Read(report(), tenant, readiness.DeviceReport{}); h.Enrolled.OK() {
		t.Errorf("nobody read the logs: %+v", h.Enrolled)
	}
	// Container events with the key of before are no destructive reset.
	r.Events, r.Resets = []devicereport.Event{hello(3611, 0), hello(3555, 0), key(0)}, nil
	if e := devicereport.Ends(r, f); len(e) != 1 || e[0].Outcome != "" {
		t.Errorf("the same key: %+v", e)
	}
	r.Status = strings.Replace(dsregcmd, "FA0DB076", "0B0DB076", 1)
	if e := devicereport.Ends(r, f); len(e) != 1 || e[0].Outcome != devicereport.Succeeded || e[0].Kind != devicereport.Destructive {
		t.Errorf("a new key: %+v", e)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	for signal, want := range map[string]fault.Code{
		"CAA20004": fault.PINServiceMissing, "caa20004": fault.PINServiceMissing, "AADSTS650052": fault.PINServiceMissing, "65001": fault.PINServiceMissing,
		"AADSTS650052: The app needs access to a service that your organization has not subscribed to": fault.PINServiceMissing,
		"We can’t open that page right now": fault.PINPageNotAllowed, "0x801c044d": fault.PINTokenIncomplete, "0x801C03ED": fault.PINKeyNotProvisioned,
		"2149319757": fault.PINTokenIncomplete, "-2016281112": fault.PolicyRemediationFailed, "−2016281112": fault.PolicyRemediationFailed,
		"0x80090036": fault.PINCancelled, "0xDEADBEEF": fault.PINResetFailed, "": fault.PINResetFailed, "0x": fault.PINResetFailed, "7": fault.PINResetFailed,
	} {
		if got := devicereport.Explain(signal); got.Code != want {
			t.Errorf("%q: %s, want %s", signal, got.Code, want)
		}
	}
	if x := devicereport.Explain("0x801C044D"); len(x.Meanings) != 2 || !strings.Contains(x.Text(), "no device id; or there is no token of the user") {
		t.Errorf("two meanings are %q", x.Text())
	}
	all := devicereport.Signals()
	if len(all) < 30 {
		t.Errorf("only %d signals", len(all))
	}
	for _, s := range all {
		x := devicereport.Explain(s)
		if x.Code == fault.PINResetFailed || !fault.Known(x.Code) || len(x.Meanings) == 0 || x.Signal != s {
			t.Errorf("%s: %+v", s, x)
		}
		if err := events.CheckText("text", x.Text(), 400, true); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	compiled := compile(t)
	good := report()
	good.Registry = []devicereport.Value{set(gpo, "EnablePinRecovery", "1"), without(mdm, "EnablePinRecovery", devicereport.Absent)}
	good.Events, good.EventsRead = []devicereport.Event{hello(3130, 0)}, true
	good.Resets = []devicereport.PINReset{{At: at, Outcome: devicereport.Failed, Kind: devicereport.NonDestructive, Code: "CAA20004"}}
	good.DomainController, good.LockScreen = devicereport.No, []devicereport.Limit{{ID: "lost-mode", Holds: devicereport.No}}
	for what, change := range map[string]func(*devicereport.Report){
		"":                  func(*devicereport.Report) {},
		"least":             func(r *devicereport.Report) { *r = devicereport.Report{Version: 1, Sequence: 1, CollectedAt: at} },
		"version":           func(r *devicereport.Report) { r.Version = 2 },
		"sequence":          func(r *devicereport.Report) { r.Sequence = 0 },
		"edition":           func(r *devicereport.Report) { r.Edition = "<b>" },
		"osVersion":         func(r *devicereport.Report) { r.OSVersion = "11" },
		"agent":             func(r *devicereport.Report) { r.Agent = strings.Repeat("a", 301) },
		"dsregcmd":          func(r *devicereport.Report) { r.Status = strings.Repeat("a", devicereport.MaxStatus+1) },
		"registry[0].key":   func(r *devicereport.Report) { r.Registry = []devicereport.Value{set(`HKCR\x`, "n", "")} },
		"registry[0].state": func(r *devicereport.Report) { r.Registry = []devicereport.Value{without(gpo, "n", "gone")} },
		"registry[0].name":  func(r *devicereport.Report) { r.Registry = []devicereport.Value{set(gpo, "", "")} },
		"registry[0].data": func(r *devicereport.Report) {
			r.Registry = []devicereport.Value{set(gpo, "n", strings.Repeat("a", 2049))}
		},
		"events[0]":            func(r *devicereport.Report) { r.Events = []devicereport.Event{hello(0, 0)} },
		"events[0].log":        func(r *devicereport.Report) { r.Events = []devicereport.Event{{ID: 1, At: at}} },
		"pinResets[0].outcome": func(r *devicereport.Report) { r.Resets = []devicereport.PINReset{{At: at, Outcome: "perhaps"}} },
		"pinResets[0].kind": func(r *devicereport.Report) {
			r.Resets = []devicereport.PINReset{{At: at, Outcome: "failed", Kind: "kind"}}
		},
		"lockScreen[0]": func(r *devicereport.Report) { r.LockScreen = []devicereport.Limit{{ID: "lost-mode", Holds: "maybe"}} },
		"federation":    func(r *devicereport.Report) { r.Federation = "perhaps" },
		"registry, events, pinResets or lockScreen": func(r *devicereport.Report) {
			for range devicereport.MaxResets + 1 {
				r.Resets = append(r.Resets, devicereport.PINReset{At: at, Outcome: devicereport.Succeeded})
			}
		},
	} {
		r := good
		change(&r)
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = devicereport.Parse(raw)
		field, _ := errors.AsType[*events.FieldError](err)
		fine := what == "" || what == "least"
		if fine != (err == nil) || !fine && (field == nil || field.Field != what) {
			t.Errorf("%q: %v", what, err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(v); fine != (err == nil) {
			t.Errorf("%q: the schema says %v", what, err)
		}
	}
	for _, raw := range []string{"", "null x", "[]", `{"version":1,"sequence":1,"collectedAt":"2026-11-22T08:00:00Z","tenantId":"x"}`, "{}{}", "\xff", strings.Repeat(" ", devicereport.MaxBytes+1)} {
		if _, err := devicereport.Parse([]byte(raw)); !errors.Is(err, devicereport.ErrForm) {
			t.Errorf("%.60q: %v", raw, err)
		}
	}
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(devicereport.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("urn:report", v); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("urn:report")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParseEvents(t *testing.T) {
	t.Parallel()
	const printed = `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-HelloForBusiness'/><EventID>3130</EventID><TimeCreated SystemTime='2026-11-22T07:58:12.1234567Z'/></System><EventData><Data Name='User'>x</Data></EventData></Event>
<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><EventID Qualifiers='0'>3060</EventID><TimeCreated SystemTime='2026-11-21T07:58:12Z'/></System></Event>`
	for what, raw := range map[string][]byte{"UTF-8": []byte(printed), "UTF-16": wide(printed)} {
		all, err := devicereport.ParseEvents(devicereport.HelloLog, raw)
		if err != nil || len(all) != 2 || all[0].ID != 3130 || all[1].ID != 3060 || all[0].At.Hour() != 7 || all[0].Log != devicereport.HelloLog {
			t.Errorf("%s: %+v, %v", what, all, err)
		}
	}
	if all, err := devicereport.ParseEvents("l", nil); err != nil || len(all) != 0 {
		t.Errorf("nothing: %v, %v", all, err)
	}
	if _, err := devicereport.ParseEvents("l", []byte("<Event><System>")); err == nil {
		t.Error("half an event is read")
	}
}

// TestPlacesAreUnderstood proves that what the agent is told to look at is what is read.
func TestPlacesAreUnderstood(t *testing.T) {
	t.Parallel()
	r := report()
	for _, p := range devicereport.Places(tenant, sid) {
		r.Registry = append(r.Registry, without(p.Key, p.Name, devicereport.Absent))
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	f := devicereport.Read(r, tenant, readiness.DeviceReport{})
	for i, o := range []reading.Of[readiness.Setting]{f.Policies.UserGroupPolicy, f.Policies.ComputerGroupPolicy, f.Policies.UserMDM, f.Policies.DeviceMDM} {
		if got := value(t, fmt.Sprint("place ", i), o); got != readiness.NotSet {
			t.Errorf("place %d: %s", i, got)
		}
	}
	if value(t, "trust", f.Trust) != readiness.KeyTrust || value(t, "allow list", f.AllowedURLs) != "" || len(f.LockScreen) < 9 {
		t.Errorf("%+v", f)
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte(dsregcmd))
	f.Add(wide(dsregcmd))
	f.Add([]byte("| |\n+-+\n : \n a : b : c\n:\n |"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		text := devicereport.Text(raw)
		s := devicereport.ParseStatus(text)
		for _, field := range s.Fields {
			if field.Name == "" || strings.ContainsAny(field.Name+field.Value, "\n") {
				t.Errorf("field %+q", field)
			}
			if v, ok := s.Get(field.Section, field.Name); !ok || len(v) > 1000 {
				t.Errorf("%+q is not found again", field)
			}
		}
		r := report()
		r.Status = text
		if len(text) > devicereport.MaxStatus || r.Validate() != nil {
			return
		}
		facts := devicereport.Read(r, tenant, readiness.DeviceReport{})
		if status, ok := facts.Status.Get(); ok && events.CheckText("canReset", status.CanReset, 300, false) != nil {
			t.Errorf("an unprintable value was taken: %q", status.CanReset)
		}
		if _, err := json.Marshal(facts); err != nil {
			t.Error(err)
		}
	})
}
