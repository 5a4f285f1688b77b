package desk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/onboarding"
	"pinreset/shared/subscription"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// Tenant is a tenant as it is shown.
type Tenant struct {
	ID          string          `json:"id" doc:"The Entra tenant's id; of a tenant on premises, the one that pinreset gave it"`
	Kind        tenant.Kind     `json:"kind" enum:"entra,on-premises"`
	Domain      string          `json:"domain,omitempty" doc:"DNS name of the Active Directory domain, of a tenant on premises"`
	DisplayName string          `json:"displayName"`
	AddedAt     time.Time       `json:"addedAt"`
	AddedBy     events.Actor    `json:"addedBy"`
	Settings    tenant.Settings `json:"settings"`
	Consent     Consent         `json:"consent" doc:"Where the consent stands; its links are in the consent's own answer"`
	Ways        []tenant.Way    `json:"ways" nullable:"false" doc:"Which ways to a new PIN or passcode a tenant of this kind has"`
}

// NewTenant asks to look after a tenant.
type NewTenant struct {
	Kind                    tenant.Kind `json:"kind,omitempty" enum:"entra,on-premises" doc:"Default entra. A tenant on premises has Active Directory and no Microsoft Entra ID; nothing is consented there"`
	TenantID                string      `json:"tenantId,omitempty" doc:"The Entra tenant's id, a GUID; none for a tenant on premises, which gets one in the answer"`
	Domain                  string      `json:"domain,omitempty" doc:"DNS name of the Active Directory domain, of a tenant on premises"`
	DisplayName             string      `json:"displayName" doc:"What people call the tenant"`
	CreateServicePrincipals bool        `json:"createServicePrincipals,omitempty" doc:"Create the two PIN reset applications through Graph instead of by an administrator's click; whether Microsoft allows it is not documented"`
}

// Tenants lists the tenants that the principal sees, in the order of their ids.
func (d *Desk) Tenants(ctx context.Context, who identity.Principal, page Page) (List[Tenant], error) {
	if err := needSomewhere(who, identity.TenantRead); err != nil {
		return List[Tenant]{}, err
	}
	const list = "tenants"
	place, err := d.cursors.open(who.ID, tenant.Partition, list, page.Cursor)
	if err != nil {
		return List[Tenant]{}, err
	}
	var found []tenant.Tenant
	next := ""
	if who.All {
		found, next, err = tenant.List(ctx, d.o.Store, page.limit(), place)
	} else {
		found, next, err = d.some(ctx, who.Where(identity.TenantRead), page.limit(), place)
	}
	if err != nil {
		return List[Tenant]{}, err
	}
	out := listOf[Tenant](nil)
	for _, t := range found {
		shown, err := (&Room{desk: d, tenant: t, who: who.In(t.ID)}).Tenant(ctx)
		if err != nil {
			return List[Tenant]{}, err
		}
		out.Items = append(out.Items, shown)
	}
	out.Next = d.cursors.seal(who.ID, tenant.Partition, list, next)
	return out, nil
}

// some reads those of the ids that are tenants, after the last one that was read.
func (d *Desk) some(ctx context.Context, ids []string, limit int, last string) (found []tenant.Tenant, next string, err error) {
	for _, id := range slices.Sorted(slices.Values(ids)) {
		if id <= last {
			continue
		}
		if len(found) == limit {
			return found, found[limit-1].ID, nil
		}
		t, err := tenant.Get(ctx, d.o.Store, id)
		if errors.Is(err, work.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		found = append(found, t)
	}
	return found, "", nil
}

// AddTenant puts a tenant in the register and starts its consent.
func (d *Desk) AddTenant(ctx context.Context, who identity.Principal, key string, in NewTenant) (Answer[Tenant], error) {
	var none Answer[Tenant]
	if err := needEverywhere(who, identity.TenantOnboard); err != nil {
		return none, err
	}
	c, err := callBy(who.ID, key, "add tenant", in)
	if err != nil {
		return none, err
	}
	id, err := in.id()
	if err != nil {
		return none, err
	}
	return once(ctx, d, tenant.Partition, c, func(u *work.Unit) (Answer[Tenant], error) {
		added := events.TenantAdded{
			RequestID: u.NewID(), DisplayName: in.DisplayName, Domain: strings.ToLower(in.Domain),
			CreateServicePrincipals: in.CreateServicePrincipals, By: who.Operator(),
		}
		if err := added.Validate(); err != nil {
			return none, wrong(err)
		}
		e := events.Event{ID: u.NewID(), Tenant: id, Time: u.Now(), TraceParent: events.TraceFrom(ctx), Data: added}
		t, err := register(ctx, u, e, added)
		if err != nil {
			return none, err
		}
		consent := Consent{State: onboarding.Pending, RequestID: added.RequestID, Steps: []ConsentStep{}}
		if t.Kind == tenant.OnPremises {
			consent = noConsent()
		}
		return Answer[Tenant]{Status: http.StatusAccepted, Location: "/v1/tenants/" + t.ID, Body: showTenant(t, tenant.DefaultSettings(), consent)}, nil
	})
}

// id returns the id of the tenant to add: "" for one on premises, which gets one when it is registered.
func (n NewTenant) id() (string, error) {
	id, ok := tenant.NormalID(n.TenantID)
	switch {
	case n.Kind == tenant.OnPremises && n.TenantID != "":
		return "", invalid("body.tenantId", "is not for a tenant on premises, which gets one")
	case n.Kind == tenant.OnPremises && n.Domain == "":
		return "", invalid("body.domain", "is missing")
	case n.Kind == tenant.OnPremises && n.CreateServicePrincipals:
		return "", invalid("body.createServicePrincipals", "is not for a tenant on premises")
	case n.Kind == tenant.OnPremises:
		return "", nil
	case n.Domain != "":
		return "", invalid("body.domain", "is only for a tenant on premises")
	case !ok:
		return "", invalid("body.tenantId", "must be a GUID")
	}
	return id, nil
}

func showTenant(t tenant.Tenant, settings tenant.Settings, consent Consent) Tenant {
	return Tenant{
		ID: t.ID, Kind: t.Kind, Domain: t.Domain, DisplayName: t.DisplayName, AddedAt: t.AddedAt, AddedBy: t.AddedBy,
		Settings: settings, Consent: consent, Ways: t.Kind.Ways(),
	}
}

// register stages a tenant with the message that starts its consent, on a unit of the register. One on premises has no
// consent; the message puts it into the tenant's own log.
func register(ctx context.Context, u *work.Unit, e events.Event, added events.TenantAdded) (tenant.Tenant, error) {
	if added.Domain != "" {
		t, err := tenant.AddOnPremises(u, added.Domain, added.DisplayName, added.By)
		e.Tenant = t.ID
		return t, errors.Join(err, u.Relay(onboarding.Queue, e))
	}
	var there tenant.Tenant
	switch err := u.Get(ctx, e.Tenant, &there); {
	case err == nil:
		return there, problem.Refuse(fault.StateConflict, "The tenant is looked after already.")
	case !errors.Is(err, work.ErrNotFound):
		return there, err
	}
	t, err := tenant.Add(u, e.Tenant, added.DisplayName, added.By)
	return t, errors.Join(err, u.Relay(onboarding.Queue, e))
}

// Tenant shows the room's tenant.
func (r *Room) Tenant(ctx context.Context) (Tenant, error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return Tenant{}, err
	}
	u := r.unit()
	settings, err := tenant.ReadSettings(ctx, u)
	if err != nil {
		return Tenant{}, fmt.Errorf("read settings of %s: %w", r.ID(), err)
	}
	consent, err := r.consent(ctx, u, false)
	if err != nil {
		return Tenant{}, err
	}
	return showTenant(r.tenant, settings, consent), nil
}

// unit is a unit to read with.
func (r *Room) unit() *work.Unit {
	return work.NewUnit(r.desk.o.Store, r.tenant.ID, r.desk.o.Now(), r.desk.o.NewID)
}

// SettingsChange names the settings to change; the others stay.
type SettingsChange struct {
	PasscodeHours      *int    `json:"passcodeHours,omitempty" minimum:"1" maximum:"168" doc:"Hours during which a code can be revealed"`
	ResetDeadlineHours *int    `json:"resetDeadlineHours,omitempty" minimum:"1" maximum:"720" doc:"Hours that a reset waits for its device"`
	SealPortalCodes    *bool   `json:"sealPortalCodes,omitempty" doc:"Whether codes of resets that were started in Intune's own portal are kept here too"`
	RemediatePolicy    *bool   `json:"remediatePolicy,omitempty" doc:"Whether an audit asks for the standing rollout again when its policy was removed, changed or unassigned"`
	GraphNotifications *bool   `json:"graphNotifications,omitempty" doc:"Whether Graph is asked to tell of changes to the members of groups that policies are assigned to"`
	RequireStepUp      *string `json:"requireStepUp,omitempty" enum:"when_available,always" doc:"When a code is shown only to somebody who has just signed in more strongly"`
	StepUpContext      *string `json:"stepUpContext,omitempty" maxLength:"3" doc:"Authentication context that this tenant's own people pass when they sign in more strongly, c1 to c99; empty for none"`
	BudgetHour         *int    `json:"budgetHour,omitempty" minimum:"1" maximum:"500" doc:"How many resets a person may start in an hour, and how many codes see"`
	BudgetDay          *int    `json:"budgetDay,omitempty" minimum:"1" maximum:"500" doc:"How many resets a person may start in 24 hours, and how many codes see"`
	TokenBudget        *bool   `json:"tokenBudget,omitempty" doc:"Whether each token has the budget of a person"`
	SecondPerson       *string `json:"secondPerson,omitempty" enum:"off,bulk,privileged,every" doc:"What a second person has to approve"`
	SuspendAbove       *int    `json:"suspendAbove,omitempty" minimum:"0" maximum:"5000" doc:"How many resets and codes together a person may ask for in suspendMinutes before the person is suspended; 0 is three times budgetHour"`
	SuspendMinutes     *int    `json:"suspendMinutes,omitempty" minimum:"1" maximum:"1440" doc:"Minutes in which they are counted"`
	CallerCheck        *string `json:"callerCheck,omitempty" enum:"off,reset,reveal" doc:"What the device's user has to confirm who calls"`
	Reason             string  `json:"reason,omitempty" doc:"Why, for the audit log; at most 500 characters"`
}

// empty reports whether no setting is named.
func (s SettingsChange) empty() bool {
	s.Reason = ""
	return s == SettingsChange{}
}

// ChangeSettings changes settings of the tenant. What is as asked already is not changed, recorded or announced.
func (r *Room) ChangeSettings(ctx context.Context, in SettingsChange) (tenant.Settings, error) {
	if err := r.Need(identity.SettingsWrite); err != nil {
		return tenant.Settings{}, err
	}
	if in.empty() {
		return tenant.Settings{}, invalid("body", "names no setting")
	}
	if err := checkWhy(in.Reason, "", false); err != nil {
		return tenant.Settings{}, err
	}
	var after tenant.Settings
	err := r.desk.change(ctx, r.ID(), func(u *work.Unit) error {
		before, err := tenant.ReadSettings(ctx, u)
		if err != nil {
			return fmt.Errorf("read settings of %s: %w", r.ID(), err)
		}
		after = before
		changed := map[string]string{}
		set := func(name string, value *int, at *int) {
			if value != nil && *value != *at {
				changed[name] = strconv.Itoa(*at) + " → " + strconv.Itoa(*value)
				*at = *value
			}
		}
		set("passcodeHours", in.PasscodeHours, &after.PasscodeHours)
		set("resetDeadlineHours", in.ResetDeadlineHours, &after.ResetDeadlineHours)
		set("budgetHour", in.BudgetHour, &after.BudgetHour)
		set("budgetDay", in.BudgetDay, &after.BudgetDay)
		set("suspendAbove", in.SuspendAbove, &after.SuspendAbove)
		set("suspendMinutes", in.SuspendMinutes, &after.SuspendMinutes)
		if v := in.TokenBudget; v != nil && *v != after.TokenBudget {
			changed["tokenBudget"] = fmt.Sprintf("%t → %t", after.TokenBudget, *v)
			after.TokenBudget = *v
		}
		if v := in.SealPortalCodes; v != nil && *v != after.SealPortalCodes {
			changed["sealPortalCodes"] = strconv.FormatBool(after.SealPortalCodes) + " → " + strconv.FormatBool(*v)
			after.SealPortalCodes = *v
		}
		if in.RemediatePolicy != nil && *in.RemediatePolicy != after.RemediatePolicy {
			changed["remediatePolicy"] = fmt.Sprintf("%t → %t", after.RemediatePolicy, *in.RemediatePolicy)
			after.RemediatePolicy = *in.RemediatePolicy
		}
		subscribe := in.GraphNotifications != nil && *in.GraphNotifications != after.GraphNotifications
		if subscribe {
			if err := r.mayAskGraph(*in.GraphNotifications); err != nil {
				return err
			}
			changed["graphNotifications"] = fmt.Sprintf("%t → %t", after.GraphNotifications, *in.GraphNotifications)
			after.GraphNotifications = *in.GraphNotifications
		}
		choose := func(name string, value *string, at string) string {
			if value == nil || *value == at {
				return at
			}
			changed[name] = cmp.Or(at, "none") + " → " + cmp.Or(*value, "none")
			return *value
		}
		after.RequireStepUp = tenant.StepUp(choose("requireStepUp", in.RequireStepUp, string(cmp.Or(after.RequireStepUp, tenant.WhenAvailable))))
		after.StepUpContext = choose("stepUpContext", in.StepUpContext, after.StepUpContext)
		after.SecondPerson = tenant.SecondPerson(choose("secondPerson", in.SecondPerson, string(cmp.Or(after.SecondPerson, tenant.NoSecondPerson))))
		after.CallerCheck = tenant.CallerCheck(choose("callerCheck", in.CallerCheck, string(cmp.Or(after.CallerCheck, tenant.NoCallerCheck))))
		if err := after.Validate(); err != nil {
			return wrong(err)
		}
		if len(changed) == 0 {
			return nil
		}
		names := make([]string, 0, len(changed))
		for name := range changed {
			names = append(names, name)
		}
		slices.Sort(names)
		told := events.TenantSettingsChanged{RequestID: u.NewID(), Names: names, By: r.who.Operator()}
		_, err = u.Send(ctx, work.Announcements, time.Time{}, told)
		if subscribe {
			err = errors.Join(err, subscription.Ask(ctx, u))
		}
		return errors.Join(err, tenant.WriteSettings(u, after), audit.Append(u, audit.Entry{
			Actor: r.who.Operator(), Action: audit.SettingsChanged, RequestID: told.RequestID, Reason: in.Reason, Change: changed,
		}))
	})
	return after, err
}

// mayAskGraph refuses notifications of Graph where there can be none.
func (r *Room) mayAskGraph(notify bool) error {
	if !notify {
		return nil
	}
	if err := r.tenant.InEntra(); err != nil {
		return err
	}
	if !r.desk.o.Notified {
		return problem.Refuse(fault.StateConflict, "Graph can't reach this server: it needs PINRESET_PUBLIC_URL, an https address.")
	}
	return nil
}

// titleOf is the title of a code, "" of none.
func titleOf(code fault.Code) string {
	if code == "" {
		return ""
	}
	return strings.TrimSpace(fault.Lookup(code).Title)
}
