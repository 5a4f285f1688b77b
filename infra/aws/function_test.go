package aws

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"pinreset/shared/host/lambda"
)

// checkFunctions: each function of the program has one Lambda, which starts what the package holds.
func checkFunctions(s *stack) {
	all := map[string]string{}
	maps.Copy(all, served(s))
	packager, err := os.ReadFile("package/main.go")
	if err != nil {
		s.problem("package: %v", err)
	}
	s.each("AWS::Serverless::Function", func(r resource) {
		name := fmt.Sprint(r.at("Environment", "Variables", "PINRESET_FUNCTION"))
		queue, known := all[name]
		if !known {
			s.problem("%s is the function %s, which the program does not have or which is there twice", r.id, name)
		}
		delete(all, name)
		s.want(r, fmt.Sprint(s.given["AWS::StackName"], "-", name), "FunctionName")
		s.want(r, "provided.al2023", "Runtime")
		s.want(r, "bootstrap", "Handler")
		s.want(r, s.given["MemorySize"], "MemorySize")
		architectures := list(r.at("Architectures"))
		if len(architectures) != 1 || architectures[0] != "arm64" {
			s.problem("%s runs on %v", r.id, architectures)
			return
		}
		// Where the package is, as the template sees it, and as the packager makes it.
		s.want(r, fmt.Sprintf("../../dist/lambda-%s.zip", architectures[0]), "CodeUri")
		for _, part := range []string{`"lambda-"+architecture`, `staged + ".zip"`, `executable = "bootstrap"`, `"arm64"`} {
			if !strings.Contains(string(packager), part) {
				s.problem("the packager does not say %s", part)
			}
		}
		timeout, _ := r.at("Timeout").(int)
		if most := 15 * time.Minute; time.Duration(timeout)*time.Second > most || timeout < 10 {
			s.problem("%s has %d s; AWS gives %s at most", r.id, timeout, most)
		}
		if queue != "" && time.Duration(timeout)*time.Second < lambda.LeastTimeout {
			s.problem("%s has %d s, and needs %s", r.id, timeout, lambda.LeastTimeout)
		}
	})
	for name := range all {
		s.problem("no Lambda is the function %s", name)
	}
}

// checkTriggers: a queue starts its function, with an answer for each record and a bound; a timer is called every minute by its name; the web
// function has neither.
func checkTriggers(s *stack) {
	for name, queue := range served(s) {
		r := s.function(name)
		events, _ := r.at("Events").(map[string]any)
		want := 1
		if name == "web" {
			want = 0
		}
		if len(events) != want {
			s.problem("%s has %d triggers, want %d", r.id, len(events), want)
		}
		reserved := r.at("ReservedConcurrentExecutions")
		for _, e := range events {
			if queue == "" {
				s.schedule(r, name, e)
				if keeps := s.given["ReserveConcurrency"] == "true"; keeps != (reserved == 1) || !keeps && reserved != nil {
					s.problem("%s: %v ticks at a time", r.id, reserved)
				}
				continue
			}
			most, _ := at(e, "Properties", "ScalingConfig", "MaximumConcurrency").(int)
			if at(e, "Type") != "SQS" || at(e, "Properties", "Queue") != arn+queue || at(e, "Properties", "BatchSize") != 10 {
				s.problem("%s is started by %v, not ten at a time by %s", r.id, e, queue)
			}
			if answers := fmt.Sprint(at(e, "Properties", "FunctionResponseTypes")); answers != "[ReportBatchItemFailures]" {
				s.problem("%s answers %s: one record that failed would bring all back", r.id, answers)
			}
			if most < 2 || most > 50 { // AWS takes 2 at least; the processes share each tenant's limits at Graph
				s.problem("%s runs %d times at once", r.id, most)
			}
			if n, ok := reserved.(int); ok && n < most {
				s.problem("%s keeps %d for itself and may be started %d times: the rest comes back and counts as delivered", r.id, n, most)
			}
		}
	}
}

// schedule: the timer is called with its own name, and a call that fails is not repeated, because the next minute's finds the same. What
// waits in rows until SQS can be asked for it needs a sweep every third of sqs.MaxDelay, which is five minutes.
func (s *stack) schedule(r resource, name string, event any) {
	var input struct {
		Schedule string `json:"schedule"`
	}
	text := fmt.Sprint(at(event, "Properties", "Input"))
	if err := json.Unmarshal([]byte(text), &input); err != nil || input.Schedule != name {
		s.problem("%s is called with %s: %v", r.id, text, err)
	}
	if at(event, "Type") != "ScheduleV2" || at(event, "Properties", "ScheduleExpression") != "rate(1 minute)" {
		s.problem("%s is called by %v", r.id, event)
	}
	for _, policy := range []any{at(event, "Properties", "RetryPolicy"), r.at("EventInvokeConfig")} {
		if fmt.Sprint(policy) != "map[MaximumEventAgeInSeconds:60 MaximumRetryAttempts:0]" {
			s.problem("%s is repeated by %v", r.id, policy)
		}
	}
}

// checkURL: the web function, and nothing else, is called from outside, by its URL alone. AWS's page "Control access to Lambda function
// URLs" asks for both permissions.
func checkURL(s *stack) {
	web := fmt.Sprint("arn:aws:lambda:eu-central-1:123456789012:function:", s.given["AWS::StackName"], "-web")
	s.each("AWS::Lambda::Url", func(r resource) {
		want := map[string]any{"TargetFunctionArn": web, "AuthType": "NONE", "InvokeMode": "BUFFERED"}
		s.want(r, want)
	})
	wanted := []map[string]any{
		{"Action": "lambda:InvokeFunctionUrl", "FunctionName": web, "Principal": "*", "FunctionUrlAuthType": "NONE"},
		{"Action": "lambda:InvokeFunction", "FunctionName": web, "Principal": "*", "InvokedViaFunctionUrl": true},
	}
	s.each("AWS::Lambda::Permission", func(r resource) {
		i := slices.IndexFunc(wanted, func(w map[string]any) bool { return maps.Equal(w, r.properties) })
		if i < 0 {
			s.problem("%s permits %v", r.id, r.properties)
			return
		}
		wanted = slices.Delete(wanted, i, i+1)
	})
	for _, w := range wanted {
		s.problem("nobody may call the URL: %v is missing", w["Action"])
	}
	s.each("AWS::Serverless::Function", func(r resource) { s.want(r, nil, "FunctionUrlConfig") })
}

// checkLogs: each function writes to a group of its own, which forgets.
func checkLogs(s *stack) {
	groups := map[string]bool{}
	s.each("AWS::Logs::LogGroup", func(r resource) {
		groups[fmt.Sprint(r.at("LogGroupName"))] = true
		s.want(r, s.given["LogRetentionDays"], "RetentionInDays")
	})
	s.each("AWS::Serverless::Function", func(r resource) {
		group := "/aws/lambda/" + fmt.Sprint(r.at("FunctionName"))
		s.want(r, map[string]any{"LogGroup": group}, "LoggingConfig")
		if !groups[group] {
			s.problem("%s logs to %s, which is not there", r.id, group)
		}
		delete(groups, group)
	})
	for name := range groups {
		s.problem("nobody logs to %s", name)
	}
}
