package passcodereset_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/passcodereset"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/passcode"
	"pinreset/shared/tenant"
)

// directory is Graph whose directory roles can't be read while errs has some left.
type directory struct {
	*graph.Client
	errs []error
}

func (d *directory) UserRoles(ctx context.Context, tenant, user string) ([]string, error) {
	if len(d.errs) == 0 {
		return d.Client.UserRoles(ctx, tenant, user)
	}
	err := d.errs[0]
	d.errs = d.errs[1:]
	return nil, err
}

func (f *fixture) want(s tenant.SecondPerson) {
	f.T.Helper()
	u := f.Unit(contoso)
	settings := tenant.DefaultSettings()
	settings.SecondPerson = s
	if err := errors.Join(tenant.WriteSettings(u, settings), u.Commit(f.T.Context())); err != nil {
		f.T.Fatal(err)
	}
}

// approved has a second person approve a reset that was accepted.
func (f *fixture) approved(id, user string) {
	f.T.Helper()
	u := f.Unit(contoso)
	r, err := passcode.Read(f.T.Context(), u, id)
	r.Approved = &passcode.Approved{ID: id, By: events.Actor{Kind: events.Operator, ID: "op-2"}, At: u.Now(), UserID: user}
	if err := errors.Join(err, passcode.Write(u, r), u.Commit(f.T.Context())); err != nil {
		f.T.Fatal(err)
	}
}

// calls is how often a simulated device was reset.
func (f *fixture) calls(name string) int {
	f.T.Helper()
	info, err := f.sim.Tenant(contoso)
	if err != nil {
		f.T.Fatal(err)
	}
	for _, d := range info.Devices {
		if d.Name == name {
			return d.Resets
		}
	}
	f.T.Fatalf("no device %s", name)
	return 0
}

// TestTwoPeopleAreNeeded: the device of somebody with a directory role is not called for one person alone, whichever way the request
// came; that of somebody without one is. An approval is for the user that it was given for.
func TestTwoPeopleAreNeeded(t *testing.T) {
	t.Parallel()
	const admins, staffs = "legal-galaxy-05", "sales-pixel-12"
	for name, c := range map[string]struct {
		setting tenant.SecondPerson
		device  string
		user    string // for whom a second person approved it; "" for nobody
		want    passcode.State
		code    fault.Code
	}{
		"nobody asks":              {tenant.NoSecondPerson, admins, "", passcode.Issued, ""},
		"bulk alone":               {tenant.SecondForBulk, admins, "", passcode.Issued, ""},
		"a role":                   {tenant.SecondForPrivileged, admins, "", passcode.Failed, fault.SecondPersonRequired},
		"no role":                  {tenant.SecondForPrivileged, staffs, "", passcode.Issued, ""},
		"every":                    {tenant.SecondForEvery, staffs, "", passcode.Failed, fault.SecondPersonRequired},
		"a role, approved":         {tenant.SecondForPrivileged, admins, "owner", passcode.Issued, ""},
		"approved for another one": {tenant.SecondForPrivileged, admins, "11111111-0000-4000-8000-000000000009", passcode.Failed, fault.DeviceChangedHands},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			f.want(c.setting)
			id := f.accept(c.device)
			if c.user == "owner" {
				d, err := f.client.ManagedDevice(t.Context(), contoso, f.reset(id).DeviceID)
				if err != nil {
					t.Fatal(err)
				}
				c.user = d.UserID
			}
			if c.user != "" {
				f.approved(id, c.user)
			}
			calls := 1
			if c.want == passcode.Failed {
				calls = 0
			}
			if r := f.end(id); r.State != c.want || r.FailureCode != c.code || f.calls(c.device) != calls {
				t.Errorf("%s %s after %d calls, want %s %s", r.State, r.FailureCode, f.calls(c.device), c.want, c.code)
			}
		})
	}
}

// TestUnknownRankIsAskedAgain: while roles can't be read the reset waits; where they never can, it ends and says so. It is never taken
// for that of somebody without a role.
func TestUnknownRankIsAskedAgain(t *testing.T) {
	t.Parallel()
	throttled := fault.After(20*time.Second, fault.GraphThrottled, errors.New("429"))
	for name, c := range map[string]struct {
		errs []error
		want passcode.State
		code fault.Code
	}{
		"for a while": {[]error{throttled, throttled, throttled}, passcode.Issued, ""},
		"forbidden":   {[]error{throttled, fault.Permanent(fault.GraphForbidden, errors.New("403"))}, passcode.Failed, fault.RankUnknown},
		"user gone":   {[]error{graph.ErrNotFound}, passcode.Failed, fault.RankUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			d := &directory{f.client, c.errs}
			f.Serve((&passcodereset.Handler{Devices: d, Vault: f.vault, Store: f.Store(), Schedule: passcodereset.DefaultSchedule}).Route())
			f.want(tenant.SecondForPrivileged)
			r := f.end(f.accept("sales-pixel-12"))
			if r.State != c.want || r.FailureCode != c.code || len(d.errs) != 0 {
				t.Errorf("%s %s with %d errors left", r.State, r.FailureCode, len(d.errs))
			}
		})
	}
}

// TestCallerIsChecked: where the tenant wants the user's word for a reset, one without it calls no device.
func TestCallerIsChecked(t *testing.T) {
	t.Parallel()
	for _, confirmed := range []bool{false, true} {
		f := setUp(t, false)
		settings := tenant.DefaultSettings()
		settings.CallerCheck = tenant.CallerForReset
		id := f.accept("sales-pixel-12")
		u := f.Unit(contoso)
		r, err := passcode.Read(t.Context(), u, id)
		if confirmed {
			r.CallerAt = u.Now()
		}
		if err := errors.Join(err, passcode.Write(u, r), tenant.WriteSettings(u, settings), u.Commit(t.Context())); err != nil {
			t.Fatal(err)
		}
		want, code, calls := passcode.Failed, fault.CallerNotConfirmed, 0
		if confirmed {
			want, code, calls = passcode.Issued, "", 1
		}
		if r := f.end(id); r.State != want || r.FailureCode != code || f.calls("sales-pixel-12") != calls {
			t.Errorf("confirmed %t: %s %s after %d calls", confirmed, r.State, r.FailureCode, f.calls("sales-pixel-12"))
		}
	}
}
