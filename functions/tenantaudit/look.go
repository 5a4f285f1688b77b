package tenantaudit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"pinreset/events/jsoncut"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/onboarding"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/survey"
)

// look is one reading of a tenant.
type look struct {
	cloud  cloud
	tenant string
	place  readiness.Cloud
	now    time.Time
	last   survey.Last
	whole  bool                                           // read every setting, whatever the dates of policies
	signIn func(ctx context.Context, tenant string) error // see [Handler.SignIn]

	facts     readiness.TenantFacts
	status    *survey.Status
	parts     []survey.Part
	looked    map[string]time.Time
	delta     map[string]string
	grants    []survey.Grant
	requests  int
	throttled int
	wait      error // the longest fault.After among the reads
}

// answers are the answers to a round of reads, by the ids of its requests.
type answers map[string]graph.BatchResponse

// read reads the tenant into facts and parts. When ctx ends, what is left is unread.
func (l *look) read(ctx context.Context) {
	l.looked, l.delta = map[string]time.Time{}, map[string]string{}
	maps.Copy(l.delta, l.last.Delta)
	l.facts = readiness.TenantFacts{TenantID: l.tenant, Kind: readiness.Entra, Cloud: l.place, ReadAt: l.now, Policies: map[policy.Store]reading.Of[[]policy.Found]{}}
	known := l.applicationsKnown()
	v1, beta := l.firstRound(ctx, slices.Concat(l.directoryReads(), l.holdings(known, l.follows() && len(known) > 0), l.unseen(known), l.statusReads()))
	// What the first round showed to be worth a further look.
	stores := l.stores(ctx, beta)
	more := l.round(ctx, graph.Beta, stores.reads)
	l.policies(ctx, more, stores)
	l.applications(ctx, v1, known)
	l.domains(ctx, v1)
	l.coverage(ctx, beta)
	l.progress(ctx, v1)
	if l.facts.Findings = policy.Lint(l.found(), nil); len(l.facts.Findings) > maxFindings {
		l.facts.Findings = l.facts.Findings[:maxFindings]
	}
}

// maxFindings bounds what is kept of a tenant with policies beyond number.
const maxFindings = 100

// firstRound makes the reads that rest on no other, of both versions of Graph: at the same time where that is allowed.
func (l *look) firstRound(ctx context.Context, reads []graph.BatchRequest) (v1, beta answers) {
	if l.signIn == nil {
		return l.round(ctx, graph.V1, reads), l.round(ctx, graph.Beta, l.intuneReads())
	}
	_ = l.signIn(ctx, l.tenant) // before there is a second goroutine to wait for it
	var other said
	var panicked any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		other = l.ask(ctx, graph.Beta, l.intuneReads())
	}()
	v1 = l.round(ctx, graph.V1, reads)
	<-done
	if panicked != nil {
		panic(panicked) // it is the run's
	}
	return v1, l.hear(other)
}

// round makes the reads and returns an answer for each.
func (l *look) round(ctx context.Context, version string, reads []graph.BatchRequest) answers {
	return l.hear(l.ask(ctx, version, reads))
}

// said is what Graph said to a round of reads.
type said struct {
	all       answers
	errs      []error // in order
	requests  int
	throttled int
}

// ask makes the reads, as many batches as they need; of a batch that failed as a whole, each read has its error. It changes nothing
// of the look.
func (l *look) ask(ctx context.Context, version string, reads []graph.BatchRequest) said {
	s := said{all: make(answers, len(reads))}
	for part := range slices.Chunk(reads, graph.MaxBatch) {
		got, err := l.cloud.Batch(ctx, l.tenant, version, part)
		if err = inTime(err); err != nil {
			for _, r := range part {
				s.all[r.ID()] = graph.BatchResponse{ID: r.ID(), Err: err}
			}
			s.errs = append(s.errs, err)
			continue
		}
		s.requests += len(part)
		for _, r := range got {
			s.all[r.ID] = r
			if r.Err != nil {
				s.errs = append(s.errs, r.Err)
			}
			if r.Status == http.StatusTooManyRequests {
				s.throttled++
			}
		}
	}
	return s
}

// hear takes into account what was said.
func (l *look) hear(s said) answers {
	l.requests, l.throttled = l.requests+s.requests, l.throttled+s.throttled
	for _, err := range s.errs {
		l.note(err)
	}
	return s.all
}

// note remembers the longest wait that Graph asked for.
func (l *look) note(err error) {
	v, ok := fault.As(err)
	if !ok || v.Permanent() {
		return
	}
	if longest, ok := fault.As(l.wait); !ok || v.Delay > longest.Delay {
		l.wait = err
	}
}

// part records how the read of a part ended.
func (l *look) part(name string, err error) {
	p := survey.Part{Name: name, Read: err == nil}
	if err != nil {
		l.note(err)
		why := reading.From(struct{}{}, err).Why()
		p.Code, p.Text = why.Code, why.Text
	}
	l.parts = append(l.parts, p)
}

// elements reads a collection that a batch has begun, page by page.
func elements[T any](ctx context.Context, l *look, version string, first graph.BatchResponse) (all []T, delta string, err error) {
	called, delta, err := l.cloud.Pages(ctx, l.tenant, version, first, func(element []byte) error {
		var v T
		err := json.Unmarshal(element, &v)
		all = append(all, v)
		return err
	})
	l.requests += called
	return all, delta, inTime(err)
}

// inTime makes of a read that its time ran out for one that Graph did not answer: it is over for this audit.
func inTime(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		if _, ok := fault.As(err); !ok {
			return fault.Permanent(fault.GraphUnavailable, err)
		}
	}
	return err
}

// application is one of Microsoft's two.
type application struct{ part, appID string }

var applications = []application{{survey.PartService, onboarding.ServiceAppID}, {survey.PartClient, onboarding.ClientAppID}}

func (l *look) before(part string) reading.Of[readiness.ServicePrincipal] {
	if part == survey.PartService {
		return l.last.Known.Service
	}
	return l.last.Known.Client
}

// application is the fact of now.
func (l *look) application(part string) reading.Of[readiness.ServicePrincipal] {
	if part == survey.PartService {
		return l.facts.Service
	}
	return l.facts.Client
}

// applicationsKnown are the object ids that the audit before saw, by part: what they hold can be asked for in the first round.
func (l *look) applicationsKnown() map[string]string {
	known := map[string]string{}
	for _, a := range applications {
		if sp, ok := l.before(a.part).Get(); ok && sp.Present {
			known[a.part] = sp.ID
		}
	}
	return known
}

func (l *look) directoryReads() []graph.BatchRequest {
	reads := []graph.BatchRequest{graph.BatchGet(survey.PartDomains, "/domains?$select=id,authenticationType,isDefault,isVerified")}
	return append(reads, l.principalReads()...)
}

// What is selected costs one resource unit instead of two (page "Microsoft Graph service-specific throttling limits").
const (
	roleFields  = "$select=appRoleId,resourceId"
	grantFields = "$select=id,clientId,consentType,principalId,resourceId,scope"
)

// holdings are reads of what service principals hold. follow reads only what has changed of the delegated grants.
func (l *look) holdings(ids map[string]string, follow bool) []graph.BatchRequest {
	var reads []graph.BatchRequest
	for _, a := range applications {
		id := ids[a.part]
		if id == "" {
			continue
		}
		reads = append(reads, graph.BatchGet(a.part+"-roles", "/servicePrincipals/"+id+"/appRoleAssignments?"+roleFields))
		if !follow {
			reads = append(reads, graph.BatchGet(a.part+"-grants", "/oauth2PermissionGrants?"+grantFields+"&$filter=clientId%20eq%20'"+id+"'"))
		}
	}
	switch {
	case len(reads) == 0:
	case follow:
		reads = append(reads, graph.BatchGet(grantChanges, l.last.Delta[grantChanges]))
	default:
		reads = append(reads, l.latestGrants())
	}
	return reads
}

// unseen are reads of what the applications hold that the audit before did not know: by their application ids, so that nothing has to be
// read before (Microsoft's pages "List appRoleAssignments granted to a service principal" and "List oauth2PermissionGrants of a service
// principal").
func (l *look) unseen(known map[string]string) []graph.BatchRequest {
	var reads []graph.BatchRequest
	for _, a := range applications {
		if known[a.part] == "" {
			path := "/servicePrincipals(appId='" + a.appID + "')"
			reads = append(reads, graph.BatchGet(a.part+"-roles", path+"/appRoleAssignments?"+roleFields), graph.BatchGet(a.part+"-grants", path+"/oauth2PermissionGrants?"+grantFields))
		}
	}
	if len(reads) > 0 && len(known) == 0 {
		reads = append(reads, l.latestGrants())
	}
	return reads
}

// latestGrants asks from where to follow the changes of delegated grants, and for none of them.
func (l *look) latestGrants() graph.BatchRequest {
	return graph.BatchGet(grantChanges, "/oauth2PermissionGrants/delta?"+grantFields+"&$deltaToken=latest")
}

// grantChanges names the delta query of delegated grants.
const grantChanges = "grants"

// follows reports whether what changed of the grants is enough to know them: the token of the last audit is there, and it is not time to
// read everything again.
func (l *look) follows() bool { return !l.whole && l.last.Delta[grantChanges] != "" }

// applications reads the two service principals from the answers; those that were made anew since the audit before are asked
// what they hold in a round of their own.
func (l *look) applications(ctx context.Context, v1 answers, asked map[string]string) {
	read, fresh := map[string]graph.ServicePrincipal{}, map[string]string{}
	errs := map[string]error{}
	changed := l.changedPrincipals(ctx, v1)
	for _, a := range applications {
		sp, err := l.principal(ctx, v1, changed, a)
		if was, ok := l.before(a.part).Get(); errors.Is(err, graph.ErrNotFound) && ok && was.Present {
			// The directory replicates: what was there is gone only if a second look says so too.
			l.requests++
			sp, err = l.cloud.ServicePrincipal(ctx, l.tenant, a.appID)
			err = inTime(err)
		}
		if id := asked[a.part]; err == nil && id != "" && sp.ID != id { // asked by its former id
			fresh[a.part] = sp.ID
		}
		read[a.part], errs[a.part] = sp, err
	}
	follow := l.follows() && len(asked) > 0
	l.grants = l.last.Grants
	if _, was := v1[grantChanges]; was && !l.followGrants(ctx, v1[grantChanges], follow) && follow {
		// The token is too old, or the read failed: from the beginning.
		follow, l.grants = false, nil
		maps.Copy(fresh, asked)
	}
	if len(fresh) > 0 {
		more := l.round(ctx, graph.V1, l.holdings(fresh, false))
		v1 = maps.Clone(v1)
		maps.Copy(v1, more)
		if !follow {
			l.followGrants(ctx, more[grantChanges], false)
		}
	}
	for _, a := range applications {
		sp, err := read[a.part], errs[a.part]
		missing := errors.Is(err, graph.ErrNotFound)
		if missing {
			err = nil
		}
		fact := readiness.ServicePrincipal{Present: !missing, ID: sp.ID, AccountEnabled: sp.AccountEnabled, IsDisabled: sp.IsDisabled, DisabledByMicrosoft: sp.DisabledByMicrosoft}
		if err == nil && !missing {
			fact.Grants = reading.From(l.held(ctx, v1, a.part, sp.ID))
		}
		of := reading.From(fact, err)
		if a.part == survey.PartService {
			l.facts.Service = of
		} else {
			l.facts.Client = of
		}
		l.part(a.part, err)
	}
	l.followPrincipals(changed)
}

// followGrants takes the changes of delegated grants out of the answer, with the token for the next audit. Where nothing is
// followed it takes the token alone.
func (l *look) followGrants(ctx context.Context, answer graph.BatchResponse, follow bool) bool {
	delete(l.delta, grantChanges)
	changes, token, err := elements[struct {
		graph.PermissionGrant
		Removed *struct{} `json:"@removed"`
	}](ctx, l, graph.V1, answer)
	if err != nil || token == "" {
		return false // the next audit reads all of them
	}
	l.delta[grantChanges] = token
	if !follow {
		return true
	}
	l.grants = slices.Clone(l.grants)
	for _, c := range changes {
		l.grants = slices.DeleteFunc(l.grants, func(g survey.Grant) bool { return g.ID == c.ID })
		if c.Removed == nil {
			l.grants = append(l.grants, grantOf(c.PermissionGrant))
		}
	}
	return true
}

func grantOf(g graph.PermissionGrant) survey.Grant {
	names := g.Scopes()
	slices.Sort(names)
	return survey.Grant{ID: g.ID, Client: g.ClientID, Text: fmt.Sprintf("delegated on %s for %s: %s", g.ResourceID, g.ConsentType, strings.Join(names, " "))}
}

// held is what a service principal holds, in the words that the consent uses.
func (l *look) held(ctx context.Context, v1 answers, part, id string) ([]string, error) {
	if whole, read := v1[part+"-grants"]; read {
		delegated, _, err := elements[graph.PermissionGrant](ctx, l, graph.V1, whole)
		if err != nil {
			delete(l.delta, grantChanges) // what was not read can't be followed
			return nil, err
		}
		l.grants = slices.DeleteFunc(slices.Clone(l.grants), func(g survey.Grant) bool { return g.Client == id })
		for _, g := range delegated {
			l.grants = append(l.grants, grantOf(g))
		}
	}
	roles, _, err := elements[graph.AppRoleAssignment](ctx, l, graph.V1, v1[part+"-roles"])
	if err != nil {
		return nil, err
	}
	list := []string{}
	for _, g := range l.grants {
		if g.Client == id {
			list = append(list, g.Text)
		}
	}
	for _, r := range roles {
		list = append(list, fmt.Sprintf("role %s on %s", r.AppRoleID, r.ResourceID))
	}
	slices.Sort(list)
	return list, nil
}

// keptGrants are the grants of the two applications; those of others came by with the changes and are of no use.
func (l *look) keptGrants() []survey.Grant {
	ids := map[string]bool{}
	for _, of := range []reading.Of[readiness.ServicePrincipal]{l.facts.Service, l.facts.Client} {
		if sp, ok := of.Get(); ok {
			ids[sp.ID] = true
		} else {
			return l.grants // whose they are is not known now
		}
	}
	return slices.DeleteFunc(slices.Clone(l.grants), func(g survey.Grant) bool { return !ids[g.Client] })
}

func (l *look) domains(ctx context.Context, v1 answers) {
	all, _, err := elements[struct {
		Name           string `json:"id"`
		Authentication string `json:"authenticationType"`
		Default        bool   `json:"isDefault"`
		Verified       bool   `json:"isVerified"`
	}](ctx, l, graph.V1, v1[survey.PartDomains])
	list := []readiness.Domain{}
	for _, d := range all {
		if d.Verified {
			list = append(list, readiness.Domain{Name: d.Name, Federated: strings.EqualFold(d.Authentication, "Federated"), Default: d.Default})
		}
	}
	slices.SortFunc(list, func(a, b readiness.Domain) int { return cmp.Compare(a.Name, b.Name) })
	l.facts.Domains = reading.From(list, err)
	l.part(survey.PartDomains, err)
}

func (l *look) intuneReads() []graph.BatchRequest {
	return []graph.BatchRequest{
		graph.BatchGet(survey.PartConfigurations, policy.DeviceConfigurations.Path()+"?$expand=assignments"),
		graph.BatchGet(survey.PartCatalog, policy.ConfigurationPolicies.Path()+
			"?$select=id,name,description,lastModifiedDateTime,platforms,technologies,settingCount,templateReference&$expand=assignments"),
		graph.BatchGet(survey.PartIntents, policy.Intents.Path()+"?$select=id,displayName,description,lastModifiedDateTime,templateId&$expand=assignments"),
		graph.BatchGet(survey.PartDevices, "/deviceManagement/managedDevices?$select=id,operatingSystem,osVersion,deviceEnrollmentType,managedDeviceOwnerType,managementAgent,skuFamily,joinType"),
	}
}

// coverage counts the tenant's devices as their pages come, so that a large tenant takes no memory.
func (l *look) coverage(ctx context.Context, beta answers) {
	var c readiness.Coverage
	called, _, err := l.cloud.Pages(ctx, l.tenant, graph.Beta, beta[survey.PartDevices], func(element []byte) error {
		d, err := managed(element)
		c.Count(d)
		return err
	})
	l.requests += called
	err = inTime(err)
	l.facts.Coverage = reading.From(c, err)
	l.part(survey.PartDevices, err)
}

// managed reads a device. Nothing else in an audit is read so often.
func managed(element []byte) (d readiness.Managed, err error) {
	err = jsoncut.Members(element, func(name, value []byte) (err error) {
		switch string(name) {
		case "operatingSystem":
			d.OperatingSystem, err = jsoncut.Text(value)
		case "osVersion":
			d.OSVersion, err = jsoncut.Text(value)
		case "deviceEnrollmentType":
			d.EnrollmentType, err = jsoncut.Text(value)
		case "managedDeviceOwnerType":
			d.Owner, err = jsoncut.Text(value)
		case "managementAgent":
			d.ManagementAgent, err = jsoncut.Text(value)
		case "skuFamily":
			d.SKUFamily, err = jsoncut.Text(value)
		case "joinType":
			d.JoinType, err = jsoncut.Text(value)
		}
		return err
	})
	return d, err
}

// found are all policies that could be read, in all stores.
func (l *look) found() []policy.Found {
	var all []policy.Found
	for _, store := range policy.Stores {
		some, _ := l.facts.Policies[store].Get()
		all = append(all, some...)
	}
	return all
}

// known are the facts as they were last read: those of now, and where one is unread now, the one from before.
func (l *look) known() readiness.TenantFacts {
	k, was := l.facts, l.last.Known
	k.Service, k.Client = knownApplication(k.Service, was.Service), knownApplication(k.Client, was.Client)
	k.Domains, k.Coverage = lastRead(k.Domains, was.Domains), lastRead(k.Coverage, was.Coverage)
	k.Policies = maps.Clone(k.Policies)
	for _, store := range policy.Stores {
		k.Policies[store] = lastRead(k.Policies[store], was.Policies[store])
	}
	k.Findings = nil // they follow from the policies
	return k
}

func knownApplication(now, was reading.Of[readiness.ServicePrincipal]) reading.Of[readiness.ServicePrincipal] {
	sp, ok := now.Get()
	before, had := was.Get()
	if ok && had && sp.Present && sp.ID == before.ID {
		sp.Grants = lastRead(sp.Grants, before.Grants)
		return reading.Read(sp)
	}
	return lastRead(now, was)
}

func lastRead[T any](now, was reading.Of[T]) reading.Of[T] {
	if now.OK() || !was.OK() {
		return now
	}
	return was
}

// raw is a page's element as it came.
type raw = json.RawMessage
