package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"time"
)

// Pace is a limit on writes: at most Limit within any span of Per, of which bulk work leaves the share Reserve to people.
type Pace struct {
	Limit   int
	Per     time.Duration
	Reserve float64 // 0 to less than 1
}

// PublishedPace is Microsoft's limit on writes of one application in one tenant to a store of policies, the same figure for
// each (page "Service-specific throttling limits", Intune), less a fifth.
var PublishedPace = Pace{Limit: 100, Per: 20 * time.Second, Reserve: 0.2}

// Share is how many writes bulk work may make within Per.
func (p Pace) Share() int { return max(1, p.Limit-int(math.Round(float64(p.Limit)*p.Reserve))) }

// Wait is how long after the first write the last of so many can be sent, by the limit alone: the windows slide, so a share goes
// at once, and each permit comes back Per after its use.
func (p Pace) Wait(writes int) time.Duration {
	if writes <= 0 || p.Limit <= 0 {
		return 0
	}
	return time.Duration((writes-1)/p.Share()) * p.Per
}

// Plan is what a wish comes to in a tenant as it was found.
type Plan struct {
	Desired Desired `json:"desired"`
	// Policy is the one to be written; its ID is empty if it is to be created.
	Policy Ref `json:"policy"`
	// Calls in their order. Reads are among them: what is written depends on nothing that was read earlier than they.
	Calls  []Call       `json:"calls"`
	Set    []Assignment `json:"set"`    // the assignments afterwards
	Added  []Assignment `json:"added"`  // of these, those that are new
	Writes int          `json:"writes"` // how many of the calls
	// ETA is how long the writes take by the limits alone, in nanoseconds; devices take the policy at their next check-in.
	ETA time.Duration `json:"eta"`
	// Hash is of the writes. Two plans with the same one do the same.
	Hash string `json:"hash"`
}

// Nothing reports whether everything is as it is wished.
func (p Plan) Nothing() bool { return p.Writes == 0 }

// Plan compares the wish with what was found in the tenant, in all stores, and returns what is to be done. It returns an
// *events.FieldError for an invalid wish, a *[ContradictionError] where the wish and an assignment exclude one another, and
// [ErrNotWritable].
//
// A wish for off where pinreset has no policy of the shape comes to nothing: there is nothing of ours to turn off.
func (d Desired) Plan(tenantID string, found []Found, pace Pace) (Plan, error) {
	d = d.Normal()
	if err := d.Validate(); err != nil {
		return Plan{}, err
	}
	p := Plan{Desired: d, Policy: Ref{Store: d.Shape.Store()}}
	f, exists := Ours(found, d.Shape)
	if !exists && d.Value == Off {
		p.Hash = p.hash(tenantID)
		return p, nil
	}
	for _, s := range Stores {
		p.Calls = append(p.Calls, Call{Method: http.MethodGet, Version: beta, Path: s.Path(), Purpose: "see what is there"})
	}
	ref := Ref{Store: p.Policy.Store, ID: "{id}"}
	var existing []Assignment
	if exists {
		ref, existing = f.Ref(), f.Assignments
		p.Policy = ref
		if f.Value != d.Value {
			c, err := SetValue(tenantID, f, d.Value)
			if err != nil {
				return Plan{}, err
			}
			p.Calls = append(p.Calls, c)
		}
	} else {
		c, err := Create(tenantID, d.Shape, d.Value)
		if err != nil {
			return Plan{}, err
		}
		p.Calls = append(p.Calls, c)
	}
	var err error
	if p.Set, err = Merge(existing, d); err != nil {
		return Plan{}, fmt.Errorf("plan: %w", err)
	}
	if p.Added = Added(existing, d); len(p.Added) > 0 {
		look := Call{Method: http.MethodGet, Version: beta, Path: ref.Path() + "/assignments", Purpose: "read all assignments; stop if that fails"}
		back := look
		back.Purpose = "read back and compare"
		p.Calls = append(p.Calls, look, Assign(ref, p.Set), back)
	}
	for _, c := range p.Calls {
		if c.Write() {
			p.Writes++
		}
	}
	p.ETA, p.Hash = pace.Wait(p.Writes), p.hash(tenantID)
	return p, nil
}

func (p Plan) hash(tenantID string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", tenantID)
	for _, c := range p.Calls {
		if c.Write() {
			fmt.Fprintf(h, "%s %s%s %d\n%s\n", c.Method, c.Version, c.Path, len(c.Body), c.Body)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
