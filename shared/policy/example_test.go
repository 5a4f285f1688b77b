package policy_test

import (
	"encoding/json"
	"fmt"

	"pinreset/shared/policy"
)

const tenant = "aaaaaaaa-1111-2222-3333-444444444444"

// A profile with the OMA-URI that Microsoft's page on PIN reset prints does nothing, and says so.
func ExampleLint() {
	found, err := policy.Detect(tenant, policy.DeviceConfigurations, policy.Document{Entity: json.RawMessage(`{
		"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "id": "cccccccc-1111-2222-3333-444444444444", "displayName": "PIN reset",
		"omaSettings": [{"@odata.type": "#microsoft.graph.omaSettingBoolean", "value": true,
			"omaUri": "./Vendor/MSFT/Policy/PassportForWork/` + tenant + `/Policies/EnablePinRecovery"}],
		"assignments": [{"target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}}]}`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range policy.Lint(found, nil) {
		fmt.Println(f.Severity, f.Code)
		fmt.Println(f.Fix)
	}
	// Output:
	// error oma_uri_wrong_path
	// Use ./Device/Vendor/MSFT/PassportForWork/aaaaaaaa-1111-2222-3333-444444444444/Policies/EnablePinRecovery with the data type Boolean.
}

// A tenant that has no policy of ours yet.
func ExampleDesired_Plan() {
	wish := policy.Desired{Shape: policy.OMAURI, Value: policy.On, AllDevices: true}
	plan, err := wish.Plan(tenant, nil, policy.PublishedPace)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range plan.Calls {
		fmt.Printf("%s /%s%s: %s\n", c.Method, c.Version, c.Path, c.Purpose)
	}
	fmt.Println(plan.Writes, "writes, waiting", plan.ETA)
	// Output:
	// GET /beta/deviceManagement/deviceConfigurations: see what is there
	// GET /beta/deviceManagement/configurationPolicies: see what is there
	// GET /beta/deviceManagement/intents: see what is there
	// POST /v1.0/deviceManagement/deviceConfigurations: create the policy, on, assigned to nobody
	// GET /beta/deviceManagement/deviceConfigurations/{id}/assignments: read all assignments; stop if that fails
	// POST /beta/deviceManagement/deviceConfigurations/{id}/assign: assign it to the whole set of 1
	// GET /beta/deviceManagement/deviceConfigurations/{id}/assignments: read back and compare
	// 2 writes, waiting 0s
}

// Other people's targets survive, and the same wish twice adds nothing.
func ExampleMerge() {
	theirs := []policy.Assignment{{Kind: policy.AllUsers}}
	wish := policy.Desired{Shape: policy.OMAURI, Value: policy.On, AllDevices: true}
	set, err := policy.Merge(theirs, wish)
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := policy.Merge(set, wish)
	fmt.Println(set[0].Kind, set[1].Kind, policy.Equal(set, again), err)
	// Output: all-users all-devices true <nil>
}
