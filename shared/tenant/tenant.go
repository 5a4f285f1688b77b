// Package tenant is the register of the tenants that pinreset looks after, and their settings.
//
// The register is a partition of its own: it is the one list that spans tenants. Everything else about a tenant is in the
// partition named by its id.
package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/work"
)

// Partition is the register's partition.
const Partition = "tenants"

const settingsRow = "settings"

// Tenant is one entry of the register.
type Tenant struct {
	ID          string       `json:"id"`               // the Entra tenant's id, or one of our own: a GUID in lower case
	Kind        Kind         `json:"kind"`             // rows of before there were kinds are read as Entra
	Domain      string       `json:"domain,omitempty"` // of a tenant on premises: its Active Directory's DNS name, in lower case
	DisplayName string       `json:"displayName"`
	AddedAt     time.Time    `json:"addedAt"`
	AddedBy     events.Actor `json:"addedBy"`
}

// NormalID returns the form in which a tenant's id is stored, and whether it is a GUID at all.
func NormalID(id string) (string, bool) { return strings.ToLower(id), events.IsGUID(id) }

// Add stages a tenant and returns it. The unit must be one of the register's [Partition]. A tenant that is there already
// makes the unit's commit fail with work.ErrConflict; an id that is no GUID is a *events.FieldError.
func Add(u *work.Unit, id, name string, by events.Actor) (Tenant, error) {
	id, ok := NormalID(id)
	if !ok {
		return Tenant{}, &events.FieldError{Field: "id", Problem: "must be a GUID"}
	}
	t := Tenant{ID: id, Kind: Entra, DisplayName: name, AddedAt: u.Now(), AddedBy: by}
	return t, u.Create(id, t)
}

// Get returns a tenant or work.ErrNotFound.
func Get(ctx context.Context, s work.Store, id string) (Tenant, error) {
	var t Tenant
	if !events.IsGUID(id) {
		return t, fmt.Errorf("read tenant: %w", work.ErrNotFound)
	}
	row, err := s.Get(ctx, work.Key{Partition: Partition, Row: strings.ToLower(id)})
	if err != nil {
		return t, fmt.Errorf("read tenant %s: %w", id, err)
	}
	return decode(row.Value)
}

func decode(value []byte) (Tenant, error) {
	var t Tenant
	err := json.Unmarshal(value, &t)
	if t.Kind == "" {
		t.Kind = Entra
	}
	return t, err
}

// List returns a page of the register in the order of ids.
func List(ctx context.Context, s work.Store, limit int, page string) (tenants []Tenant, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: Partition, Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list tenants: %w", err)
	}
	for _, row := range p.Rows {
		if !events.IsGUID(row.Row) {
			continue // other rows of the partition, such as idempotency keys
		}
		t, err := decode(row.Value)
		if err != nil {
			return nil, "", fmt.Errorf("decode tenant %s: %w", row.Row, err)
		}
		tenants = append(tenants, t)
	}
	return tenants, p.Next, nil
}

// Settings are what a tenant may choose.
type Settings struct {
	// PasscodeHours is how long a code can be revealed: 1 to 168, Intune's own seven days. It can only shorten them.
	PasscodeHours int `json:"passcodeHours" minimum:"1" maximum:"168" doc:"Hours during which a code can be revealed; Intune's seven days are the most"`
	// ResetDeadlineHours is how long a reset waits for its device: 1 to 720.
	ResetDeadlineHours int `json:"resetDeadlineHours" minimum:"1" maximum:"720" doc:"Hours that a reset waits for its device"`
	// SealPortalCodes allows codes of resets that somebody started in Intune's own portal to be kept here, sealed, like those of
	// our own. Off unless the tenant chooses so: who may see such a code is for Intune's roles to say, and here for ours.
	SealPortalCodes bool `json:"sealPortalCodes,omitempty" doc:"Whether codes of resets that were started in Intune's own portal are kept here too"`
	// RemediatePolicy lets an audit ask for the standing rollout once more when its policy was removed, changed or unassigned.
	RemediatePolicy bool `json:"remediatePolicy,omitempty" doc:"Whether an audit asks for the standing rollout again when its policy was removed, changed or unassigned"`
	// GraphNotifications has Graph tell at once of changes to the members of groups that policies are assigned to. Off unless the
	// tenant chooses so: it makes subscriptions in the tenant.
	GraphNotifications bool `json:"graphNotifications,omitempty" doc:"Whether Graph is asked to tell of changes to the members of groups that policies are assigned to"`
	// RequireStepUp says when a code is shown only to somebody who has just signed in more strongly; "" is WhenAvailable.
	RequireStepUp StepUp `json:"requireStepUp,omitempty" enum:"when_available,always" doc:"When a code is shown only to somebody who has just signed in more strongly: when_available (default), as soon as the person's own tenant names an authentication context; always, to nobody else"`
	// StepUpContext is the authentication context, c1 to c99, that this tenant's own people have to pass. It is the tenant's own:
	// Conditional Access there says what it asks for.
	StepUpContext string `json:"stepUpContext,omitempty" doc:"Authentication context of this tenant's Conditional Access, c1 to c99, that its own people pass when they sign in more strongly; empty for none"`
	// BudgetHour and BudgetDay are how many resets one person may start within an hour and within 24, and how many codes one may see.
	BudgetHour int `json:"budgetHour" minimum:"1" maximum:"500" doc:"How many resets a person may start in an hour, and how many codes see"`
	BudgetDay  int `json:"budgetDay" minimum:"1" maximum:"500" doc:"How many resets a person may start in 24 hours, and how many codes see"`
	// TokenBudget gives each of our own tokens the same budget. Off unless the tenant chooses so: programs use them.
	TokenBudget bool `json:"tokenBudget,omitempty" doc:"Whether each token has the budget of a person"`
	// SecondPerson says what two people are needed for; "" is NoSecondPerson. Each choice has those before it in it.
	SecondPerson SecondPerson `json:"secondPerson,omitempty" enum:"off,bulk,privileged,every" doc:"What a second person has to approve: off (default), nothing; bulk, bulk resets; privileged, also resets for users who hold a directory role, and seeing their codes; every, every reset"`
	// SuspendAbove is how many resets and codes together one person may ask for within SuspendMinutes before the person is stopped, those
	// that the budget refuses counted too; 0 is three times BudgetHour. See [Settings.SuspendAt].
	SuspendAbove   int `json:"suspendAbove" minimum:"0" maximum:"5000" doc:"How many resets and codes together a person may ask for in suspendMinutes, refused ones included, before the person is suspended; 0 is three times budgetHour"`
	SuspendMinutes int `json:"suspendMinutes" minimum:"1" maximum:"1440" doc:"Minutes in which they are counted"`
	// CallerCheck says what the device's user has to confirm; "" is NoCallerCheck.
	CallerCheck CallerCheck `json:"callerCheck,omitempty" enum:"off,reset,reveal" doc:"What the device's user confirms who calls, by signing in and typing a code that the operator reads out: off (default), nothing; reset, each reset of one device; reveal, that a code is seen"`
}

// SuspendAt is SuspendAbove, or what stands for it. Whoever keeps to the hour's budget of resets and to that of codes stays below.
func (s Settings) SuspendAt() int {
	if s.SuspendAbove > 0 {
		return s.SuspendAbove
	}
	return 3 * s.BudgetHour
}

// CallerCheck says what the device's user has to confirm.
type CallerCheck string

// What the device's user has to confirm.
const (
	NoCallerCheck   CallerCheck = "off"
	CallerForReset  CallerCheck = "reset"
	CallerForReveal CallerCheck = "reveal"
)

// SecondPerson says what two people are needed for.
type SecondPerson string

// What two people are needed for.
const (
	NoSecondPerson      SecondPerson = "off"
	SecondForBulk       SecondPerson = "bulk"       // bulk resets
	SecondForPrivileged SecondPerson = "privileged" // those, and resets for users who hold a directory role
	SecondForEvery      SecondPerson = "every"      // every reset
)

// ForBulk reports whether a bulk reset needs two people.
func (s SecondPerson) ForBulk() bool { return s != "" && s != NoSecondPerson }

// StepUp says when a stronger sign-in is needed.
type StepUp string

// When a stronger sign-in is needed.
const (
	WhenAvailable StepUp = "when_available" // as soon as the person's own tenant names a context
	Always        StepUp = "always"         // whoever can't is refused
)

// contextPattern is what Microsoft's page "Developers' guide to Conditional Access authentication context" has for ids.
var contextPattern = regexp.MustCompile(`^c([1-9]|[1-9][0-9])$`)

// IsStepUpContext reports whether the text names an authentication context.
func IsStepUpContext(text string) bool { return contextPattern.MatchString(text) }

// DefaultSettings are those of a tenant that chose none.
func DefaultSettings() Settings {
	return Settings{PasscodeHours: 168, ResetDeadlineHours: 24, BudgetHour: 10, BudgetDay: 30, SuspendMinutes: 60}
}

// PasscodeLife is PasscodeHours as a duration.
func (s Settings) PasscodeLife() time.Duration { return time.Duration(s.PasscodeHours) * time.Hour }

// ResetDeadline is ResetDeadlineHours as a duration.
func (s Settings) ResetDeadline() time.Duration {
	return time.Duration(s.ResetDeadlineHours) * time.Hour
}

// Validate names the setting that is out of range.
func (s Settings) Validate() error {
	switch {
	case s.PasscodeHours < 1 || s.PasscodeHours > 168:
		return &events.FieldError{Field: "passcodeHours", Problem: "must be 1 to 168"}
	case s.ResetDeadlineHours < 1 || s.ResetDeadlineHours > 720:
		return &events.FieldError{Field: "resetDeadlineHours", Problem: "must be 1 to 720"}
	case s.RequireStepUp != "" && s.RequireStepUp != WhenAvailable && s.RequireStepUp != Always:
		return &events.FieldError{Field: "requireStepUp", Problem: "must be when_available or always"}
	case s.StepUpContext != "" && !IsStepUpContext(s.StepUpContext):
		return &events.FieldError{Field: "stepUpContext", Problem: "must be c1 to c99, or empty"}
	case !slices.Contains([]SecondPerson{"", NoSecondPerson, SecondForBulk, SecondForPrivileged, SecondForEvery}, s.SecondPerson):
		return &events.FieldError{Field: "secondPerson", Problem: "must be off, bulk, privileged or every"}
	case !slices.Contains([]CallerCheck{"", NoCallerCheck, CallerForReset, CallerForReveal}, s.CallerCheck):
		return &events.FieldError{Field: "callerCheck", Problem: "must be off, reset or reveal"}
	case s.BudgetHour < 1 || s.BudgetHour > 500:
		return &events.FieldError{Field: "budgetHour", Problem: "must be 1 to 500"}
	case s.SuspendAbove < 0 || s.SuspendAbove > 5000:
		return &events.FieldError{Field: "suspendAbove", Problem: "must be 0 to 5000"}
	case s.SuspendMinutes < 1 || s.SuspendMinutes > 1440:
		return &events.FieldError{Field: "suspendMinutes", Problem: "must be 1 to 1440"}
	case s.BudgetDay < 1 || s.BudgetDay > 500:
		return &events.FieldError{Field: "budgetDay", Problem: "must be 1 to 500"}
	}
	return nil
}

// ReadSettings returns the settings of the unit's tenant.
func ReadSettings(ctx context.Context, u *work.Unit) (Settings, error) {
	s := DefaultSettings()
	err := u.Get(ctx, settingsRow, &s)
	if errors.Is(err, work.ErrNotFound) {
		return DefaultSettings(), nil
	}
	return s, err
}

// WriteSettings stages the settings of the unit's tenant, over those it has read.
func WriteSettings(u *work.Unit, s Settings) error { return u.Put(settingsRow, s) }
