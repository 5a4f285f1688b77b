package main

import (
	"fmt"
	"io"
	"strings"
)

// effect is a place where the program touches something outside itself, or where the outside changes by itself.
type effect uint8

const (
	readRow effect = iota
	commit
	commitMessages
	commitClear
	settle
	settleMessages
	settleSettle
	settleClear
	tableRead
	tableList
	tableTransact
	queueSend
	queueComplete
	queueRenew
	readKey
	writeKey
	eraseKey
	readDevice
	prepareReset
	resetDevice
	readResult
	readResultBeta
	proveAccess
	readPrincipal
	createPrincipal
	readGrants
	readRoles
	readPolicies
	readPolicy
	readAssignments
	readStatuses
	readGroup
	readAuditLog
	listDevices
	readOwners
	readBatch
	createPolicy
	setPolicy
	assignPolicy
	deletePolicy
	listSubscriptions
	subscribe
	renewSubscription
	unsubscribe
	receive
	clock
	device
	administrator
	effects // how many there are
)

var effectNames = [effects]string{
	"store read", "store commit", "commit: send messages", "commit: clear outbox",
	"store settle", "settle: send messages", "settle: delivery", "settle: clear outbox",
	"table read", "table list", "table transaction", "parcels send", "parcel complete", "parcel renew",
	"key ring read", "key ring write", "key ring erase",
	"graph read device", "graph token", "graph RESET", "graph read result", "graph read result (beta)",
	"graph prove access", "graph read principal", "graph create principal", "graph read grants", "graph read roles",
	"graph read policies", "graph read policy", "graph read assignments", "graph read statuses", "graph read group",
	"graph read audit log", "graph list devices", "graph read group members", "graph batch", "graph CREATE policy", "graph set policy", "graph assign policy", "graph delete policy",
	"graph list subscriptions", "graph SUBSCRIBE", "graph renew subscription", "graph unsubscribe",
	"queue", "clock", "device", "administrator",
}

func (e effect) String() string { return effectNames[e] }

// mishap is what goes wrong at an effect.
type mishap uint8

const (
	none mishap = iota
	crashBefore
	crashAfter
	unavailable // refused, nothing done
	answerLost  // done, and the answer is an error
	doneTwice   // done, not answered, and asked again by the client; the second answer is told
	doneInPart  // some of it, and the answer is an error
	lockTaken   // the queue gives the parcel up for others ahead of its time
	leaseLost   // the run stands still until its lease has passed to somebody else
	slow        // the run stands still for some seconds
	throttled   // 429 with Retry-After, not done
	throttledBare
	throttledDone // 429 with Retry-After, and done all the same
	throttledBareDone
	unavailableDone // 503, and done all the same
	noAnswer        // broken connection, not done
	notSent         // no permit: nothing left this machine
	refused         // 400, as of a Multi Admin Approval policy
	forbidden       // 403: a role has not been replicated
	stale           // a replica that is behind
	missing         // 404 of what is there: a replica that has not heard of it
	duplicate
	reorder
	delay
	lost // for ever
	jumpAhead
	setBack
	leap // a week at once
	offline
	enrolledAgain
	otherUser
	retired
	neverAnswers
	actionFails
	actionNotSupported
	noCode
	codeOnBetaOnly
	policyRemoved
	policyFlipped
	policyRenamed
	alsoAssigned
	unassigned
	appDisabled
	appRemoved
	partUnavailable
	partThrottled
	partForbidden
	mishaps // how many there are
)

var mishapNames = [mishaps]string{
	"none", "crash before", "crash after", "unavailable", "done, answer lost", "done, asked again", "done in part", "lock taken", "lease lost", "slow",
	"429 + Retry-After", "429 bare", "429 + Retry-After, done", "429 bare, done", "503, done", "no answer", "not sent",
	"400 (approval)", "403", "stale", "404 of what is there", "duplicate", "reorder", "delay", "lost",
	"jumps ahead", "set back", "leaps a week", "offline", "enrolled again", "other user", "retired",
	"never answers", "action failed", "not supported", "no code", "code on beta only",
	"removes the policy", "flips it", "takes it over", "assigns it, too", "unassigns it", "disables an app", "removes an app", "503 in a part", "429 in a part", "403 in a part",
}

func (m mishap) String() string { return mishapNames[m] }

// possible says what can go wrong where. Each cell must be hit in a run that is large enough.
var possible = func() (p [effects][]mishap) {
	store := []mishap{crashBefore, crashAfter, unavailable, answerLost, leaseLost}
	read := []mishap{crashBefore, crashAfter, slow, throttled, throttledBare, unavailable, noAnswer}
	p[readRow] = []mishap{crashBefore, unavailable}
	p[commit], p[settle] = store, store
	for _, step := range []effect{commitMessages, commitClear, settleMessages, settleSettle, settleClear} {
		p[step] = []mishap{crashBefore}
	}
	p[tableRead] = []mishap{crashBefore, crashAfter, unavailable}
	p[tableList] = p[tableRead]
	p[tableTransact] = []mishap{crashBefore, crashAfter, unavailable, answerLost, doneTwice, slow, leaseLost}
	p[queueSend] = []mishap{crashBefore, crashAfter, unavailable, answerLost, doneTwice, doneInPart, slow}
	p[queueComplete] = []mishap{crashBefore, crashAfter, unavailable, answerLost, doneTwice, leaseLost}
	p[queueRenew] = []mishap{crashBefore, crashAfter, unavailable, answerLost, leaseLost}
	p[readKey] = []mishap{crashBefore, unavailable}
	p[writeKey] = []mishap{crashBefore, crashAfter, unavailable, answerLost}
	p[eraseKey] = p[writeKey]
	p[readDevice] = read
	p[prepareReset] = []mishap{crashBefore, crashAfter, slow, throttled, noAnswer}
	p[resetDevice] = []mishap{
		crashBefore, crashAfter, slow, leaseLost, throttled, throttledBare, throttledDone, throttledBareDone, unavailableDone,
		answerLost, noAnswer, notSent, refused,
	}
	p[readResult] = append([]mishap{stale}, read...)
	p[readResultBeta] = p[readResult]
	p[proveAccess] = append([]mishap{forbidden}, read...)
	p[readPrincipal] = append([]mishap{missing, forbidden}, read...)
	p[createPrincipal] = append([]mishap{answerLost}, read...)
	p[readGrants], p[readRoles], p[readGroup] = read, read, read
	for _, e := range []effect{readPolicies, readPolicy, readAssignments, readStatuses} {
		p[e] = append([]mishap{stale, forbidden}, read...)
	}
	p[readAuditLog] = append([]mishap{stale, forbidden}, read...)
	p[listDevices] = append([]mishap{refused, forbidden}, read...)
	p[readOwners] = append([]mishap{missing, forbidden}, read...)
	p[readBatch] = append([]mishap{stale, forbidden, partUnavailable, partThrottled, partForbidden}, read...)
	p[createPolicy] = append([]mishap{forbidden}, p[resetDevice]...)
	for _, e := range []effect{setPolicy, assignPolicy, deletePolicy} { // they may be repeated, and the client says no more of a lost answer
		p[e] = append([]mishap{answerLost, unavailableDone, forbidden, notSent}, read...)
	}
	p[listSubscriptions] = append([]mishap{stale, forbidden}, read...)
	p[subscribe] = p[createPolicy]
	p[renewSubscription], p[unsubscribe] = p[setPolicy], p[setPolicy]
	p[receive] = []mishap{duplicate, reorder, delay, crashAfter, lockTaken, lost}
	p[clock] = []mishap{jumpAhead, setBack, leap}
	p[device] = []mishap{offline, enrolledAgain, otherUser, retired, neverAnswers, actionFails, actionNotSupported, noCode, codeOnBetaOnly}
	p[administrator] = []mishap{policyRemoved, policyFlipped, policyRenamed, alsoAssigned, unassigned, appDisabled, appRemoved}
	return p
}()

// tally counts what was hit.
type tally struct {
	hits                                [effects][mishaps]int64
	passed                              [effects]int64
	seeds, steps, runs                  int64
	accepted, ended, resets, reveals    int64
	released, consents, proven, issued  int64
	created, assigned, deleted          int64 // policies
	rolled, watched, takenBack          int64 // rollouts that ended
	audits, unread, drifts, auditRuns   int64 // audits that ended, those that could not read everything, drifts told, runs over all tenants
	records, adopted, bulks, bulkResets int64 // records of the portal, resets adopted; bulk resets ended, resets they began
	reports, pins                       int64 // reports of devices, ends of PIN resets told
	subscribed                          int64 // subscriptions made
	lost, forgotten, swept              int64 // messages that were lost, rows that were tidied away, keys that the upkeep destroyed
}

func (t *tally) add(o *tally) {
	for e := range o.hits {
		for m := range o.hits[e] {
			t.hits[e][m] += o.hits[e][m]
		}
		t.passed[e] += o.passed[e]
	}
	t.seeds += o.seeds
	t.steps += o.steps
	t.runs += o.runs
	t.accepted += o.accepted
	t.ended += o.ended
	t.resets += o.resets
	t.reveals += o.reveals
	t.released += o.released
	t.consents += o.consents
	t.proven += o.proven
	t.issued += o.issued
	t.created += o.created
	t.assigned += o.assigned
	t.deleted += o.deleted
	t.rolled += o.rolled
	t.watched += o.watched
	t.takenBack += o.takenBack
	t.audits += o.audits
	t.unread += o.unread
	t.drifts += o.drifts
	t.auditRuns += o.auditRuns
	t.reports += o.reports
	t.pins += o.pins
	t.subscribed += o.subscribed
	t.records += o.records
	t.adopted += o.adopted
	t.bulks += o.bulks
	t.bulkResets += o.bulkResets
	t.lost += o.lost
	t.forgotten += o.forgotten
	t.swept += o.swept
}

// of reports whether the cell is one of worlds whose rows and messages are kept so.
func (k keeping) of(e effect, m mishap) bool {
	switch {
	case e >= tableRead && e <= queueRenew || m == lockTaken:
		return k != local
	case e >= commitMessages && e <= commitClear || e >= settleMessages && e <= settleClear:
		return k != composite
	}
	return true
}

// unhit names the cells that were never hit.
func (t *tally) unhit(k keeping) []string {
	var cells []string
	for e := range effects {
		for _, m := range possible[e] {
			if t.hits[e][m] == 0 && k.of(e, m) {
				cells = append(cells, fmt.Sprintf("%s × %s", e, m))
			}
		}
	}
	return cells
}

func (t *tally) print(w io.Writer) {
	total := int64(0)
	for e := range effects {
		var cells []string
		for _, m := range possible[e] {
			cells = append(cells, fmt.Sprintf("%s %d", m, t.hits[e][m]))
			total += t.hits[e][m]
		}
		fmt.Fprintf(w, "%-26s %11d  %s\n", e, t.passed[e], strings.Join(cells, " · "))
	}
	fmt.Fprintf(w, "%d seeds, %d steps, %d handler runs, %d mishaps; %d resets accepted, %d ended, %d issued a code, %d effective at devices; "+
		"%d reveals asked, %d released; %d consents, %d proven\n",
		t.seeds, t.steps, t.runs, total, t.accepted, t.ended, t.issued, t.resets, t.reveals, t.released, t.consents, t.proven)
	fmt.Fprintf(w, "%d policies created, %d assigned, %d deleted; %d rollouts ended, %d watched to their end, %d taken back\n",
		t.created, t.assigned, t.deleted, t.rolled, t.watched, t.takenBack)
	fmt.Fprintf(w, "%d audits ended, %d with something unread, %d drifts told, %d runs over all tenants; %d device reports, %d PIN resets told; %d subscriptions\n",
		t.audits, t.unread, t.drifts, t.auditRuns, t.reports, t.pins, t.subscribed)
	fmt.Fprintf(w, "%d records of the portal, %d resets adopted; %d bulk resets ended, %d resets begun by them\n", t.records, t.adopted, t.bulks, t.bulkResets)
	fmt.Fprintf(w, "%d messages lost, %d resets and rollouts forgotten, %d keys swept\n", t.lost, t.forgotten, t.swept)
}
