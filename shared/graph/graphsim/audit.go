package graphsim

import (
	"fmt"
	"net/http"
	"reflect"
	"time"
)

// keepRecords bounds the audit records of a tenant; Intune keeps a year's.
const keepRecords = 500

// An auditRecord is one entry of Intune's audit log.
type auditRecord struct {
	Seq       int64         `json:"seq"`
	At        time.Time     `json:"at"`
	Actor     actor         `json:"actor"`
	Operation string        `json:"operation"` // Create, Patch, Assign, Delete, or an action's name
	Resource  auditResource `json:"resource"`
}

// An actor is who did something: an app through Graph, or a person in Intune's
// own portal.
type actor struct {
	App       string `json:"app"` // client id
	AppName   string `json:"appName"`
	Principal string `json:"principal,omitempty"` // object id of the app's service principal
	User      string `json:"user,omitempty"`
	UserID    string `json:"userId,omitempty"`
}

// The portal that people use is an app too; its id here stands for it.
var intunePortal = actor{App: guid("app Microsoft Intune portal extension"), AppName: "Microsoft Intune portal extension"}

// actor is the app whose token the call carries.
func (k *call) actor() actor {
	app, _ := findApplication(k.appID)
	a := actor{App: k.appID, AppName: app.name}
	if sp := k.t.principalOf(view{now: k.v.now}, k.appID); sp != nil {
		a.Principal = sp.ID
	}
	return a
}

// administrator is the tenant's first administrator in Intune's portal.
func (t *tenant) administrator() actor {
	a := intunePortal
	a.User, a.UserID = t.users[0].upn, t.users[0].id
	return a
}

// An auditResource is what was acted on. Category and component are those of
// Intune's log as far as public examples show them.
type auditResource struct {
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Type     string          `json:"type"` // DeviceConfiguration, ManagedDevice, …
	Category string          `json:"category"`
	Changes  []auditProperty `json:"changes,omitempty"`
}

type auditProperty struct {
	Name string `json:"name"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

func deviceResource(d *device) auditResource {
	return auditResource{ID: d.id, Name: d.name, Type: "ManagedDevice", Category: "Device"}
}

// policyResource describes a policy and what a change did to it.
func policyResource(old, next *policy) auditResource {
	types := map[Store]string{
		DeviceConfigurations: "DeviceConfiguration", ConfigurationPolicies: "DeviceManagementConfigurationPolicy", LegacyIntents: "DeviceManagementIntent",
	}
	r := auditResource{ID: next.ID, Name: next.Name, Type: types[next.Store], Category: "DeviceConfiguration"}
	if old == nil || next.Deleted {
		return r
	}
	differ := func(name string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			r.Changes = append(r.Changes, auditProperty{name, fmt.Sprint(a), fmt.Sprint(b)})
		}
	}
	differ("DisplayName", old.Name, next.Name)
	differ("Description", old.Description, next.Description)
	differ("Settings", summary(old), summary(next))
	differ("Assignments", targetsOf(old), targetsOf(next))
	return r
}

// summary names what a policy says in a form that an audit record may carry.
func summary(p *policy) string {
	values, broken := p.recovery("")
	return fmt.Sprintf("version %d, PIN recovery %v, other %t", p.Version, values, broken)
}

func targetsOf(p *policy) []string {
	list := []string{}
	for _, a := range p.Assignments {
		list = append(list, a.kind()+" "+a.group())
	}
	return list
}

// record returns the change that writes an audit record; the oldest goes.
func (t *tenant) record(now time.Time, by actor, operation string, on auditResource) change {
	r := auditRecord{Seq: t.audited + 1, At: now, Actor: by, Operation: operation, Resource: on}
	slot := r.Seq % keepRecords
	return change{fmt.Sprintf("audit/%s/%03d", t.id, slot), r, func() {
		t.audited = max(t.audited, r.Seq)
		t.records[slot] = r
	}}
}

// renderRecord writes a record in the shape of auditEvent. Its id grows with
// time, which keeps pages in order.
func renderRecord(t *tenant, r auditRecord) map[string]any {
	kind := map[string]any{
		"auditActorType": "Application", "applicationId": r.Actor.App, "applicationDisplayName": r.Actor.AppName,
		"servicePrincipalName": nil, "ipAddress": nil, "userId": nil, "userPrincipalName": nil, "userPermissions": []string{"*"},
	}
	if r.Actor.User != "" {
		kind["auditActorType"], kind["userPrincipalName"], kind["userId"] = "ItPro", r.Actor.User, r.Actor.UserID
	} else {
		kind["servicePrincipalName"] = r.Actor.Principal
	}
	changes := []any{}
	for _, p := range r.Resource.Changes {
		changes = append(changes, map[string]any{"displayName": p.Name, "oldValue": p.Old, "newValue": p.New})
	}
	operation := r.Operation
	if r.Resource.Type == "ManagedDevice" || operation == "Assign" {
		operation = "Action"
	}
	activity := r.Operation + " " + r.Resource.Type
	return map[string]any{
		"id":          fmt.Sprintf("%08x%s", r.Seq, guid(fmt.Sprint(t.id, " audit ", r.Seq))[8:]),
		"displayName": activity, "componentName": r.Resource.Type, "activity": nil, "activityType": activity,
		"activityDateTime": stamp(r.At), "activityOperationType": operation, "activityResult": "Success",
		"correlationId": guid(fmt.Sprint(t.id, " correlation ", r.Seq)), "category": r.Resource.Category, "actor": kind,
		"resources": []any{map[string]any{
			"displayName": r.Resource.Name, "auditResourceType": "Microsoft.Management.Services.Api." + r.Resource.Type,
			"resourceId": r.Resource.ID, "modifiedProperties": changes,
		}},
	}
}

// listAudit shows the log, oldest first. Which permission it takes is not
// documented here: the model accepts those that read policies or devices.
func (c *Cloud) listAudit(k *call) answer {
	return k.many("auditEvent", "deviceManagement/auditEvents", k.t.renderAudit(),
		"id", "category", "activityType", "activityOperationType", "componentName", "activityDateTime")
}

func (t *tenant) renderAudit() []map[string]any {
	var rows []map[string]any
	for seq := max(1, t.audited-keepRecords+1); seq <= t.audited; seq++ {
		rows = append(rows, renderRecord(t, t.records[seq%keepRecords]))
	}
	return rows
}

func (c *Cloud) getAudit(k *call) answer {
	_, id := key(k.params[0])
	for _, row := range k.t.renderAudit() {
		if row["id"] == id {
			return k.one(http.StatusOK, "auditEvent", "deviceManagement/auditEvents", row)
		}
	}
	return problem(http.StatusNotFound, "ResourceNotFound", "Audit event with id "+id+" was not found.")
}
