package graph

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pinreset/shared/fault"
	"pinreset/shared/policy"
)

func members(types ...string) string {
	text := ""
	for i, typ := range types {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(`{"@odata.type":"#microsoft.graph.%s","id":"dddddddd-0000-4000-8000-%012d"}`, typ, i)
	}
	return text
}

const (
	getGroup   = "GET /v1.0/groups/" + groupX + "?$select=id,displayName,groupTypes,membershipRule"
	getMembers = "GET /v1.0/groups/" + groupX + "/transitiveMembers?$select=id&$top=999"
)

func TestGroupKind(t *testing.T) {
	t.Parallel()
	const plain = `200 {"id":"` + groupX + `","displayName":"x","groupTypes":[],"membershipRule":null}`
	dynamic := func(rule string) string {
		return `200 {"id":"` + groupX + `","displayName":"x","groupTypes":["DynamicMembership"],"membershipRule":"` + rule + `"}`
	}
	for name, c := range map[string]struct {
		group, members string
		want           policy.GroupKind
	}{
		"rule of users":             {dynamic(`(user.department -eq \"Sales\")`), "500 {}", policy.UserGroup},
		"rule of devices":           {dynamic(`device.deviceOwnership -eq \"Company\"`), "500 {}", policy.DeviceGroup},
		"users named in a device's": {dynamic(`(device.displayName -contains \"x\") and (device.extensionAttribute1 -eq \"a.user.b\")`), "500 {}", policy.DeviceGroup},
		"rule that says nothing":    {dynamic(`true`), `200 {"value":[` + members("user") + `]}`, policy.UserGroup},
		"users":                     {plain, `200 {"value":[` + members("user", "group", "user") + `]}`, policy.UserGroup},
		"devices":                   {plain, `200 {"value":[` + members("device") + `]}`, policy.DeviceGroup},
		"both":                      {plain, `200 {"value":[` + members("device", "user") + `]}`, policy.UnknownGroup},
		"both, on two pages":        {plain, `200 {"value":[` + members("user") + `],"@odata.nextLink":"BASE/v1.0/groups/` + groupX + `/transitiveMembers?$skiptoken=2"}`, policy.UnknownGroup},
		"nobody":                    {plain, `200 {"value":[]}`, policy.UnknownGroup},
		"service principals":        {plain, `200 {"value":[` + members("servicePrincipal") + `]}`, policy.UnknownGroup},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := put(t, map[string]string{getGroup: c.group, getMembers: c.members,
				"GET /v1.0/groups/" + groupX + "/transitiveMembers?$skiptoken=2": `200 {"value":[` + members("device") + `]}`})
			kind, err := s.client.GroupKind(t.Context(), tenantA, groupX)
			if err != nil || kind != c.want {
				t.Errorf("%s %v, want %s", kind, err, c.want)
			}
		})
	}
	s := put(t, map[string]string{getGroup: plain, getMembers: "403 " + odataBody})
	if kind, err := s.client.GroupKind(t.Context(), tenantA, groupX); fault.CodeOf(err) != fault.GraphForbidden || kind != policy.UnknownGroup {
		t.Errorf("members that can't be read: %s %v", kind, err)
	}
	if _, err := s.client.GroupKind(t.Context(), tenantA, groupY); !errors.Is(err, ErrNotFound) {
		t.Errorf("a group that is gone: %v", err)
	}
}

func TestMembersAndMemberships(t *testing.T) {
	t.Parallel()
	s := put(t, map[string]string{
		"GET /v1.0/groups/" + groupX + "/members?$select=id&$top=999":              `200 {"value":[` + members("user", "device", "group", "servicePrincipal") + `]}`,
		"GET /v1.0/users/" + deviceX + "/transitiveMemberOf?$select=id&$top=999":   `200 {"value":[` + members("group", "directoryRole", "group", "user") + `]}`,
		"GET /v1.0/devices/" + deviceX + "/transitiveMemberOf?$select=id&$top=999": `200 {"value":[]}`,
	})
	var kinds []MemberKind
	for m, err := range s.client.Members(t.Context(), tenantA, groupX) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, m.Kind)
	}
	if !slices.Equal(kinds, []MemberKind{UserMember, DeviceMember, GroupMember, OtherMember}) {
		t.Errorf("members %v", kinds)
	}
	groups, err := s.client.UserGroups(t.Context(), tenantA, deviceX)
	if err != nil || !slices.Equal(groups, []string{"dddddddd-0000-4000-8000-000000000000", "dddddddd-0000-4000-8000-000000000002"}) {
		t.Errorf("a user's groups %v %v", groups, err)
	}
	roles, err := s.client.UserRoles(t.Context(), tenantA, deviceX)
	if err != nil || !slices.Equal(roles, []string{"dddddddd-0000-4000-8000-000000000001"}) {
		t.Errorf("a user's roles %v %v", roles, err)
	}
	if roles, err := s.client.UserRoles(t.Context(), tenantA, policyA); !errors.Is(err, ErrNotFound) || roles != nil {
		t.Errorf("roles of a user who is gone: %v %v", roles, err)
	}
	groups, err = s.client.DeviceGroups(t.Context(), tenantA, deviceX)
	if err != nil || groups == nil || len(groups) > 0 {
		t.Errorf("a device's groups %v %v", groups, err)
	}
}

func TestStatusesAndDirectoryDevice(t *testing.T) {
	t.Parallel()
	s := put(t, map[string]string{
		"GET /v1.0/deviceManagement/deviceConfigurations/" + policyA + "/deviceStatuses?$select=id,deviceDisplayName,userName,userPrincipalName,deviceModel,status,lastReportedDateTime": `200 {"value":[` +
			`{"id":"a_b","deviceDisplayName":"PC1","userName":"A","userPrincipalName":"a@x","deviceModel":"m","status":"compliant","lastReportedDateTime":"2026-01-05T10:00:00+02:00"}],` +
			`"@odata.nextLink":"BASE/v1.0/deviceManagement/deviceConfigurations/` + policyA + `/deviceStatuses?$skiptoken=2"}`,
		"GET /v1.0/deviceManagement/deviceConfigurations/" + policyA + "/deviceStatuses?$skiptoken=2": `200 {"value":[{"id":"c","deviceDisplayName":"iPhone","status":"notApplicable"}]}`,
		"GET /v1.0/deviceManagement/deviceConfigurations/" + policyA + "/deviceStatusOverview?$select=pendingCount,notApplicableCount,successCount,errorCount,failedCount,lastUpdateDateTime,configurationVersion": `200 ` +
			`{"pendingCount":1,"notApplicableCount":2,"successCount":3,"errorCount":4,"failedCount":5,"lastUpdateDateTime":"2026-01-05T10:00:00Z","configurationVersion":6}`,
		"GET /v1.0/deviceManagement/managedDevices/" + deviceX + "/deviceConfigurationStates?$select=id,displayName,platformType,state,version,settingCount": `200 {"value":[` +
			`{"id":"x","displayName":"PIN recovery","platformType":"windows10AndLater","state":"conflict","version":2,"settingCount":1}]}`,
		"GET /v1.0/devices(deviceId='" + deviceX + "')?$select=id,deviceId,displayName,trustType,accountEnabled,operatingSystem,operatingSystemVersion": `200 ` +
			`{"id":"` + policyB + `","deviceId":"` + deviceX + `","displayName":"PC1","trustType":"ServerAd","accountEnabled":null,"operatingSystem":"Windows","operatingSystemVersion":"10.0.22631.1"}`,
	})
	ctx, c := t.Context(), s.client
	statuses, err := c.DeviceStatuses(ctx, tenantA, policyA)
	if err != nil || len(statuses) != 2 || statuses[0].State != "compliant" || statuses[0].Reported.Format("15:04 MST") != "08:00 UTC" || statuses[1].State != "notApplicable" {
		t.Errorf("statuses %+v %v", statuses, err)
	}
	overview, err := c.StatusOverview(ctx, tenantA, policyA)
	if err != nil || overview.Pending != 1 || overview.NotApplicable != 2 || overview.Success != 3 || overview.Error != 4 || overview.Failed != 5 || overview.Version != 6 {
		t.Errorf("overview %+v %v", overview, err)
	}
	states, err := c.ConfigurationStates(ctx, tenantA, deviceX)
	if err != nil || len(states) != 1 || states[0] != (ConfigurationState{"PIN recovery", "windows10AndLater", "conflict", 2, 1}) {
		t.Errorf("states %+v %v", states, err)
	}
	d, err := c.DirectoryDevice(ctx, tenantA, deviceX)
	if err != nil || d.TrustType != "ServerAd" || d.AccountEnabled != nil || d.ID != policyB {
		t.Errorf("device %+v %v", d, err)
	}
	if _, err := c.DirectoryDevice(ctx, tenantA, "x') or ('1'='1"); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("an id that is none: %v", err)
	}
}
