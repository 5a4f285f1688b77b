package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"pinreset/functions/web/portal"
	"pinreset/shared/client"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/work"
)

// Of the pages.
const (
	pageWeight = 60 << 10 // bytes over the wire that a browser which has nothing yet may load for a page
	pageRate   = 50       // a second
	pageWait   = 20 * time.Millisecond
)

// portal measures what people wait for: how heavy a page is, how soon it answers, what it holds of memory while many look on, and how soon
// they are told of a change.
func (b *bench) portal(ctx context.Context) (err error) {
	rows := b.scaled(100_000)
	var failed string // the tenant that has a failure to look at
	data, c, err := b.seeded(ctx, "portal", func(s *seeding, c *cloud) error {
		failed = c.Tenants[0].ID
		if err := s.failure(ctx, failed); err != nil {
			return err
		}
		return s.resets(ctx, c.Tenants, rows, func(int) time.Time { return time.Now().Add(secret.MaxLife) })
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return b.running(ctx, data, c, nil, func(p *process) error {
		if err := p.warm(ctx, c); err != nil {
			return err
		}
		person, err := p.signIn(ctx)
		if err != nil {
			return err
		}
		pages, err := p.pages(ctx, person, failed)
		if err != nil {
			return err
		}
		if err := b.pageWeights(ctx, person, p.url, pages); err != nil {
			return err
		}
		if err := b.pageWaits(ctx, person, p.url, pages, rows); err != nil {
			return err
		}
		if err := b.viewers(ctx, p, c, person); err != nil {
			return err
		}
		return b.paint(ctx, p, c)
	})
}

// failure writes a message that was set aside, as a dispatcher leaves it.
func (s *seeding) failure(ctx context.Context, tenant string) error {
	u := work.NewUnit(s.work, tenant, time.Now(), s.newID)
	request := s.newID()
	letter := diag.DeadLetter{ID: s.newID(), Queue: passcode.Queue, MessageID: request, RequestID: request, Kind: "passcode.reset.requested.v1",
		Reason: fault.AttemptsExhausted, Detail: "it failed", Deliveries: 8, At: u.Now(), Diagnostics: diag.Link(tenant, diag.IDFor(tenant, request)), Body: []byte("{}")}
	if err := u.Put(diag.LetterPrefix+work.Descending(letter.ID), letter); err != nil {
		return err
	}
	if err := diag.AppendAttempt(u, diag.Attempt{RequestID: request, Function: "passcodereset", Kind: letter.Kind, Delivery: 8, StartedAt: u.Now(),
		Milliseconds: 12, Verdict: "failed", Code: string(letter.Reason), Detail: letter.Detail}); err != nil {
		return err
	}
	if _, err := diag.Raise(ctx, u, diag.Failure{RequestID: request, Function: "passcodereset", Kind: letter.Kind,
		Code: letter.Reason, Detail: letter.Detail, DeadLetter: letter.ID}); err != nil {
		return err
	}
	return u.Commit(ctx)
}

// signIn opens a session, as somebody who signs in with a token.
func (p *process) signIn(ctx context.Context) (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	person := &http.Client{Timeout: 30 * time.Second, Jar: jar, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/sign-in", strings.NewReader(url.Values{"token": {p.token}}.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", p.url)
	answer, err := person.Do(r)
	if err != nil {
		return nil, err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("sign in answered %s", answer.Status)
	}
	return person, nil
}

// pages are the paths of every page, by its route: those of a tenant come from the portal's own table, so that none can be left out.
func (p *process) pages(ctx context.Context, person *http.Client, tenant string) (map[string]string, error) {
	api, err := client.New(client.Options{Server: p.url, Token: p.token})
	if err != nil {
		return nil, err
	}
	audit, err := api.StartAudit(ctx, tenant, "to look at")
	if err == nil {
		_, err = api.WaitAudit(ctx, tenant, audit.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("audit to look at: %w", err)
	}
	rollout, _, err := api.StartRollout(ctx, tenant, client.NewRollout{Target: client.Target{AllDevices: true}, Reason: "to look at"})
	if err != nil {
		return nil, fmt.Errorf("rollout to look at: %w", err)
	}
	bulk, err := api.StartBulk(ctx, tenant, client.NewBulk{All: true, PlanOnly: true})
	if err != nil {
		return nil, fmt.Errorf("bulk reset to look at: %w", err)
	}
	waiting, err := needsSecond(ctx, api, tenant)
	if err != nil {
		return nil, fmt.Errorf("approval to look at: %w", err)
	}
	base := "/tenants/" + tenant
	ids := map[string]string{base + "/audits/": audit.ID, base + "/rollouts/": rollout.ID, base + "/bulk-resets/": bulk.ID, base + "/approvals/": waiting}
	for list, of := range map[string]string{"/devices": "/devices/", "/resets": "/resets/", "/deadletters": "/deadletters/"} {
		_, page, err := load(ctx, person, p.url+base+list)
		if err != nil {
			return nil, err
		}
		linked := regexp.MustCompile(`href="` + base + of + `([^"/?]+)`).FindSubmatch(page)
		if linked == nil {
			return nil, fmt.Errorf("%s%s shows nothing to look at", base, list)
		}
		ids[base+of] = string(linked[1])
	}
	_, page, err := load(ctx, person, p.url+base+"/failures")
	if err != nil {
		return nil, err
	}
	diagnosis := regexp.MustCompile(`href="(` + base + `/diag/[^"?]+)`).FindSubmatch(page)
	if diagnosis == nil {
		return nil, errors.New("no failure is shown")
	}
	found := map[string]string{"GET /": "/", "GET /sign-in": "/sign-in", "GET /problems/{code}": "/problems/consent_missing", "GET /me/confirm": "/me/confirm",
		"GET /tenants/{tenant}/diag/{id}": string(diagnosis[1])}
	for _, route := range portal.Routes() {
		path, isPage := strings.CutPrefix(route, "GET ")
		if !isPage || strings.HasSuffix(path, "/events") { // a stream is no page
			continue
		}
		path = strings.Replace(path, "{tenant}", tenant, 1)
		before, after, one := strings.Cut(path, "{id}")
		if one {
			if ids[before] == "" {
				return nil, fmt.Errorf("nothing is known to look at for %s", route)
			}
			path = before + ids[before] + after
		}
		found[route] = path
	}
	return found, nil
}

// needsSecond has a reset wait for a second person, and returns the id of the approval.
func needsSecond(ctx context.Context, api *client.Client, tenant string) (id string, err error) {
	set := func(second string) error {
		_, err := api.ChangeSettings(ctx, tenant, client.SettingsChange{SecondPerson: &second})
		return err
	}
	if err := set("every"); err != nil {
		return "", err
	}
	for d, err := range api.Devices(ctx, tenant, "") {
		if err != nil {
			return "", err
		}
		if d.PendingReset != "" || d.Eligibility.Answer == passcode.No {
			continue
		}
		r, _, err := api.StartReset(ctx, tenant, d.ID, "to look at", "")
		if err != nil {
			return "", err
		}
		return r.ID, set("off")
	}
	return "", errors.New("the tenant has no device that can be reset")
}

// load gets what a browser gets: compressed, and how many bytes the answer's body took on the wire. plain is what is in it.
func load(ctx context.Context, person *http.Client, address string) (wire int, plain []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Accept-Encoding", "gzip")
	answer, err := person.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, nil, err
	}
	if answer.StatusCode != http.StatusOK || answer.Request.URL.Path != r.URL.Path {
		return 0, nil, fmt.Errorf("%s answered %s at %s", address, answer.Status, answer.Request.URL.Path)
	}
	if plain = body; answer.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return 0, nil, err
		}
		if plain, err = io.ReadAll(unpacked); err != nil {
			return 0, nil, err
		}
	}
	return len(body), plain, nil
}

// loads are what a page has a browser load by itself.
var loads = regexp.MustCompile(`<(?:script|link|img|iframe|source|object|embed)\b[^>]*?\s(?:src|href|data)="([^"]+)"`)

// pageWeights measures what a browser that has nothing yet loads for each page: its answers' bodies, and everything they have it load.
func (b *bench) pageWeights(ctx context.Context, person *http.Client, server string, pages map[string]string) error {
	heaviest, where, elsewhere := 0, "", map[string]bool{}
	for _, route := range slices.Sorted(maps.Keys(pages)) {
		total, page, err := load(ctx, person, server+pages[route])
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, m := range loads.FindAllSubmatch(page, -1) {
			asset := string(m[1])
			if seen[asset] || strings.HasPrefix(asset, "data:") {
				continue
			}
			seen[asset] = true
			if !strings.HasPrefix(asset, "/") || strings.HasPrefix(asset, "//") {
				elsewhere[asset] = true
				continue
			}
			n, _, err := load(ctx, person, server+asset)
			if err != nil {
				return err
			}
			total += n
		}
		if len(seen) == 0 {
			return fmt.Errorf("%s loads nothing, not even its style", route)
		}
		if total > heaviest {
			heaviest, where = total, route
		}
	}
	b.table.add(row{figure: "first load of the heaviest page, compressed", value: kib(heaviest), target: "≤ " + kib(pageWeight), missed: heaviest > pageWeight,
		note: fmt.Sprintf("of %d pages, each with its assets: %s", len(pages), where)})
	b.table.add(row{figure: "what pages load from elsewhere", value: fmt.Sprint(len(elsewhere)), target: "none", missed: len(elsewhere) > 0,
		note: strings.Join(slices.Sorted(maps.Keys(elsewhere)), " ")})
	return nil
}

func kib(n int) string { return fmt.Sprintf("%.1f KiB", float64(n)/1024) }

// asking are the routes of pages that ask Microsoft while they are loaded: how soon they answer is first of all how soon Microsoft does.
var asking = []string{"GET /tenants/{tenant}/devices", "GET /tenants/{tenant}/devices/{id}"}

// pageWaits measures how soon pages begin to answer, one after the other in an open loop: a request is sent when its time has come, and its
// time counts from then.
func (b *bench) pageWaits(ctx context.Context, person *http.Client, server string, pages map[string]string, rows int) error {
	const turns = 1_000
	routes := slices.Sorted(maps.Keys(pages))
	list := make([]time.Duration, b.scaled(turns))
	errs := make([]error, len(list))
	var all sync.WaitGroup
	begin := time.Now().Add(50 * time.Millisecond)
	for i := range list {
		due := begin.Add(time.Duration(i) * time.Second / pageRate)
		sleepUntil(due)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		all.Go(func() { list[i], errs[i] = firstByte(ctx, person, server+pages[routes[i%len(routes)]], due) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	byRoute := map[string][]time.Duration{}
	var stored, away []time.Duration
	for i, d := range list {
		route := routes[i%len(routes)]
		byRoute[route] = append(byRoute[route], d)
		if slices.Contains(asking, route) {
			away = append(away, d)
		} else {
			stored = append(stored, d)
		}
	}
	slowest := ""
	for route, of := range byRoute {
		if slowest == "" || quantile(of, 0.5) > quantile(byRoute[slowest], 0.5) && !slices.Contains(asking, route) {
			slowest = route
		}
	}
	b.table.atMost("time to first byte of a page, p99", quantile(stored, 0.99), pageWait,
		fmt.Sprintf("%d loads at %d/s in open loop over %d pages with %d resets stored; median %s, worst %s; slowest by its median %s, %s", len(stored), pageRate,
			len(routes)-len(asking), rows, ms(quantile(stored, 0.5)), ms(quantile(stored, 1)), slowest, ms(quantile(byRoute[slowest], 0.5))))
	b.table.add(row{figure: "the same, pages that ask Graph meanwhile, p99", value: ms(quantile(away, 0.99)), note: fmt.Sprintf("the same run; median %s; Graph is simulated on the same machine", ms(quantile(away, 0.5)))})
	return nil
}

// firstByte loads a page and returns how long after due the first byte of its answer came.
func firstByte(ctx context.Context, person *http.Client, address string, due time.Time) (time.Duration, error) {
	var first time.Time
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { first = time.Now() }})
	if _, _, err := load(ctx, person, address); err != nil {
		return 0, err
	}
	return first.Sub(due), nil
}
