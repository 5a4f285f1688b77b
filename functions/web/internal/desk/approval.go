package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/approval"
	"pinreset/shared/fault"
	"pinreset/shared/grant"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/suspension"
	"pinreset/shared/work"
)

// Approval is a request for a second person as it is shown.
type Approval struct {
	ID         string          `json:"id" doc:"Also of the reset or bulk reset that it begins"`
	Action     approval.Action `json:"action" enum:"reset,bulk,reveal"`
	State      approval.State  `json:"state" enum:"waiting,approved,used,declined,expired"`
	Why        approval.Why    `json:"why" enum:"bulk,privileged,every" doc:"What two people are needed for: bulk work, a user who holds a directory role, every reset"`
	Hash       string          `json:"hash" doc:"Names the request to the letter; whoever decides sends it back"`
	DeviceID   string          `json:"deviceId,omitempty"`
	DeviceName string          `json:"deviceName,omitempty"`
	User       string          `json:"user,omitempty" doc:"Whose device it is"`
	ResetID    string          `json:"resetId,omitempty" doc:"The reset whose code is to be seen"`
	Group      string          `json:"group,omitempty" doc:"Object id of the group whose members' devices are to be reset; absent for all devices of the tenant"`
	Expected   int             `json:"expected,omitempty" doc:"How many devices they are to be"`
	PlanHash   string          `json:"planHash,omitempty" doc:"Which devices they are to be"`
	Reason     string          `json:"reason"`
	Ticket     string          `json:"ticket,omitempty"`
	By         events.Actor    `json:"by"`
	AskedAt    time.Time       `json:"askedAt"`
	ExpiresAt  time.Time       `json:"expiresAt" doc:"Until when it can be decided and used"`
	DecidedBy  *events.Actor   `json:"decidedBy,omitempty"`
	DecidedAt  time.Time       `json:"decidedAt,omitzero"`
	Note       string          `json:"note,omitempty" doc:"Why it was declined"`
	UsedAt     time.Time       `json:"usedAt,omitzero"`
	Deciders   []string        `json:"deciders,omitempty" doc:"Who can decide, of the people who were let in by name; the tenant's own people with the role Approver can, too"`
	MayDecide  bool            `json:"mayDecide" doc:"Whether you can decide it"`
}

// Decision is what a second person says.
type Decision struct {
	Hash   string `json:"hash,omitempty" maxLength:"64" doc:"The hash of what you have seen"`
	Reason string `json:"reason,omitempty" doc:"Why; needed to decline"`
}

func (r *Room) showApproval(a approval.Approval) Approval {
	state := a.StateAt(r.desk.o.Now())
	return Approval{
		ID: a.ID, Action: a.Action, State: state, Why: a.Why, Hash: a.Hash, DeviceID: a.DeviceID, DeviceName: a.DeviceName, User: a.User,
		ResetID: a.ResetID, Group: a.Group, Expected: a.Expected, PlanHash: a.PlanHash, Reason: a.Reason, Ticket: a.Ticket, By: a.By,
		AskedAt: a.At, ExpiresAt: a.ExpiresAt, DecidedBy: a.DecidedBy, DecidedAt: a.DecidedAt, Note: a.Note, UsedAt: a.UsedAt,
		MayDecide: state == approval.Waiting && r.mayDecide(a),
	}
}

// mayDecide reports whether who is in the room could decide. A token tells nothing of who holds it, so nobody decides with one.
func (r *Room) mayDecide(a approval.Approval) bool {
	return r.Can(identity.ApprovalDecide) && r.who.Person != nil && a.By.ID != r.who.ID && !a.IsOf(r.object())
}

// object is who is in the room in the tenant's own directory; "" for somebody from elsewhere.
func (r *Room) object() string {
	if p := r.who.Person; p != nil && p.Tenant == r.ID() {
		return p.Object
	}
	return ""
}

// Approvals lists what was asked of a second person, newest first: all of it, or what waits.
func (r *Room) Approvals(ctx context.Context, state approval.State, page Page) (List[Approval], error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return List[Approval]{}, err
	}
	if !slices.Contains([]approval.State{"", approval.Waiting, approval.Approved, approval.Used, approval.Declined, approval.Expired}, state) {
		return List[Approval]{}, invalid("query.state", "is not a state of an approval")
	}
	return paged(r, "approvals "+string(state), page, func(limit int, place string) (shown []Approval, next string, err error) {
		all, next, err := approval.List(ctx, r.desk.o.Store, r.ID(), limit, place)
		for _, a := range all {
			if s := r.showApproval(a); state == "" || s.State == state {
				shown = append(shown, s)
			}
		}
		if state == approval.Waiting && len(all) > 0 && !r.desk.o.Now().Before(all[len(all)-1].ExpiresAt) {
			next = "" // whatever is older has expired, too
		}
		return shown, next, err
	})
}

// Approval shows one request with who can decide it.
func (r *Room) Approval(ctx context.Context, id string) (Approval, error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return Approval{}, err
	}
	a, err := r.readApproval(ctx, r.unit(), id)
	if err != nil {
		return Approval{}, err
	}
	shown := r.showApproval(a)
	if shown.State == approval.Waiting {
		shown.Deciders, err = r.deciders(ctx, a)
	}
	return shown, err
}

func (r *Room) readApproval(ctx context.Context, u *work.Unit, id string) (approval.Approval, error) {
	a, err := approval.Read(ctx, u, id)
	if errors.Is(err, work.ErrNotFound) {
		return a, missing(err)
	}
	return a, err
}

// deciders names those who hold a grant to decide.
func (r *Room) deciders(ctx context.Context, a approval.Approval) ([]string, error) {
	var names []string
	for page := ""; ; {
		grants, next, err := grant.List(ctx, r.desk.o.Store, r.ID(), MaxLimit, page)
		if err != nil {
			return nil, err
		}
		for _, g := range grants {
			if g.Holds(r.desk.o.Now()) && g.PersonID != a.By.ID && slices.Contains(g.Permissions, identity.ApprovalDecide) {
				names = append(names, g.Name)
			}
		}
		if page = next; page == "" {
			slices.Sort(names)
			return slices.Compact(names), nil
		}
	}
}

// Decide says yes or no to what somebody else asked for. With yes, a reset or a bulk reset begins in the same commit; the requester may
// then see the code that was asked for.
func (r *Room) Decide(ctx context.Context, key, id string, yes bool, in Decision) (Answer[Approval], error) {
	var none Answer[Approval]
	if err := r.Need(identity.ApprovalDecide); err != nil {
		return none, err
	}
	if _, err := r.readApproval(ctx, r.unit(), id); err != nil {
		return none, err
	}
	if r.who.Person == nil {
		return none, problem.Refuse(fault.Forbidden, "A second person signs in with Microsoft; a token does not tell who holds it.")
	}
	if in.Hash == "" {
		return none, invalid("body.hash", "is missing")
	}
	if err := checkWhy(in.Reason, "", !yes); err != nil {
		return none, err
	}
	what := "decline "
	if yes {
		what = "approve "
		if err := r.needStepUp(ctx); err != nil {
			return none, err
		}
	}
	c, err := r.call(key, what+id, in)
	if err != nil {
		return none, err
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Approval], error) {
		a, err := approval.Decide(ctx, u, id, approval.Decision{Approve: yes, Hash: in.Hash, Note: in.Reason, By: r.who.Operator(), Object: r.object()})
		if err != nil {
			return none, notValid(a, err)
		}
		if yes {
			if s, err := suspension.Read(ctx, u, a.By.ID); err != nil {
				return none, err
			} else if s.Active() {
				return none, problem.Refuse(fault.StateConflict, "Who asked for it was suspended since. Nothing was approved.")
			}
		}
		if a.State == approval.Used {
			if err := r.begin(ctx, u, a); err != nil {
				return none, err
			}
		}
		return Answer[Approval]{Status: http.StatusOK, Location: r.approvalPath(id), Body: r.showApproval(a)}, nil
	})
}

// begin stages the work that was approved.
func (r *Room) begin(ctx context.Context, u *work.Unit, a approval.Approval) error {
	given := &passcode.Approved{ID: a.ID, By: *a.DecidedBy, At: a.DecidedAt, UserID: a.UserID}
	if a.Action == approval.Bulk {
		_, err := passcode.AcceptBulk(ctx, u, passcode.Bulk{
			ID: a.ID, Group: a.Group, Count: a.Expected, Hash: a.PlanHash, Reason: a.Reason, Ticket: a.Ticket, By: a.By, Approved: given,
		})
		return err
	}
	reset, existing, err := passcode.Accept(ctx, u, events.PasscodeResetRequested{
		RequestID: a.ID, DeviceID: a.DeviceID, Reason: a.Reason, Ticket: a.Ticket, By: a.By,
	})
	if err != nil {
		return fmt.Errorf("accept reset of %s: %w", a.DeviceID, err)
	}
	if existing {
		return problem.Refuse(fault.StateConflict, "The device has another reset that has not ended. Nothing was approved.")
	}
	reset.Approved, reset.CallerAt = given, a.CallerAt
	return passcode.Write(u, reset)
}

// ask stages a request that waits for a second person.
func (r *Room) ask(u *work.Unit, a approval.Approval) (approval.Approval, error) {
	if a.IsOf(r.object()) {
		return a, problem.Refuse(fault.Forbidden, "This is your own device. Where two people are needed, neither is its user: ask a colleague.")
	}
	a.By = r.who.Operator()
	return approval.Ask(u, u.NewID(), a)
}

func (r *Room) approvalPath(id string) string { return "/v1/tenants/" + r.ID() + "/approvals/" + id }

// notValid says why an approval can't be given or used.
func notValid(a approval.Approval, err error) error {
	code, detail := fault.ApprovalNotValid, ""
	switch {
	case errors.Is(err, work.ErrNotFound):
		return missing(err)
	case errors.Is(err, approval.ErrOwn):
		code, detail = fault.Forbidden, "You asked for it yourself. A second person is somebody else."
	case errors.Is(err, approval.ErrTarget):
		code, detail = fault.Forbidden, "It is your own device. Somebody else decides about it."
	case errors.Is(err, approval.ErrOther):
		detail = "It is an approval of another request: another device, reason, ticket or person. Look at it again."
	case errors.Is(err, approval.ErrExpired):
		detail = "It expired at " + a.ExpiresAt.UTC().Format("15:04 UTC") + "."
	case errors.Is(err, approval.ErrUsed):
		detail = "It was used already; it is good once."
	case errors.Is(err, approval.ErrDecided):
		detail = "It was decided already: it is " + string(a.State) + "."
	case errors.Is(err, approval.ErrDeclined):
		detail = "It was declined."
	case errors.Is(err, approval.ErrUndecided):
		detail = "Nobody has approved it yet."
	default:
		return err
	}
	return &problem.Refusal{Code: code, Detail: detail, Err: err}
}
