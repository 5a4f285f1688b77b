package tenantaudit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"pinreset/shared/graph"
	"pinreset/shared/policy"
	"pinreset/shared/reading"
	"pinreset/shared/survey"
)

// partOf names the part that reads a store.
var partOf = map[policy.Store]string{
	policy.DeviceConfigurations:  survey.PartConfigurations,
	policy.ConfigurationPolicies: survey.PartCatalog,
	policy.Intents:               survey.PartIntents,
}

// opened is what the first round showed of the stores, and what is to be read of their policies apart.
type opened struct {
	errs  map[policy.Store]error
	docs  map[policy.Store][]document
	reads []graph.BatchRequest
}

// document is a policy of which the entity was read.
type document struct {
	id       string
	modified time.Time
	entity   raw
	kept     []policy.Found // its settings as they were: its date has not changed since
	settled  bool           // nothing more is to be read: kept, or no candidate
}

func (l *look) stores(ctx context.Context, beta answers) opened {
	o := opened{errs: map[policy.Store]error{}, docs: map[policy.Store][]document{}}
	for _, store := range policy.Stores {
		all, _, err := elements[raw](ctx, l, graph.Beta, beta[partOf[store]])
		o.errs[store] = err
		for _, e := range all {
			d := l.open(store, e)
			o.docs[store] = append(o.docs[store], d)
			if d.settled || d.id == "" {
				continue
			}
			path := policy.Ref{Store: store, ID: d.id}.Path()
			if store != policy.DeviceConfigurations {
				o.reads = append(o.reads, graph.BatchGet("settings-"+d.id, path+"/settings"))
			}
			if !expanded(d.entity) {
				o.reads = append(o.reads, graph.BatchGet("assignments-"+d.id, path+"/assignments"))
			}
		}
	}
	return o
}

// open reads of a policy what tells whether there is more to read.
func (l *look) open(store policy.Store, e raw) document {
	var head struct {
		ID       string    `json:"id"`
		Modified time.Time `json:"lastModifiedDateTime"`
	}
	d := document{entity: e}
	if json.Unmarshal(e, &head) != nil {
		return d // detection says what is wrong with it
	}
	d.id, d.modified = strings.ToLower(head.ID), head.Modified.UTC()
	if store == policy.DeviceConfigurations {
		return d
	}
	if !policy.Candidate(store, e) {
		d.settled = true
		return d
	}
	if l.whole || d.modified.IsZero() || !expanded(e) {
		return d
	}
	if at, ok := l.last.Looked[d.id]; ok && at.Equal(d.modified) {
		l.looked[d.id], d.settled = at, true
		return d
	}
	before, _ := l.last.Known.Policies[store].Get()
	for _, f := range before {
		if f.ID == d.id && f.Modified.Equal(d.modified) {
			d.kept = append(d.kept, f)
		}
	}
	d.settled = len(d.kept) > 0
	return d
}

// policies reads the stores' policies. A store of which one policy could not be read whole is unread: nobody may take what is left for
// all there is.
func (l *look) policies(ctx context.Context, more answers, o opened) {
	for _, store := range policy.Stores {
		found, err := []policy.Found{}, o.errs[store]
		for _, d := range o.docs[store] {
			if err != nil {
				break
			}
			var some []policy.Found
			if some, err = l.detect(ctx, store, d, more); err == nil {
				found = append(found, some...)
			}
		}
		slices.SortFunc(found, func(a, b policy.Found) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Setting, b.Setting)) })
		l.facts.Policies[store] = reading.From(found, err)
		l.part(partOf[store], err)
	}
}

// expanded reports whether the list has all assignments of the policy in it.
func expanded(e raw) bool {
	return bytes.Contains(e, []byte(`"assignments":`)) && !bytes.Contains(e, []byte(`assignments@odata.nextLink`))
}

func (l *look) detect(ctx context.Context, store policy.Store, d document, more answers) ([]policy.Found, error) {
	if len(d.kept) > 0 {
		return l.again(d)
	}
	if d.settled {
		return nil, nil
	}
	doc, err := policy.Document{Entity: d.entity}, error(nil)
	if store != policy.DeviceConfigurations {
		if doc.Settings, _, err = elements[raw](ctx, l, graph.Beta, more["settings-"+d.id]); err != nil {
			return nil, err
		}
		doc.Settings = slices.Concat([]raw{}, doc.Settings) // read, and perhaps none
	}
	if !expanded(d.entity) {
		if doc.Assignments, _, err = elements[raw](ctx, l, graph.Beta, more["assignments-"+d.id]); err != nil {
			return nil, err
		}
		doc.Assignments = slices.Concat([]raw{}, doc.Assignments)
	}
	found, err := policy.Detect(l.tenant, store, doc)
	if err == nil && len(found) == 0 && store == policy.ConfigurationPolicies {
		l.looked[d.id] = d.modified
	}
	return found, err
}

// again is a policy whose settings are as they were, with the assignments of now.
func (l *look) again(d document) ([]policy.Found, error) {
	var e struct {
		Assignments []raw `json:"assignments"`
	}
	if err := json.Unmarshal(d.entity, &e); err != nil {
		return nil, err
	}
	assignments, err := policy.ParseAssignments(e.Assignments)
	if err != nil {
		return nil, err
	}
	kept := slices.Clone(d.kept)
	for i := range kept {
		kept[i].Assignments = assignments
	}
	return kept, nil
}

// live reports whether the policy makes PIN recovery on some devices: it is assigned.
func live(f policy.Found) bool { return f.Setting == policy.PINRecovery && f.Assigned() }

// standing is the policy that turns PIN recovery on: pinreset's own before others, else the one with the lowest id.
func standing(found []policy.Found) (policy.Found, bool) {
	var best policy.Found
	ok := false
	for _, f := range found {
		if !live(f) || f.Effective() != policy.On {
			continue
		}
		if !ok || f.Mine && !best.Mine || f.Mine == best.Mine && f.ID < best.ID {
			best, ok = f, true
		}
	}
	return best, ok
}

// overview is Intune's count of what devices made of a profile.
type overview struct {
	Pending       int `json:"pendingCount"`
	NotApplicable int `json:"notApplicableCount"`
	Success       int `json:"successCount"`
	Error         int `json:"errorCount"`
	Failed        int `json:"failedCount"`
}

func overviewRead(f policy.Found) graph.BatchRequest {
	return graph.BatchGet("status-"+f.ID, f.Ref().Path()+"/deviceStatusOverview")
}

// statusReads ask for the count of the policy that stood at the audit before.
func (l *look) statusReads() []graph.BatchRequest {
	var all []policy.Found
	for _, store := range policy.Stores {
		some, _ := l.last.Known.Policies[store].Get()
		all = append(all, some...)
	}
	if f, ok := standing(all); ok && f.Shape.HasDeviceStatus() {
		return []graph.BatchRequest{overviewRead(f)}
	}
	return nil
}

// progress reads what devices made of the policy that stands. Where its shape has no count in Graph nothing is known, and
// nothing is made up.
func (l *look) progress(ctx context.Context, v1 answers) {
	f, ok := standing(l.found())
	if !ok || !f.Shape.HasDeviceStatus() {
		return
	}
	answer, asked := v1["status-"+f.ID]
	if !asked {
		answer = l.round(ctx, graph.V1, []graph.BatchRequest{overviewRead(f)})["status-"+f.ID]
	}
	var o overview
	err := answer.Decode(&o)
	l.part(survey.PartStatus, err)
	if err != nil {
		return
	}
	l.status = &survey.Status{Pending: o.Pending, Succeeded: o.Success, Failed: o.Error + o.Failed, NotApplicable: o.NotApplicable}
	if c, ok := l.facts.Coverage.Get(); ok {
		c.Targeted, c.Succeeded, c.Failed, c.NotApplicable = l.status.Targeted(), l.status.Succeeded, l.status.Failed, l.status.NotApplicable
		l.facts.Coverage = reading.Read(c)
	}
}
