package policy

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// asFound is what Graph has after a call of Create and one of Assign.
func asFound(t *testing.T, shape Shape, create Call, set []Assignment) []Found {
	t.Helper()
	var body map[string]json.RawMessage
	if err := json.Unmarshal(create.Body, &body); err != nil {
		t.Fatal(err)
	}
	body["id"] = json.RawMessage(`"` + policyID + `"`)
	entity, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	d := Document{Entity: entity, Assignments: []json.RawMessage{}}
	for _, a := range set {
		d.Assignments = append(d.Assignments, json.RawMessage(`{"id":"x","target":`+string(a.target())+`}`))
	}
	found, err := Detect(tenantID, shape.Store(), d)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func writes(p Plan) []Call {
	var all []Call
	for _, c := range p.Calls {
		if c.Write() {
			all = append(all, c)
		}
	}
	return all
}

// In every shape: the plan creates and assigns; given to what that led to, there is nothing to do; turning off changes the value
// and keeps all assignments.
func TestPlanSettles(t *testing.T) {
	t.Parallel()
	for _, shape := range Shapes {
		t.Run(string(shape), func(t *testing.T) {
			t.Parallel()
			wish := Desired{Shape: shape, Value: On, Include: []string{groupID(1)}, Exclude: []string{groupID(2)}}
			first, err := wish.Plan(tenantID, nil, PublishedPace)
			if err != nil {
				t.Fatal(err)
			}
			w := writes(first)
			if len(w) != 2 || first.Writes != 2 || w[0].Method != "POST" || w[0].Path != shape.Store().Path() || w[1].Path != shape.Store().Path()+"/{id}/assign" || w[1].Version != beta {
				t.Fatalf("writes %+v", w)
			}
			found := asFound(t, shape, w[0], first.Set)
			if len(found) != 1 || found[0].Shape != shape || found[0].Value != On || !found[0].Mine || found[0].Misspelt {
				t.Fatalf("what was created is found as %+v", found)
			}
			again, err := wish.Plan(tenantID, found, PublishedPace)
			if err != nil || !again.Nothing() || again.Policy.ID != policyID {
				t.Errorf("the second time: %+v %v", again, err)
			}
			if again.Hash == first.Hash {
				t.Error("a plan with writes and one without have the same hash")
			}
			theirs := append(found[0].Assignments, other(1), filtered(include(7)))
			found[0].Assignments = theirs
			off, err := Desired{Shape: shape, Value: Off}.Plan(tenantID, found, PublishedPace)
			if err != nil {
				t.Fatal(err)
			}
			w = writes(off)
			if len(w) != 1 || !strings.HasSuffix(w[0].Path, policyID) || !Equal(off.Set, theirs) {
				t.Fatalf("turning off: %+v", off)
			}
			var body map[string]json.RawMessage
			if err := json.Unmarshal(w[0].Body, &body); err != nil {
				t.Fatal(err)
			}
			merged := map[string]json.RawMessage{}
			if err := json.Unmarshal(writes(first)[0].Body, &merged); err != nil {
				t.Fatal(err)
			}
			for name, v := range body {
				merged[name] = v
			}
			whole, err := json.Marshal(merged)
			if err != nil {
				t.Fatal(err)
			}
			now := asFound(t, shape, Call{Body: whole}, theirs)
			if len(now) != 1 || now[0].Value != Off || now[0].Shape != shape {
				t.Errorf("after turning off: %+v", now)
			}
		})
	}
}

func TestCreateByDefault(t *testing.T) {
	t.Parallel()
	c, err := Create(strings.ToUpper(tenantID), OMAURI, On)
	const want = `{"@odata.type":"#microsoft.graph.windows10CustomConfiguration","displayName":"PIN recovery","description":"managed by pinreset",` +
		`"omaSettings":[{"@odata.type":"#microsoft.graph.omaSettingBoolean","displayName":"EnablePinRecovery","description":"",` +
		`"omaUri":"./Device/Vendor/MSFT/PassportForWork/` + tenantID + `/Policies/EnablePinRecovery","value":true}]}`
	if err != nil || string(c.Body) != want || c.Version != "v1.0" || c.Path != "/deviceManagement/deviceConfigurations" {
		t.Errorf("%+v %v", c, err)
	}
	for _, shape := range []Shape{Intent, GroupPolicy, "x"} {
		if _, err := Create(tenantID, shape, On); !errors.Is(err, ErrShape) {
			t.Errorf("%s: %v", shape, err)
		}
	}
	if _, err := Create(tenantID, OMAURI, Unknown); err == nil {
		t.Error("a policy of an unknown value was created")
	}
}

// A write of the value gives back whatever else the policy sets, byte for byte.
func TestSetValueKeepsTheRest(t *testing.T) {
	t.Parallel()
	theirs := `{"@odata.type":"#microsoft.graph.omaSettingString",  "displayName":"<theirs>","omaUri":"./Device/Vendor/MSFT/X","value":"a","isEncrypted":false,"secretReferenceValueId":null}`
	entity := strings.Replace(customProfile("#microsoft.graph.omaSettingBoolean", URI(tenantID, User), `,"value":true`), `"omaSettings":[`, `"omaSettings":[`+theirs+`,`, 1)
	set := func(entity string) (Call, error) {
		t.Helper()
		found, err := Detect(tenantID, DeviceConfigurations, Document{Entity: json.RawMessage(entity)})
		if err != nil || len(found) != 1 {
			t.Fatalf("%+v %v", found, err)
		}
		return SetValue(tenantID, found[0], Off)
	}
	c, err := set(entity)
	if err != nil || c.Method != "PATCH" || c.Version != beta || !strings.Contains(string(c.Body), `"omaSettings":[`+theirs+`,{`) ||
		!strings.Contains(string(c.Body), URI(tenantID, User)+`","value":false}]}`) {
		t.Errorf("%s %v", c.Body, err)
	}
	if _, err := set(strings.Replace(entity, `"isEncrypted":false`, `"isEncrypted":true`, 1)); !errors.Is(err, ErrNotWritable) {
		t.Errorf("beside an encrypted setting: %v", err)
	}

	catalog := Document{Entity: json.RawMessage(strings.Replace(catalogEntity, "%s", `,"templateReference":{"templateId":"","x":1}`, 1)),
		Settings: []json.RawMessage{json.RawMessage(`{"id":"0",  "settingInstance":{"settingDefinitionId":"theirs","odd":1.0}}`), catalogSettings(catalogSetting, catalogSetting+"_true")}}
	found, err := Detect(tenantID, ConfigurationPolicies, catalog)
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v %v", found, err)
	}
	c, err = SetValue(tenantID, found[0], Off)
	want := `"settings":[` + string(catalog.Settings[0]) + `,` + string(catalogSettings(catalogSetting, catalogSetting+"_false")) + `]}`
	if err != nil || c.Method != "PUT" || !strings.HasSuffix(string(c.Body), want) || !json.Valid(c.Body) || strings.Contains(string(c.Body), "settingCount") {
		t.Errorf("%s %v", c.Body, err)
	}
	for name, f := range map[string]Found{
		"from a row":     {ID: policyID, Shape: SettingsCatalog, Setting: PINRecovery, Scope: Device, Value: On},
		"another's list": {ID: policyID, Shape: OMAURI, Setting: WebSignInAllowList, Value: On},
		"misspelt":       {ID: policyID, Shape: OMAURI, Setting: PINRecovery, Misspelt: true},
	} {
		if _, err := SetValue(tenantID, f, Off); !errors.Is(err, ErrNotWritable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := SetValue(tenantID, Found{Shape: Intent, Setting: PINRecovery}, Off); !errors.Is(err, ErrShape) {
		t.Errorf("an intent was written: %v", err)
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	p, err := Desired{Shape: OMAURI, Value: Off}.Plan(tenantID, nil, PublishedPace)
	if err != nil || !p.Nothing() || len(p.Calls) > 0 {
		t.Errorf("turning off what is not there: %+v %v", p, err)
	}
	if _, err := (Desired{Shape: OMAURI, Value: On}).Plan(tenantID, nil, PublishedPace); err == nil {
		t.Error("on for nobody has a plan")
	}
	create, err := Create(tenantID, OMAURI, On)
	if err != nil {
		t.Fatal(err)
	}
	found := asFound(t, OMAURI, create, []Assignment{exclude(1)})
	var contradiction *ContradictionError
	if _, err := (Desired{Shape: OMAURI, Value: On, Include: []string{groupID(1)}}).Plan(tenantID, found, PublishedPace); !errors.As(err, &contradiction) {
		t.Errorf("a group that is excluded was included: %v", err)
	}
	found[0].Mine = false
	p, err = Desired{Shape: OMAURI, Value: On, AllDevices: true}.Plan(tenantID, found, PublishedPace)
	if err != nil || p.Writes != 2 || p.Policy.ID != "" {
		t.Errorf("somebody else's policy was taken for ours: %+v %v", p, err)
	}
}

func TestHashIsOfTheWrites(t *testing.T) {
	t.Parallel()
	hash := func(tenant string, d Desired) string {
		p, err := d.Plan(tenant, nil, PublishedPace)
		if err != nil {
			t.Fatal(err)
		}
		return p.Hash
	}
	d := Desired{Shape: OMAURI, Value: On, Include: []string{groupID(1), groupID(2)}}
	same := Desired{Shape: OMAURI, Value: On, Include: []string{strings.ToUpper(groupID(2)), groupID(1), groupID(1)}}
	if hash(tenantID, d) != hash(tenantID, same) {
		t.Error("the order of groups changes the hash")
	}
	seen := map[string]bool{hash(tenantID, d): true}
	for _, x := range []Desired{
		{Shape: SettingsCatalog, Value: On, Include: d.Include}, {Shape: OMAURI, Value: On, Include: d.Include[:1]},
		{Shape: OMAURI, Value: On, Include: d.Include, AllUsers: true}, {Shape: AccountProtection, Value: On, Include: d.Include},
	} {
		if h := hash(tenantID, x); seen[h] {
			t.Errorf("%+v has the hash of another", x)
		} else {
			seen[h] = true
		}
	}
	if seen[hash(otherID, Desired{Shape: SettingsCatalog, Value: On, Include: d.Include})] {
		t.Error("two tenants have one hash")
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	for writes, want := range map[int]time.Duration{0: 0, 1: 0, 80: 0, 81: 20 * time.Second, 160: 20 * time.Second, 161: 40 * time.Second} {
		if got := PublishedPace.Wait(writes); got != want {
			t.Errorf("%d writes wait %s, want %s", writes, got, want)
		}
	}
}

func TestOurs(t *testing.T) {
	t.Parallel()
	ours := Found{ID: "b", Mine: true, Shape: OMAURI, Setting: PINRecovery, Scope: Device}
	with := func(id string, change func(*Found)) Found {
		f := ours
		f.ID = id
		change(&f)
		return f
	}
	found := []Found{
		with("c", func(*Found) {}), ours, with("d", func(*Found) {}),
		with("a", func(f *Found) { f.Mine = false }), with("a", func(f *Found) { f.Misspelt = true }), with("a", func(f *Found) { f.Scope = User }),
		with("a", func(f *Found) { f.Shape = SettingsCatalog }), with("a", func(f *Found) { f.Setting = WebSignInAllowList }),
	}
	if f, ok := Ours(found, OMAURI); !ok || f.ID != "b" {
		t.Errorf("ours is %+v %t", f, ok)
	}
	if f, ok := Ours(found, IdentityProtection); ok {
		t.Errorf("ours is %+v", f)
	}
}

// A profile that makes the setting twice is not ours to put right by halves.
func TestSetValueOfASettingMadeTwice(t *testing.T) {
	t.Parallel()
	setting := `{"@odata.type":"#microsoft.graph.omaSettingBoolean","displayName":"x","omaUri":"` + URI(tenantID, Device) + `","value":true}`
	entity := strings.Replace(customProfile("#microsoft.graph.omaSettingBoolean", URI(tenantID, Device), `,"value":true`), `"omaSettings":[`, `"omaSettings":[`+setting+`,`, 1)
	found, err := Detect(tenantID, DeviceConfigurations, Document{Entity: json.RawMessage(entity)})
	if err != nil || len(found) != 1 || found[0].Value != On {
		t.Fatalf("%+v %v", found, err)
	}
	if c, err := SetValue(tenantID, found[0], Off); !errors.Is(err, ErrNotWritable) {
		t.Errorf("%s %v", c.Body, err)
	}
}
