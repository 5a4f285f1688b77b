package portal

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/tenant"
)

// setting is one line of the form of a tenant's settings.
type setting struct {
	Name, Label, Hint string
	Kind              string // number, box, choice or text
	Least, Most       int    // of a number
	Choices           []choice
	Value             string // what is typed or chosen; of a box, "yes" where it is ticked
	Wrong             string
}

type choice struct{ Value, Label string }

// settingsOf are the lines of the form with what values has of each.
func settingsOf(values url.Values, f view.Form) []setting {
	all := []setting{
		{Name: "passcodeHours", Kind: "number", Least: 1, Most: 168, Label: "Hours that codes can be revealed for", Hint: "1 to 168; Intune's own seven days are the most"},
		{Name: "resetDeadlineHours", Kind: "number", Least: 1, Most: 720, Label: "Hours that a reset waits for its device", Hint: "1 to 720"},
		{Name: "budgetHour", Kind: "number", Least: 1, Most: 500, Label: "Resets that a person may start in an hour, and codes see", Hint: "1 to 500"},
		{Name: "budgetDay", Kind: "number", Least: 1, Most: 500, Label: "Resets that a person may start in 24 hours, and codes see", Hint: "1 to 500"},
		{Name: "tokenBudget", Kind: "box", Label: "Each token has the budget of a person", Hint: "programs use tokens"},
		{Name: "suspendAbove", Kind: "number", Most: 5000, Label: "Resets and codes for which a person may ask in that time before the person is suspended", Hint: "refused ones count; 0 is three times the budget of an hour"},
		{Name: "suspendMinutes", Kind: "number", Least: 1, Most: 1440, Label: "That time, in minutes", Hint: "1 to 1440"},
		{Name: "secondPerson", Kind: "choice", Label: "What a second person has to approve", Choices: []choice{
			{string(tenant.NoSecondPerson), "nothing"}, {string(tenant.SecondForBulk), "bulk resets"},
			{string(tenant.SecondForPrivileged), "bulk resets, and resets for users who hold a directory role"}, {string(tenant.SecondForEvery), "every reset"},
		}},
		{Name: "callerCheck", Kind: "choice", Label: "What the device's user confirms who calls", Choices: []choice{
			{string(tenant.NoCallerCheck), "nothing"}, {string(tenant.CallerForReset), "each reset of one device"}, {string(tenant.CallerForReveal), "that a code is seen"},
		}},
		{Name: "requireStepUp", Kind: "choice", Label: "Who sees a code has just signed in more strongly", Choices: []choice{
			{string(tenant.WhenAvailable), "as soon as the person's own tenant names an authentication context"}, {string(tenant.Always), "always: nobody else sees one"},
		}},
		{Name: "stepUpContext", Kind: "text", Label: "Authentication context of this tenant's own people", Hint: "c1 to c99, as its Conditional Access names it; empty for none"},
		{Name: "remediatePolicy", Kind: "box", Label: "Roll the policy out again when an audit finds it removed, changed or unassigned"},
		{Name: "graphNotifications", Kind: "box", Label: "Have Graph tell of changes in the groups that policies are assigned to", Hint: "makes subscriptions in the tenant"},
		{Name: "sealPortalCodes", Kind: "box", Label: "Keep codes of resets that were started in Intune's own portal", Hint: "sealed, and shown by the same rules"},
	}
	for i := range all {
		all[i].Value, all[i].Wrong = values.Get(all[i].Name), f.Wrong(all[i].Name)
	}
	return all
}

// stored are settings as the form sends them.
func stored(s tenant.Settings) url.Values {
	values := url.Values{
		"passcodeHours": {strconv.Itoa(s.PasscodeHours)}, "resetDeadlineHours": {strconv.Itoa(s.ResetDeadlineHours)},
		"budgetHour": {strconv.Itoa(s.BudgetHour)}, "budgetDay": {strconv.Itoa(s.BudgetDay)},
		"requireStepUp": {string(s.RequireStepUp)}, "stepUpContext": {s.StepUpContext},
		"suspendAbove": {strconv.Itoa(s.SuspendAbove)}, "suspendMinutes": {strconv.Itoa(s.SuspendMinutes)},
		"secondPerson": {string(cmp.Or(s.SecondPerson, tenant.NoSecondPerson))}, "callerCheck": {string(cmp.Or(s.CallerCheck, tenant.NoCallerCheck))},
	}
	for name, on := range map[string]bool{
		"tokenBudget": s.TokenBudget, "remediatePolicy": s.RemediatePolicy, "graphNotifications": s.GraphNotifications, "sealPortalCodes": s.SealPortalCodes,
	} {
		if on {
			values.Set(name, "yes")
		}
	}
	return values
}

// chosen are the settings that the form sends: all of them, a box that is not ticked included.
func chosen(form url.Values, reason string) (desk.SettingsChange, error) {
	var wrong []problem.Field
	number := func(name string) *int {
		n, err := strconv.Atoi(strings.TrimSpace(form.Get(name)))
		if err != nil {
			wrong = append(wrong, problem.Field{Location: "body." + name, Message: "must be a whole number"})
		}
		return &n
	}
	box := func(name string) *bool {
		on := form.Get(name) == "yes"
		return &on
	}
	text := func(name string) *string {
		s := strings.TrimSpace(form.Get(name))
		return &s
	}
	asked := desk.SettingsChange{
		PasscodeHours: number("passcodeHours"), ResetDeadlineHours: number("resetDeadlineHours"),
		BudgetHour: number("budgetHour"), BudgetDay: number("budgetDay"), TokenBudget: box("tokenBudget"),
		SuspendAbove: number("suspendAbove"), SuspendMinutes: number("suspendMinutes"), SecondPerson: text("secondPerson"), CallerCheck: text("callerCheck"),
		RequireStepUp: text("requireStepUp"), StepUpContext: text("stepUpContext"),
		RemediatePolicy: box("remediatePolicy"), GraphNotifications: box("graphNotifications"), SealPortalCodes: box("sealPortalCodes"), Reason: reason,
	}
	if len(wrong) > 0 {
		return asked, &problem.Refusal{Code: fault.InvalidRequest, Fields: wrong}
	}
	return asked, nil
}

type settingsData struct {
	Settings []setting
	MaySet   bool
	Form     view.Form
}

func (p *pages) settings(v *visit) error {
	shown, err := v.room.Tenant(v.r.Context())
	if err != nil {
		return err
	}
	return p.showSettings(v, http.StatusOK, stored(shown.Settings), fresh())
}

func (p *pages) showSettings(v *visit, status int, values url.Values, f view.Form) error {
	return p.showStatus(v, status, "settings", p.chrome(v, "overview", "Settings"), settingsData{
		Settings: settingsOf(values, f), MaySet: v.room.Can(identity.SettingsWrite), Form: f,
	})
}

// change makes the settings those of the form.
func (p *pages) change(v *visit) error {
	if err := v.room.Need(identity.SettingsWrite); err != nil {
		return err
	}
	f := typed(v.r)
	asked, err := chosen(v.r.PostForm, f.Reason)
	if err == nil {
		_, err = v.room.ChangeSettings(v.r.Context(), asked)
	}
	if f, isForm := wrong(f, err); isForm {
		return p.showSettings(v, http.StatusUnprocessableEntity, v.r.PostForm, f)
	}
	if refusal, ok := errors.AsType[*problem.Refusal](err); ok && refusal.Code == fault.StateConflict {
		f.Errors = []problem.Field{{Location: "graphNotifications", Message: refusal.Detail}}
		return p.showSettings(v, http.StatusConflict, v.r.PostForm, f)
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/settings")
}
