package aws

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pinreset/functions/housekeeping"
	"pinreset/shared/devicereport"
	"pinreset/shared/notice"
	"pinreset/shared/onboarding"
	"pinreset/shared/passcode"
	"pinreset/shared/portal"
	"pinreset/shared/rollout"
	"pinreset/shared/subscription"
	"pinreset/shared/survey"
	"pinreset/shared/work"
	"pinreset/shared/work/sqs"
)

// everything are all queues: whoever replays what was set aside, or sends what a crash left, sends to any.
var everything = []work.Queue{
	onboarding.Queue, passcode.Queue, passcode.Queue.Bulk(), passcode.BulkQueue.Bulk(), portal.Queue.Bulk(), rollout.Queue, devicereport.Queue,
	work.Announcements, notice.Queue, survey.Queue, survey.Queue.Bulk(), subscription.Queue.Bulk(), housekeeping.Queue.Bulk(),
}

var audits = []work.Queue{portal.Queue.Bulk(), rollout.Queue, subscription.Queue.Bulk(), work.Announcements}

// sends are the queues that a function sends to, beside the one that starts it: a run that is put off is sent again. A function that may
// not send to a queue loses nothing: what it has staged is sent by housekeeping, minutes later.
var sends = map[string][]work.Queue{
	"announcement":       {},
	"bulkreset":          {passcode.Queue.Bulk(), notice.Queue, work.Announcements},
	"consent":            {survey.Queue, work.Announcements},
	"devicereport":       {work.Announcements},
	"graphsubscription":  {work.Announcements},
	"housekeeping":       {onboarding.Queue, passcode.Queue, passcode.Queue.Bulk(), passcode.BulkQueue.Bulk(), rollout.Queue, survey.Queue, subscription.Queue.Bulk(), work.Announcements},
	"housekeeping-timer": everything,
	"notification":       {work.Announcements},
	"passcodereset":      {passcode.Queue.Bulk(), notice.Queue, work.Announcements},
	"passcodereset-bulk": {passcode.Queue, notice.Queue, work.Announcements},
	"policyrollout":      {survey.Queue, work.Announcements},
	"portalaction":       {passcode.Queue, notice.Queue, survey.Queue, work.Announcements},
	"tenantaudit":        audits,
	"tenantaudit-bulk":   audits,
	"tenantaudit-timer":  {survey.Queue.Bulk()},
	"web":                everything,
}

// checkRoles: each function has a role of its own, for nobody but Lambda, that lets it take from its queue, send to those that it sends
// to, write its log, and what all may.
func checkRoles(s *stack) {
	roles := map[string]resource{}
	s.each("AWS::IAM::Role", func(r resource) { roles["arn:aws:iam::123456789012:role/"+fmt.Sprint(r.at("RoleName"))] = r })
	for name, queue := range served(s) {
		f := s.function(name)
		id := "arn:aws:iam::123456789012:role/" + fmt.Sprint(f.at("FunctionName"))
		s.want(f, id, "Role")
		s.want(f, nil, "Policies")
		r, there := roles[id]
		if !there {
			s.problem("%s has no role of its own", f.id)
			continue
		}
		delete(roles, id)
		s.want(r, map[string]any{"Version": "2012-10-17", "Statement": []any{
			map[string]any{"Effect": "Allow", "Principal": map[string]any{"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}}}, "AssumeRolePolicyDocument")
		s.want(r, []any{"arn:aws:iam::123456789012:policy/SignInPolicy"}, "ManagedPolicyArns")
		to := slices.Clone(sends[name])
		if queue != "" {
			to = append(to, work.Queue(queue), work.Queue(queue+sqs.DeadSuffix))
		}
		slices.Sort(to)
		want := map[string][]string{
			"logs:CreateLogStream": {"arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/" + fmt.Sprint(f.at("FunctionName")) + ":*"},
		}
		want["logs:PutLogEvents"] = want["logs:CreateLogStream"]
		for _, q := range slices.Compact(to) {
			want["sqs:SendMessage"] = append(want["sqs:SendMessage"], arn+string(q))
		}
		if queue != "" {
			// AWS's page "Configuring Lambda execution role permissions" for an SQS queue, and the shortening of what failed.
			for _, action := range []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"} {
				want[action] = []string{arn + queue}
			}
		}
		if got := s.permits(r); !reflect.DeepEqual(got, want) {
			s.problem("the role of %s permits %v, want %v", name, got, want)
		}
	}
	for id := range roles {
		s.problem("nobody has the role %s", id)
	}
}

// permits are the resources of each action that the role's own policies allow, sorted.
func (s *stack) permits(r resource) map[string][]string {
	all := map[string][]string{}
	for _, policy := range list(r.at("Policies")) {
		for _, statement := range list(at(policy, "PolicyDocument", "Statement")) {
			if at(statement, "Effect") != "Allow" || at(statement, "NotAction") != nil || at(statement, "NotResource") != nil {
				s.problem("%s: %v", r.id, statement)
			}
			for _, action := range several(at(statement, "Action")) {
				all[action] = append(all[action], several(at(statement, "Resource"))...)
				slices.Sort(all[action])
			}
		}
	}
	return all
}

// several is a value that may be one or a list of them.
func several(v any) (all []string) {
	if one, ok := v.(string); ok {
		return []string{one}
	}
	for _, item := range list(v) {
		all = append(all, fmt.Sprint(item))
	}
	return all
}

// checkSignIn: a function gets a token for Entra ID and for nobody else, by the algorithm that Entra knows, for a quarter of an hour at most.
// The names are those of AWS's page "Controlling access with IAM policies" on outbound identity federation.
func checkSignIn(s *stack) {
	s.want(s.resources["SignInPolicy"], []any{
		map[string]any{"Effect": "Allow", "Action": "sts:GetWebIdentityToken", "Resource": "*", "Condition": map[string]any{
			"ForAllValues:StringEquals":     map[string]any{"sts:IdentityTokenAudience": []any{"api://AzureADTokenExchange"}},
			"Null":                          map[string]any{"sts:IdentityTokenAudience": "false"},
			"StringEquals":                  map[string]any{"sts:SigningAlgorithm": "RS256"},
			"NumericLessThanEqualsIfExists": map[string]any{"sts:DurationSeconds": 900},
		}},
		map[string]any{"Effect": "Allow", "Action": "sns:Publish", "Resource": "arn:aws:sns:eu-central-1:123456789012:" + fmt.Sprint(s.given["AWS::StackName"]) + "-announcements"},
	}, "PolicyDocument", "Statement")
}

// sending is a place where a handler says itself which queue it sends to. A queue in a variable is not seen.
var sending = regexp.MustCompile(`(?:\.Send\(ctx, |\.Forward\(|again\(ctx, u, )((?:\w+\.)?(?:\w*Queue|Announcements)(?:\.Bulk\(\))?),`)

// TestSends: every handler that names the queue which it sends to may send to it. What is sent by way of a package in shared is not seen
// here, and was read.
func TestSends(t *testing.T) {
	t.Parallel()
	named := map[string]work.Queue{
		"onboarding.Queue": onboarding.Queue, "passcode.Queue": passcode.Queue, "passcode.Queue.Bulk()": passcode.Queue.Bulk(),
		"passcode.BulkQueue.Bulk()": passcode.BulkQueue.Bulk(), "portal.Queue.Bulk()": portal.Queue.Bulk(), "rollout.Queue": rollout.Queue,
		"devicereport.Queue": devicereport.Queue, "work.Announcements": work.Announcements, "survey.Queue": survey.Queue, "notice.Queue": notice.Queue,
		"subscription.Queue.Bulk()": subscription.Queue.Bulk(), "Queue.Bulk()": housekeeping.Queue.Bulk(),
	}
	s := &stack{}
	seen := 0
	for name, queue := range served(s) {
		folder, _, _ := strings.Cut(name, "-")
		files, err := filepath.Glob("../../functions/" + folder + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || name == "tenantaudit-timer" && filepath.Base(file) != "timer.go" || name == "housekeeping" && filepath.Base(file) == "timer.go" {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range sending.FindAllSubmatch(text, -1) {
				to, known := named[string(m[1])]
				if !known {
					t.Errorf("%s sends to %s, which this test does not know", file, m[1])
				}
				seen++
				if to != work.Queue(queue) && !slices.Contains(sends[name], to) {
					t.Errorf("%s sends to %s; the role of %s does not let it", file, to, name)
				}
			}
		}
	}
	if seen < 20 || len(s.problems) > 0 {
		t.Errorf("%d places were seen: %q", seen, s.problems)
	}
}
