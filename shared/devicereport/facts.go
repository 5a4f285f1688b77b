package devicereport

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
)

// Read makes facts of a device of the tenant of what it reports. earlier is what it said before, the zero value where it never
// did: a PIN reset that it told of then is still its latest if this report tells of none.
func Read(r Report, tenant string, earlier readiness.DeviceReport) readiness.DeviceReport {
	status := ParseStatus(r.Status)
	out := readiness.DeviceReport{
		ReportedAt: r.CollectedAt.UTC(),
		Edition:    text(r.Edition), Version: text(r.OSVersion),
		Trust:    r.trust(tenant),
		Status:   status.facts(),
		Policies: r.policies(tenant),
		AllowedURLs: reading.Map(r.at(nameAllowList, is(machine+keyWebSignIn)), func(f found) string {
			return f.data
		}),
		LockScreen:       r.lockScreen(),
		DomainController: r.DomainController.fact(), Federation: r.Federation.fact(),
		Enrolled:  notLooked[bool](),
		LastReset: earlier.LastReset,
	}
	if id, ok := status.Get("Tenant Details", "TenantId"); ok && events.IsGUID(id) {
		out.Tenant = strings.ToLower(id)
	}
	switch was, _ := earlier.Enrolled.Get(); {
	case Enrolled(r.Events), was: // logs are overwritten; what was begun once stays begun
		out.Enrolled = reading.Read(true)
	case r.EventsRead:
		out.Enrolled = reading.Read(false)
	}
	for _, e := range slices.Backward(Ends(r, earlier)) {
		last, known := earlier.LastReset.Get()
		if e.Outcome == "" || known && !e.At.After(last.At) {
			continue
		}
		out.LastReset = reading.Read(readiness.Reset{At: e.At, Destructive: e.Kind == Destructive, Code: e.Signal})
		break
	}
	if out.LastReset.IsZero() {
		out.LastReset = notLooked[readiness.Reset]()
	}
	return out
}

// Ends are the PIN resets that a report tells of, oldest first: those whose end the agent knows, and those that its events show.
// The two are one where they are less than a quarter of an hour apart. A destructive reset is told from a PIN that was set up
// for the first time or again by the key: one that is the same as before was not replaced. What is dated after the report itself
// was collected is left out: kept as the latest, it would hide every reset that follows.
func Ends(r Report, earlier readiness.DeviceReport) []Ended {
	var all []Ended
	for _, p := range r.Resets {
		e := Ended{At: p.At.UTC(), Kind: p.Kind, Outcome: p.Outcome}
		if p.Outcome == Failed {
			x := Explain(p.Code)
			e.Signal, e.Meanings = x.Signal, x.Meanings
		}
		all = append(all, e)
	}
	before, _ := earlier.Status.Get()
	now, _ := ParseStatus(r.Status).facts().Get()
	for _, t := range Traces(r.Events) {
		if t.Kind == Destructive && before.HelloKey != "" && before.HelloKey == now.HelloKey {
			t.Kind = ""
		}
		i := slices.IndexFunc(all, func(e Ended) bool { return e.At.Sub(t.At).Abs() < window })
		switch {
		case i < 0:
			e := Ended{At: t.At, Kind: t.Kind}
			if t.Kind == Destructive {
				e.Outcome = Succeeded // its new key was registered
			}
			all = append(all, e)
		case all[i].Kind == "":
			all[i].Kind = t.Kind
		}
	}
	all = slices.DeleteFunc(all, func(e Ended) bool { return e.At.After(r.CollectedAt.Add(window)) })
	slices.SortStableFunc(all, func(a, b Ended) int { return a.At.Compare(b.At) })
	return all
}

// MaxAge is how old a reset may be that a report tells of as news.
const MaxAge = 30 * 24 * time.Hour

func text(s string) reading.Of[string] {
	if s == "" {
		return notLooked[string]()
	}
	return reading.Read(s)
}

func (t Told) fact() reading.Of[bool] {
	if t == "" {
		return notLooked[bool]()
	}
	return reading.Read(t == Yes)
}

// facts understands the fields. Without the ways of joining, or without the user's own part, it is not read as a whole: a dsregcmd that
// ran as the system says nothing of the user's PIN, and must not be taken for "there is none".
func (s Status) facts() reading.Of[readiness.Status] {
	if len(s.Fields) == 0 {
		return notLooked[readiness.Status]()
	}
	var f readiness.Status
	missing := ""
	for _, b := range []struct {
		section, name string
		into          *bool
	}{
		{"Device State", "AzureAdJoined", &f.EntraJoined},
		{"Device State", "EnterpriseJoined", &f.EnterpriseJoined},
		{"Device State", "DomainJoined", &f.DomainJoined},
		{"User State", "NgcSet", &f.HelloSet},
		{"User State", "WorkplaceJoined", &f.WorkplaceJoined},
	} {
		value, _ := s.Get(b.section, b.name)
		switch value {
		case "YES":
			*b.into = true
		case "NO":
		default:
			missing = b.name
		}
	}
	if missing != "" {
		return reading.Unread[readiness.Status](fault.NotRead, "dsregcmd did not say "+missing+": run it as the user, not elevated and not as the system.")
	}
	for _, t := range []struct {
		section, name string
		into          *string
	}{
		{"User State", "NgcKeyId", &f.HelloKey}, {"User State", "CanReset", &f.CanReset}, {"SSO State", "AzureAdPrt", &f.PrimaryToken},
		{"Device Details", "DeviceAuthStatus", &f.DeviceAuth}, {"SSO State", "CloudTgt", &f.CloudTicket},
		{"SSO State", "OnPremTgt", &f.OnPremisesTicket}, {"Tenant Details", "TenantName", &f.ReportedDirectory},
	} {
		value, _ := s.Get(t.section, t.name)
		if events.CheckText(t.name, value, maxText, false) == nil {
			*t.into = value
		}
	}
	return reading.Read(f)
}

// lastOldBuild is the build of Windows 10, version 1709: up to there CTRL+ALT+DEL can block.
const lastOldBuild = 16299

func (r Report) lockScreen() map[string]reading.Of[bool] {
	out := map[string]reading.Of[bool]{}
	for _, l := range readiness.Limitations() {
		if l.Key == "" {
			continue
		}
		value := r.at(l.Name, is(machine+l.Key))
		if value.Why().Text == notLooked[found]().Why().Text {
			continue
		}
		out[l.ID] = reading.Then(value, func(f found) reading.Of[bool] {
			n, err := strconv.ParseUint(f.data, 10, 32)
			if f.set && err != nil {
				return reading.Unread[bool](fault.UnknownLockScreen, "The registry holds a value that is no number.")
			}
			return reading.Read(l.Holds(uint32(n), f.set))
		})
	}
	if shell := r.at(nameShell, is(machine+keyWinlogon)); shell.OK() {
		out[readiness.CustomShell] = reading.Map(shell, func(f found) bool { return readiness.ShellHolds(f.data) })
	}
	if holds := r.ctrlAltDel(out[readiness.NotificationsOff]); holds != reading.Unknown {
		out[readiness.CtrlAltDel] = reading.Read(holds == reading.Yes)
	}
	for _, l := range r.LockScreen {
		if known, ok := readiness.LimitationByID(l.ID); ok && known.Key == "" {
			out[l.ID] = l.Holds.fact()
		}
	}
	return out
}

// ctrlAltDel answers for the limitation that is three things together: up to version 1709, Home, with CTRL+ALT+DEL required and
// notifications off.
func (r Report) ctrlAltDel(notificationsOff reading.Of[bool]) reading.Answer {
	old, home := reading.Unknown, reading.Unknown
	if parts := strings.Split(r.OSVersion, "."); len(parts) >= 3 {
		if build, err := strconv.Atoi(parts[2]); err == nil {
			old = reading.Told(build <= lastOldBuild)
		}
	}
	if r.Edition != "" {
		home = reading.Told(strings.HasPrefix(r.Edition, "Core"))
	}
	return reading.All(old, home,
		notificationsOff.Holds(func(off bool) bool { return off }),
		r.at(nameCtrlAltDel, is(machine+keyLogon)).Holds(func(f found) bool { return f.set && f.data == "0" }))
}
