package desk

import (
	"context"
	"errors"
	"fmt"

	"pinreset/shared/audit"
	"pinreset/shared/budget"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/suspension"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// spend stages one of the budget that who is in the room has of a kind. People have one; tokens, which programs and the local
// administrator use, have one where the tenant chose so.
func (r *Room) spend(ctx context.Context, u *work.Unit, kind budget.Kind) error {
	s, err := tenant.ReadSettings(ctx, u)
	if err != nil {
		return fmt.Errorf("read settings of %s: %w", r.ID(), err)
	}
	if r.who.Person == nil && !s.TokenBudget {
		return nil
	}
	if err := budget.Spend(ctx, u, kind, r.who.ID, budget.Limits{Hour: s.BudgetHour, Day: s.BudgetDay}); err != nil {
		return err
	}
	rate, err := r.rate(ctx, u)
	if err != nil {
		return err
	}
	return suspension.Count(ctx, u, r.who.ID, rate)
}

// spent turns the error of a budget that is spent into what the person is told, and has the tenant's failures tell of it too: whoever
// needs more than others is in need of help, or is not who it seems. Whoever goes on asking is stopped.
func (r *Room) spent(ctx context.Context, device string, err error) error {
	if errors.Is(err, suspension.ErrTooFast) {
		return r.suspend(ctx)
	}
	over, ok := errors.AsType[*budget.Exceeded](err)
	if !ok {
		return err
	}
	told := r.desk.change(ctx, r.ID(), func(u *work.Unit) error {
		rate, err := r.rate(ctx, u)
		if err != nil {
			return err
		}
		if err := suspension.Count(ctx, u, r.who.ID, rate); err != nil {
			return err
		}
		first, err := budget.Tell(ctx, u, over.Kind, r.who.Operator())
		if err != nil || !first {
			return err
		}
		id := u.NewID()
		_, err = diag.Raise(ctx, u, diag.Failure{
			RequestID: id, Function: "web", DeviceID: device, Code: fault.BudgetSpent,
			Detail: fmt.Sprintf("%s (%s) has spent the budget of %s.", r.who.Name, r.who.ID, over.Kind),
		})
		return errors.Join(err, audit.Append(u, audit.Entry{
			Actor: r.who.Operator(), Action: audit.BudgetSpent, DeviceID: device, RequestID: id, Change: map[string]string{"budget": string(over.Kind)},
		}))
	})
	if errors.Is(told, suspension.ErrTooFast) {
		return r.suspend(ctx)
	}
	if told != nil {
		return fmt.Errorf("tell of the budget of %s: %w", r.who.ID, told)
	}
	return fault.After(over.Free, fault.BudgetSpent, err)
}
