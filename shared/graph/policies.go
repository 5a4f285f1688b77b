package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"pinreset/shared/policy"
)

// What is asked for of each store. A list of device configurations takes no $select: the fields that matter belong to the
// derived types, and the base type does not know them.
const (
	catalogFields = "id,name,description,platforms,technologies,roleScopeTagIds,settingCount,lastModifiedDateTime,templateReference"
	intentFields  = "id,displayName,description,isAssigned,templateId,lastModifiedDateTime"
)

// ReadPolicies reads the policies of a store that make one of the settings of package policy, with their assignments; the
// others are left out. It reads beta: v1.0 does not show what is asked for. Settings and assignments that a list does not have
// in it are read beside it, in batches. If any of it fails, all of it does: what could not be read is not missing.
func ReadPolicies(store policy.Store) Read[[]policy.Found] {
	target := store.Path()
	switch store {
	case policy.DeviceConfigurations:
		target += query("$expand", "assignments")
	case policy.ConfigurationPolicies:
		target += query("$select", catalogFields)
	case policy.Intents:
		target += query("$select", intentFields)
	default:
		return Read[[]policy.Found]{what: "list policies", invalid: invalidf("no store %q", store)}
	}
	return then(readAll[raw]("list "+string(store), Beta, target), func(ctx context.Context, c *Client, tenant string, entities []raw) ([]policy.Found, error) {
		return c.detect(ctx, tenant, store, entities)
	})
}

// Policies reads the policies of all stores that make one of the settings. If one store can't be read, there is no result.
func (c *Client) Policies(ctx context.Context, tenant string) ([]policy.Found, error) {
	if err := checkIDs("tenant", tenant); err != nil {
		return nil, err
	}
	reads := make([]Read[[]policy.Found], len(policy.Stores))
	for i, s := range policy.Stores {
		reads[i] = ReadPolicies(s)
	}
	lists, err := batched(ctx, c, tenant, reads)
	if err != nil {
		return nil, fmt.Errorf("read policies of tenant %s: %w", tenant, err)
	}
	return slices.Concat(lists...), nil
}

// Policy reads one policy: a setting in each element. A policy that makes none of the settings any more gives none. ErrNotFound means that
// there is no such policy.
func (c *Client) Policy(ctx context.Context, tenant string, ref policy.Ref) ([]policy.Found, error) {
	if err := checkPolicy(tenant, ref); err != nil {
		return nil, err
	}
	target := ref.Path()
	switch ref.Store {
	case policy.ConfigurationPolicies:
		target += query("$select", catalogFields)
	case policy.Intents:
		target += query("$select", intentFields)
	}
	found, err := then(readOne[raw]("read policy "+ref.ID, Beta, target), func(ctx context.Context, c *Client, tenant string, e raw) ([]policy.Found, error) {
		return c.detect(ctx, tenant, ref.Store, []raw{e})
	}).Do(ctx, c, tenant)
	return found, err
}

// Assignments reads all assignments of a policy.
func (c *Client) Assignments(ctx context.Context, tenant string, ref policy.Ref) ([]policy.Assignment, error) {
	if err := checkPolicy(tenant, ref); err != nil {
		return nil, err
	}
	r := readAll[raw]("read assignments of policy "+ref.ID, Beta, ref.Path()+"/assignments")
	return then(r, func(_ context.Context, _ *Client, _ string, elements []raw) ([]policy.Assignment, error) {
		return policy.ParseAssignments(elements)
	}).Do(ctx, c, tenant)
}

// detect finds the settings in entities of a store. What a list does not have in it is read: settings of all that may
// make one, assignments of those that do.
func (c *Client) detect(ctx context.Context, tenant string, store policy.Store, entities []raw) ([]policy.Found, error) {
	documents := make([]policy.Document, 0, len(entities))
	var ids []string
	for _, e := range entities {
		var entity struct {
			ID string `json:"id"`
		}
		if !policy.Candidate(store, e) {
			continue
		}
		if err := json.Unmarshal(e, &entity); err != nil || entity.ID == "" {
			return nil, fmt.Errorf("%s: a policy without an id", store)
		}
		documents = append(documents, policy.Document{Entity: e})
		ids = append(ids, entity.ID)
	}
	if store != policy.DeviceConfigurations {
		settings, err := batched(ctx, c, tenant, each(ids, func(id string) Read[[]raw] {
			return readAll[raw]("read settings of policy "+id, Beta, below(store, id, "settings"))
		}))
		if err != nil {
			return nil, err
		}
		for i := range settings {
			documents[i].Settings = notNil(settings[i])
		}
	}
	var hits []policy.Document
	var lacking []string // ids of those whose assignments are not all at hand
	var at []int
	for i, d := range documents {
		found, err := policy.Detect(tenant, store, policy.Document{Entity: d.Entity, Settings: d.Settings, Assignments: []raw{}})
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue
		}
		hits = append(hits, d)
		if !expanded(d.Entity) {
			lacking, at = append(lacking, ids[i]), append(at, len(hits)-1)
		}
	}
	assignments, err := batched(ctx, c, tenant, each(lacking, func(id string) Read[[]raw] {
		return readAll[raw]("read assignments of policy "+id, Beta, below(store, id, "assignments"))
	}))
	if err != nil {
		return nil, err
	}
	for i, set := range assignments {
		hits[at[i]].Assignments = notNil(set)
	}
	var all []policy.Found
	for _, d := range hits {
		found, err := policy.Detect(tenant, store, d)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// expanded reports whether an entity has all its assignments in it.
func expanded(e raw) bool {
	if bytes.Contains(e, []byte(`assignments@odata.nextLink`)) {
		return false
	}
	var entity struct {
		Assignments *[]raw `json:"assignments"`
	}
	return json.Unmarshal(e, &entity) == nil && entity.Assignments != nil
}

// below is the path of a list of a policy. The id is Graph's own and goes back as it came.
func below(store policy.Store, id, list string) string {
	return store.Path() + "/" + url.PathEscape(id) + "/" + list
}

func notNil(elements []raw) []raw {
	if elements == nil {
		return []raw{}
	}
	return elements
}

func each[T any](ids []string, read func(id string) Read[T]) []Read[T] {
	reads := make([]Read[T], len(ids))
	for i, id := range ids {
		reads[i] = read(id)
	}
	return reads
}

// CreatePolicy creates a policy of the shape that turns PIN recovery on, assigned to nobody, and returns its id. It is sent at
// most once and must not be called again blindly: each call makes a policy. After an error for which
// errors.Is(err, ErrOutcomeUnknown) holds, read [Client.Policies] and look for policy.Ours.
func (c *Client) CreatePolicy(ctx context.Context, tenant string, shape policy.Shape) (id string, err error) {
	if err := checkIDs("tenant", tenant); err != nil {
		return "", err
	}
	call, err := policy.Create(tenant, shape, policy.On)
	if err != nil {
		return "", invalidf("%w", err)
	}
	a, err := c.carryOut(ctx, tenant, call, true)
	if err != nil {
		return "", fmt.Errorf("create policy of shape %s: %w", shape, err)
	}
	var created struct {
		ID string `json:"id"`
	}
	if err := a.decodeOne(&created); err != nil || !isGUID(created.ID) {
		e := &Error{Method: call.Method, Path: a.path, RequestID: a.header.Get("request-id"), Date: a.date, Err: errNoID}
		return "", fmt.Errorf("create policy of shape %s: %w", shape, unknown(e))
	}
	return created.ID, nil
}

// SetPolicyValue changes the value of a policy that was read just now, and nothing else of it. It may be repeated.
func (c *Client) SetPolicyValue(ctx context.Context, tenant string, f policy.Found, v policy.Value) error {
	if err := checkPolicy(tenant, f.Ref()); err != nil {
		return err
	}
	call, err := policy.SetValue(tenant, f, v)
	if err != nil {
		return invalidf("%w", err)
	}
	if _, err := c.carryOut(ctx, tenant, call, false); err != nil {
		return fmt.Errorf("turn policy %s %s: %w", f.ID, v, err)
	}
	return nil
}

// Assign replaces the whole set of a policy's assignments. Read them all, merge, assign, read back: two writers race, and the last
// wins. It may be repeated.
func (c *Client) Assign(ctx context.Context, tenant string, ref policy.Ref, set []policy.Assignment) error {
	if err := checkPolicy(tenant, ref); err != nil {
		return err
	}
	for _, a := range set {
		if len(a.Raw) == 0 && a.GroupID != "" {
			if err := checkID("group", a.GroupID); err != nil {
				return err
			}
		}
	}
	if _, err := c.carryOut(ctx, tenant, policy.Assign(ref, set), false); err != nil {
		return fmt.Errorf("assign policy %s: %w", ref.ID, err)
	}
	return nil
}

// DeletePolicy deletes a policy. ErrNotFound means that it is gone already.
func (c *Client) DeletePolicy(ctx context.Context, tenant string, ref policy.Ref) error {
	if err := checkPolicy(tenant, ref); err != nil {
		return err
	}
	if _, err := c.carryOut(ctx, tenant, policy.Delete(ref), false); err != nil {
		return fmt.Errorf("delete policy %s: %w", ref.ID, err)
	}
	return nil
}

func (c *Client) carryOut(ctx context.Context, tenant string, call policy.Call, oneShot bool) (*answer, error) {
	r := request{method: call.Method, version: call.Version, target: call.Path, oneShot: oneShot,
		demands: []demand{demandOf(call.Method, call.Path)}}
	if call.Method != http.MethodDelete {
		r.body = call.Body
	}
	a, _, err := c.general.send(ctx, tenant, r)
	return a, err
}

// checkPolicy refuses what is no policy that can be written to or read.
func checkPolicy(tenant string, ref policy.Ref) error {
	if !slices.Contains(policy.Stores, ref.Store) {
		return invalidf("no store %q", bounded(string(ref.Store)))
	}
	return checkIDs("tenant", tenant, "policy", ref.ID)
}
