package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/credential"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/work/sqlitework"
	"pinreset/shared/work/tables"
)

// Bounds of what the doctor finds good.
const (
	littleSpace = 1 << 30   // bytes free, below which it warns
	noSpace     = 100 << 20 // below which it fails: a store that can't grow accepts nothing
	largeLog    = 256 << 20 // bytes of a write-ahead log that was not copied back
	skewWarn    = passcode.StartSkew
	// skewFail is the tolerance that token validation commonly has; beyond it sign-in itself begins to fail.
	skewFail = 5 * time.Minute
)

// need is an application permission, which may be given by one of several; the least is the first. The page of each call in Microsoft's
// "Graph REST API v1.0 reference" names them.
type need struct {
	one     []string
	without string // what can't be done without it, while everything else works; "" is that nothing works
}

// leastGeneral and leastPrivileged are what the two applications call Graph for.
var (
	leastGeneral = []need{
		{one: []string{"Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}},
		{one: []string{"Directory.Read.All", "Directory.ReadWrite.All"}},
		{one: []string{"Organization.Read.All", "Organization.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}},
		{one: []string{"DeviceManagementManagedDevices.Read.All", "DeviceManagementManagedDevices.ReadWrite.All"}},
		{[]string{"DeviceManagementConfiguration.Read.All", "DeviceManagementConfiguration.ReadWrite.All"},
			"audits and lint can't read policies, and readiness by policy is unknown"},
		{[]string{"DeviceManagementConfiguration.ReadWrite.All"}, "policies can't be rolled out, rolled back or put right"},
		{[]string{"Group.Read.All", "GroupMember.Read.All", "Group.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"},
			"rollouts to groups, bulk resets of a group and readiness by group can't be done"},
		{[]string{"DeviceManagementApps.Read.All", "DeviceManagementApps.ReadWrite.All"},
			"what is done in Intune's portal is not read from its audit log, and only known where its records are sent in"},
	}
	leastPrivileged = []need{{one: []string{resetPermission}}}
)

const resetPermission = "DeviceManagementManagedDevices.PrivilegedOperations.All"

// examination collects findings.
type examination struct {
	config   config
	now      func() time.Time
	findings []finding
}

func (x *examination) say(check, state, fix, format string, args ...any) {
	if state == fine {
		fix = ""
	}
	x.findings = append(x.findings, finding{Check: check, State: state, Found: fmt.Sprintf(format, args...), Fix: fix})
}

func (x *examination) configured(err error) {
	const check = "configuration"
	if err != nil {
		for problem := range strings.SplitSeq(err.Error(), "\n") {
			x.say(check, broken, "correct the variable; `pinreset up --help` and the README name them", "%s", problem)
		}
		return
	}
	if err := checkExposure(x.config.Listen, x.config.PublicURL); err != nil {
		x.say(check, broken, "set PINRESET_LISTEN or PINRESET_PUBLIC_URL", "%v", err)
		return
	}
	switch {
	case x.config.simulated():
		x.say(check, warned, "set PINRESET_CLIENT_ID and its neighbours to reach Microsoft", "the tenants are simulated: no client id is set")
	case x.config.PublicURL == "":
		x.say(check, broken, "set PINRESET_PUBLIC_URL", "%v", errNoPublicURL)
	case x.config.PrivilegedClientID == "":
		x.say(check, warned, "register a second application for resets, and set PINRESET_PRIVILEGED_CLIENT_ID", "one application reads and resets: whoever steals its secret can wipe devices")
	default:
		x.say(check, fine, "", "two applications at %s", x.config.Graph)
	}
	if !x.config.simulated() {
		state := fine
		if x.config.Credential == credential.Developer {
			state = warned
		}
		x.say("credential", state, "set PINRESET_CREDENTIAL", "%s: it signs in %s", x.config.Credential, x.config.signsInBy())
	}
}

// rootKey looks at the key in Key Vault that wraps the key-encryption keys.
func (x *examination) rootKey(ctx context.Context, source *credential.Source) {
	if x.config.KeyVaultKey == "" {
		return
	}
	const check = "key in Key Vault"
	ctx, cancel := context.WithTimeout(ctx, graph.DefaultTimeout)
	defer cancel()
	key, err := rootKey(x.config, source)
	version := ""
	if err == nil {
		version, err = key.Newest(ctx)
	}
	if err != nil {
		x.say(check, broken, "let the identity read, wrap and unwrap with the key (role Key Vault Crypto Service Encryption User), and let this machine reach the vault", "%v", err)
		return
	}
	x.say(check, fine, "", "version %s wraps", version)
}

// services looks at Azure's services where rows and messages are in them. It makes nothing and takes no message.
func (x *examination) services(ctx context.Context, source *credential.Source) {
	if !x.config.sharedStores() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, graph.DefaultTimeout)
	defer cancel()
	s, err := findServices(x.config, source, x.now, slog.New(slog.DiscardHandler))
	if err != nil {
		x.say("Azure's services", broken, "correct what it names", "%v", err)
		return
	}
	for name, table := range map[string]*tables.Table{rowsTable: s.rows, keysTable: s.keys} {
		fix := "let this machine reach the account, and its identity have the role Storage Table Data Contributor"
		if x.config.TablesConnectionFile != "" {
			fix = "start the server: it makes the table"
		}
		if err := table.Check(ctx); err != nil {
			x.say("table "+name, broken, fix, "%v", err)
			continue
		}
		x.say("table "+name, fine, "", "answers")
	}
	check, fix := "queues of Service Bus", "make the queues that are missing, and give the identity the roles Azure Service Bus Data Sender and Receiver"
	if x.config.SQSURL != "" {
		check, fix = "queues of SQS", "make the queues that are missing, with their dead-letter queues, and let the role use them"
	}
	if err := errors.Join(s.bus.Check(ctx, queueNames()), s.bus.Close(ctx)); err != nil {
		x.say(check, broken, fix, "%v", err)
		return
	}
	x.say(check, fine, "", "all %d can be used", len(queues))
}

// directory looks at the data directory: who can read it, whether it is sound, and whether there is room.
func (x *examination) directory(ctx context.Context) {
	data := x.config.Data
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		x.say("data directory", warned, "start the server, or name another with --data", "%s does not exist yet", data)
		return
	}
	names := []string{"", workDir, keysDir, identity.AdminFile}
	if x.config.sharedStores() {
		names = []string{""} // and the administrator's token, where this process was the first
		if _, err := os.Stat(filepath.Join(data, identity.AdminFile)); err == nil {
			names = append(names, identity.AdminFile)
		}
	} else if x.config.KeyVaultKey == "" {
		names = append(names, filepath.Join(keysDir, rootKeyFile))
	}
	for _, name := range names {
		path := filepath.Join(data, name)
		check := "mode of " + cmpName(name)
		info, err := os.Stat(path)
		switch {
		case err != nil:
			x.say(check, broken, "start the server once; restore a root key that was lost, without it no code can be read", "%v", err)
		case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
			x.say(check, broken, fmt.Sprintf("chmod go= %s", quoted(path)), "others than the owner may use %s (%v)", path, info.Mode().Perm())
		default:
			x.say(check, fine, "", "%v", info.Mode().Perm())
		}
	}
	if x.config.sharedStores() {
		return
	}
	for _, name := range []string{workDir, keysDir} {
		x.store(ctx, name)
	}
	const check = "free space"
	free, err := freeSpace(data)
	switch {
	case err != nil:
		x.say(check, warned, "look at it by hand", "can't be told here: %v", err)
	case free < noSpace:
		x.say(check, broken, "make room: nothing can be accepted soon", "%d MB", free>>20)
	case free < littleSpace:
		x.say(check, warned, "make room", "%d MB", free>>20)
	default:
		x.say(check, fine, "", "%d MB", free>>20)
	}
}

func cmpName(name string) string {
	if name == "" {
		return "data directory"
	}
	return filepath.ToSlash(name)
}

func (x *examination) store(ctx context.Context, name string) {
	check := "store " + name
	c, err := sqlitework.Inspect(ctx, filepath.Join(x.config.Data, name))
	switch {
	case errors.Is(err, sqlitework.ErrNewer):
		x.say(check, broken, "run the newer pinreset, or restore a backup of before", "%v", err)
	case err != nil:
		x.say(check, broken, "restore a backup: pinreset restore FILE --data DIR", "%v", err)
	case c.Findings != "":
		x.say(check, broken, "stop the server and restore a backup: pinreset restore FILE --data DIR", "damaged: %s", c.Findings)
	case c.Layout < c.Newest:
		x.say(check, warned, "make a backup; the next start upgrades it", "layout %d, this program's is %d", c.Layout, c.Newest)
	case c.Log > largeLog:
		x.say(check, warned, "restart the server; see whether a backup or another program keeps the file open", "the write-ahead log has %d MB", c.Log>>20)
	default:
		x.say(check, fine, "", "sound, layout %d, %d MB and %d MB of log", c.Layout, c.Data>>20, c.Log>>20)
	}
}

// cloud looks at the clock and the permissions. tenants is asked last, because it needs a server that runs.
func (x *examination) cloud(ctx context.Context, tenants func(context.Context) ([]string, error)) {
	t, err := x.reach()
	if err != nil {
		fix := "name readable files with PINRESET_CLIENT_SECRET_FILE and PINRESET_PRIVILEGED_SECRET_FILE"
		if x.config.simulated() {
			fix = "start it: pinreset up"
		}
		x.say("sign-in", broken, fix, "%v", err)
		return
	}
	cfg, source, err := t.signedIn(x.now, nil)
	if err != nil {
		x.say("sign-in", broken, "set PINRESET_CREDENTIAL to how this machine can sign in", "%v", err)
		return
	}
	x.rootKey(ctx, source)
	x.services(ctx, source)
	if !x.clock(ctx, cfg) {
		return
	}
	ids, err := tenants(ctx)
	switch {
	case err != nil:
		x.say("permissions", warned, "give --tenant TENANT-ID, or start the server", "no tenant to look at: the server does not tell which there are")
		return
	case len(ids) == 0:
		x.say("permissions", warned, "add a tenant, or give --tenant TENANT-ID", "no Microsoft Entra tenant is looked after")
		return
	}
	for _, id := range ids {
		if cfg.Privileged == nil {
			x.permissions(ctx, cfg, cfg.App, id, "application", slices.Concat(leastGeneral, leastPrivileged))
			continue
		}
		x.permissions(ctx, cfg, cfg.App, id, "application that reads", leastGeneral)
		x.permissions(ctx, cfg, *cfg.Privileged, id, "application that resets", leastPrivileged)
	}
}

// notifications looks for ways that tenants chose and that lead nowhere: mail of a server that sends none, and an address that wanted no
// more. Only a server that runs knows what they chose; that it does not run is said already.
func (x *examination) notifications(ctx context.Context, tenants func(context.Context) ([]string, error), ways func(context.Context, string) (client.NotificationSettings, error)) {
	ids, err := tenants(ctx)
	if err != nil {
		return
	}
	for _, id := range ids {
		check := "notifications of " + id
		s, err := ways(ctx, id)
		if err != nil {
			x.say(check, warned, "start the server, or give a token that may read the tenant", "not known: %v", err)
			continue
		}
		sound := true
		if (s.MailUser || s.MailContact) && !s.MailServer {
			sound = false
			x.say(check, warned, "set PINRESET_SMTP and PINRESET_SMTP_FROM, or turn mail off: pinreset notification settings --tenant "+id,
				"mail is on, and this server is not set up to send any: it is recorded as skipped")
		}
		for _, way := range []struct {
			name string
			client.NotificationEndpoint
		}{{"webhook", s.Webhook}, {"teams", s.Teams}} {
			if way.Why != "" {
				sound = false
				x.say(check, warned, "have the tenant look at it, then: pinreset notification settings --tenant "+id+" --"+way.name+"-on",
					"%s at %s was turned off: %s", way.name, way.Host, strings.TrimSpace(fault.Lookup(way.Why).Title))
			}
		}
		if sound {
			x.say(check, fine, "", "each way that is on has what it needs")
		}
	}
}

func (x *examination) reach() (cloud, error) {
	if !x.config.simulated() {
		return realCloud(x.config)
	}
	dir := x.config.SimAt
	if dir == "" {
		dir = x.config.SimData
	}
	if dir == "" {
		dir = filepath.Clean(x.config.Data) + "-sim"
	}
	at, err := graphsim.Find(dir)
	if err != nil {
		return cloud{}, err
	}
	return simulated(at), nil
}

// clock compares ours with the one of Graph's answers, and reports whether Graph answers at all. The answer's time is in whole
// seconds, and it was told somewhere between sending and receiving.
func (x *examination) clock(ctx context.Context, cfg graph.Config) (answers bool) {
	const check = "clock"
	ctx, cancel := context.WithTimeout(ctx, graph.DefaultTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.Graph+"/v1.0/organization", nil)
	var res *http.Response
	sent := x.now()
	if err == nil {
		transport := cfg.Transport
		if transport == nil {
			transport = http.DefaultTransport
		}
		res, err = transport.RoundTrip(req) // without a token: the refusal has a date too
	}
	if err != nil {
		x.say("Graph", broken, "let this machine reach the addresses of PINRESET_GRAPH and PINRESET_AUTHORITY by https", "%s does not answer: %v", cfg.Graph, err)
		return false
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	_ = res.Body.Close()
	received := x.now()
	x.say("Graph", fine, "", "%s answers", cfg.Graph)
	theirs, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		x.say(check, warned, "set the clock by NTP and look at it by hand", "the answer has no date")
		return true
	}
	apart := time.Duration(0)
	switch {
	case theirs.After(received):
		apart = theirs.Sub(received)
	case theirs.Add(time.Second).Before(sent):
		apart = sent.Sub(theirs.Add(time.Second))
	}
	const fix = "set the clock by NTP: codes expire by it, and results of devices are told from others by it"
	switch {
	case apart > skewFail:
		x.say(check, broken, fix, "%s away from Graph's", apart.Round(time.Second))
	case apart > skewWarn:
		x.say(check, warned, fix, "%s away from Graph's", apart.Round(time.Second))
	default:
		x.say(check, fine, "", "within %s of Graph's", (apart + time.Second).Round(time.Second))
	}
	return true
}

// permissions compares those of the app's token with the least that it needs. One that only some work needs is worth a warning, and
// so is one that is not needed.
func (x *examination) permissions(ctx context.Context, cfg graph.Config, app graph.App, tenantID, what string, least []need) {
	check := "permissions in " + tenantID
	roles, err := cfg.Roles(ctx, app, tenantID)
	if err != nil {
		x.say(check, broken, "let an administrator of the tenant consent: pinreset tenant consent "+tenantID, "the %s can't sign in: %v", what, err)
		return
	}
	fix := "add the permission to the registration and let an administrator consent again: pinreset tenant consent " + tenantID + " --restart"
	var lacking []string
	sound := true
	for _, n := range least {
		switch {
		case slices.ContainsFunc(n.one, func(role string) bool { return slices.Contains(roles, role) }):
		case n.without == "":
			lacking = append(lacking, n.one[0])
		default:
			sound = false
			x.say(check, warned, "where that is wanted, "+fix, "the %s lacks %s: %s; nothing else needs it", what, n.one[0], n.without)
		}
	}
	if len(lacking) > 0 {
		x.say(check, broken, fix, "the %s lacks %s", what, strings.Join(lacking, ", "))
		return
	}
	if slices.Contains(roles, resetPermission) && !slices.ContainsFunc(least, func(n need) bool { return slices.Contains(n.one, resetPermission) }) {
		x.say(check, warned, "take the permission from the registration, and its consent back", "the %s may reset and wipe devices, and does not need to", what)
		return
	}
	if sound {
		x.say(check, fine, "", "the %s has what it needs", what)
	}
}
