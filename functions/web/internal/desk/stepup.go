package desk

import (
	"context"
	"fmt"
	"time"

	"pinreset/functions/web/internal/problem"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// stepUpLife is how recent the stronger sign-in must be.
const stepUpLife = 5 * time.Minute

// needStepUp refuses who has not signed in strongly enough, or not recently enough, for what shows a code. The tenant of the room says
// whether it must be so; which context that is, the person's own tenant says, because its Conditional Access knows it.
//
// A token of ours tells nothing of how anybody signed in. It passes unless the tenant insists.
func (r *Room) needStepUp(ctx context.Context) error {
	here, err := tenant.ReadSettings(ctx, r.unit())
	if err != nil {
		return fmt.Errorf("read settings of %s: %w", r.ID(), err)
	}
	always := here.RequireStepUp == tenant.Always
	person := r.who.Person
	if person == nil {
		if always {
			return problem.Refuse(fault.Forbidden, "This tenant shows codes only to people who sign in with Microsoft, more strongly; a token does not do.")
		}
		return nil
	}
	home := here
	if person.Tenant != r.ID() {
		u := work.NewUnit(r.desk.o.Store, person.Tenant, r.desk.o.Now(), r.desk.o.NewID)
		if home, err = tenant.ReadSettings(ctx, u); err != nil {
			return fmt.Errorf("read settings of %s: %w", person.Tenant, err)
		}
	}
	now := r.desk.o.Now()
	switch {
	case home.StepUpContext != "":
		if person.Passed(home.StepUpContext, stepUpLife, now) {
			return nil
		}
		return &problem.Refusal{Code: fault.StepUpRequired, StepUp: home.StepUpContext}
	case always:
		return problem.Refuse(fault.Forbidden, "This tenant shows codes only after a stronger sign-in, and your own tenant names no authentication context for one.")
	case now.Sub(person.IssuedAt) > identity.SessionLife:
		return problem.Refuse(fault.Unauthenticated, "The sign-in is older than eight hours.")
	}
	return nil
}
