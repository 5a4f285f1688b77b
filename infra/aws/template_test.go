package aws

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// kinds are the types of resource that the template may make.
var kinds = []string{
	"AWS::CloudWatch::Alarm", "AWS::IAM::ManagedPolicy", "AWS::IAM::Role", "AWS::Lambda::Permission", "AWS::Lambda::Url", "AWS::Logs::LogGroup",
	"AWS::SNS::Topic", "AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "AWS::Serverless::Function",
}

// checks are everything that is asked of the template in an environment.
var checks = []func(*stack){
	checkKinds, checkNames, checkQueues, checkQueuesPolicy, checkFunctions, checkTriggers, checkURL, checkLogs,
	checkRoles, checkSignIn, checkSettings, checkSecrets, checkAlarms, checkAnnouncements, checkOutputs,
}

func judge(all []*stack) (problems []string) {
	for _, s := range all[1:] { // what only one environment uses is used
		maps.Copy(all[0].used, s.used)
	}
	for _, s := range all {
		s.used = all[0].used
		if len(s.problems) == 0 { // what can't be expanded can't be judged
			checkUsed(s)
			for _, check := range checks {
				check(s)
			}
		}
		problems = append(problems, s.problems...)
	}
	return problems
}

// TestTemplate: what the template makes in every environment is what pinreset needs, and no more.
func TestTemplate(t *testing.T) {
	t.Parallel()
	all := environments(t, func(b []byte) []byte { return b })
	for _, p := range judge(all) {
		t.Error(p)
	}
	for _, s := range all {
		if len(s.resources) < 130 {
			t.Errorf("%s: only %d resources were seen", s.environment, len(s.resources))
		}
	}
}

// TestReadmeCounts: the operators' page says how many of each kind the template makes.
func TestReadmeCounts(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]int{}
	for _, r := range environments(t, func(b []byte) []byte { return b })[0].resources {
		of[r.kind]++
	}
	queues := of["AWS::SQS::Queue"] / 2
	for _, want := range []string{
		fmt.Sprintf("\n| %d functions |", of["AWS::Serverless::Function"]),
		fmt.Sprintf("\n| %d queues, %d for what was set aside |", queues, queues),
		fmt.Sprintf("\n| %d roles |", of["AWS::IAM::Role"]),
		fmt.Sprintf("\n| %d alarms |", of["AWS::CloudWatch::Alarm"]),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("README.md must say %q", want)
		}
	}
}

// checkUsed: everything that is declared is used.
func checkUsed(s *stack) {
	for name := range s.parameters {
		if !s.used[name] {
			s.problem("parameter %s is not used", name)
		}
	}
	for name := range s.conditions {
		if !s.used[name] {
			s.problem("condition %s is not used", name)
		}
	}
}

func checkKinds(s *stack) {
	for id, r := range s.resources {
		if !slices.Contains(kinds, r.kind) {
			s.problem("%s is a %q, which is not needed here", id, r.kind)
		}
	}
}

// checkNames: no two resources of a kind have the same name.
func checkNames(s *stack) {
	seen := map[string]string{}
	for id, r := range s.resources {
		property := names[r.kind]
		if property == "" {
			continue
		}
		name, _ := r.at(property).(string)
		if name == "" {
			s.problem("%s has no name", id)
		}
		if other := seen[r.kind+name]; other != "" {
			s.problem("%s and %s are both named %s", id, other, name)
		}
		seen[r.kind+name] = id
	}
}

// each calls f with every resource of a kind, which must be there, in the order of their ids.
func (s *stack) each(kind string, f func(r resource)) {
	found := false
	for _, id := range slices.Sorted(maps.Keys(s.resources)) {
		if r := s.resources[id]; r.kind == kind {
			found = true
			f(r)
		}
	}
	if !found {
		s.problem("there is no %s", kind)
	}
}

// want reports a property that is another one.
func (s *stack) want(r resource, value any, path ...string) {
	if got := r.at(path...); !reflect.DeepEqual(got, value) {
		s.problem("%s: %v is %v, want %v", r.id, path, got, value)
	}
}
