package aws

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/servicebus"
	"pinreset/shared/work/sqs"
)

const arn = "arn:aws:sqs:eu-central-1:123456789012:"

// checkQueues: there is a queue for each that the program serves, by the program's name, with one beside it for what is set aside, and
// none besides.
func checkQueues(s *stack) {
	made := map[string]resource{}
	s.each("AWS::SQS::Queue", func(r resource) {
		made[fmt.Sprint(r.at("QueueName"))] = r
		s.want(r, true, "SqsManagedSseEnabled")
		s.want(r, nil, "FifoQueue")
		s.want(r, nil, "DelaySeconds")
	})
	for function, queue := range served(s) {
		if queue == "" {
			continue
		}
		r, there := made[queue]
		aside, beside := made[queue+sqs.DeadSuffix]
		if !there || !beside {
			s.problem("queue %s is there: %t; the one beside it: %t", queue, there, beside)
			continue
		}
		delete(made, queue)
		delete(made, queue+sqs.DeadSuffix)
		// AWS's page "Creating and configuring an Amazon SQS event source mapping": six times the function's time.
		timeout, _ := s.function(function).at("Timeout").(int)
		if visibility, _ := r.at("VisibilityTimeout").(int); visibility < 6*timeout || timeout == 0 {
			s.problem("queue %s: what is taken is invisible for %d s; its function has %d s", queue, visibility, timeout)
		}
		// Far above dispatch's own limit, as on the other hosts.
		limit := servicebus.Entities([]work.Queue{work.Queue(queue)}, servicebus.Options{})[0].MaxDeliveries
		s.want(r, map[string]any{"deadLetterTargetArn": arn + queue + sqs.DeadSuffix, "maxReceiveCount": limit}, "RedrivePolicy")
		s.want(aside, map[string]any{"redrivePermission": "byQueue", "sourceQueueArns": []any{arn + queue}}, "RedriveAllowPolicy")
		s.want(aside, nil, "RedrivePolicy")
		// A message's age counts on in the queue in which it was set aside (AWS's page "Using dead-letter queues in Amazon SQS").
		kept, _ := r.at("MessageRetentionPeriod").(int)
		lies, _ := aside.at("MessageRetentionPeriod").(int)
		if week := int((7 * 24 * time.Hour).Seconds()); kept < week || lies < kept+week {
			s.problem("queue %s keeps a message for %d s, and where it is set aside for %d s", queue, kept, lies)
		}
	}
	for name := range made {
		s.problem("nobody serves the queue %s", name)
	}
}

// checkQueuesPolicy: no queue is reached without TLS.
func checkQueuesPolicy(s *stack) {
	covered := map[string]bool{}
	s.each("AWS::SQS::QueuePolicy", func(r resource) {
		s.want(r, map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
			"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*", "Condition": map[string]any{"Bool": map[string]any{"aws:SecureTransport": false}},
		}}}, "PolicyDocument")
		for _, q := range list(r.at("Queues")) {
			covered[fmt.Sprint(q)] = true
		}
	})
	s.each("AWS::SQS::Queue", func(r resource) {
		if address := "https://sqs.eu-central-1.amazonaws.com/123456789012/" + fmt.Sprint(r.at("QueueName")); !covered[address] {
			s.problem("queue %s is reached without TLS", r.at("QueueName"))
		}
	})
}

// function returns the Lambda of the function that is named; a resource without properties where there is none.
func (s *stack) function(name string) resource {
	for _, r := range s.resources {
		if r.kind == "AWS::Serverless::Function" && r.at("Environment", "Variables", "PINRESET_FUNCTION") == name {
			return r
		}
	}
	s.problem("no Lambda is the function %s", name)
	return resource{id: name}
}

// checkAlarms: what is set aside, what waits for long, what fails and what is not let run is told of; and a timer that has stopped.
func checkAlarms(s *stack) {
	wanted := map[string]string{} // threshold, by metric and what it is of
	for function, queue := range served(s) {
		id := fmt.Sprint(s.function(function).at("FunctionName"))
		wanted["AWS/Lambda Errors FunctionName "+id] = "above 0"
		wanted["AWS/Lambda Throttles FunctionName "+id] = "above 0"
		if queue != "" {
			wanted["AWS/SQS ApproximateNumberOfMessagesVisible QueueName "+queue+sqs.DeadSuffix] = "above 0"
			// A message that was sent for later waits for a quarter of an hour, the longest that SQS takes.
			wanted["AWS/SQS ApproximateAgeOfOldestMessage QueueName "+queue] = "above 1800"
		}
		if strings.HasSuffix(function, "-timer") {
			wanted["AWS/Lambda Invocations FunctionName "+id] = "below 1, or not measured"
		}
	}
	told := s.given["AlarmEmail"] != ""
	s.each("AWS::CloudWatch::Alarm", func(r resource) {
		dimensions := list(r.at("Dimensions"))
		if len(dimensions) != 1 {
			s.problem("%s: dimensions %v", r.id, dimensions)
			return
		}
		name := fmt.Sprint(r.at("Namespace"), " ", r.at("MetricName"), " ", at(dimensions[0], "Name"), " ", at(dimensions[0], "Value"))
		rule := map[string]string{"GreaterThanThreshold notBreaching": "above %v", "LessThanThreshold breaching": "below %v, or not measured"}[fmt.Sprint(r.at("ComparisonOperator"), " ", r.at("TreatMissingData"))]
		if rule != "" {
			rule = fmt.Sprintf(rule, r.at("Threshold"))
		}
		if want, ok := wanted[name]; !ok || rule != want {
			s.problem("alarm %s looks for %s, %q; want %q", r.id, name, rule, want)
		}
		delete(wanted, name)
		if actions := fmt.Sprint(r.at("AlarmActions")); told != strings.HasSuffix(actions, "-alarms]") {
			s.problem("alarm %s tells %s", r.id, actions)
		}
		points, _ := r.at("DatapointsToAlarm").(int)
		if of, _ := r.at("EvaluationPeriods").(int); points < 1 || points > of || r.at("AlarmDescription") == nil {
			s.problem("alarm %s: %d of %d: %v", r.id, points, of, r.at("AlarmDescription"))
		}
	})
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		s.problem("no alarm looks for %s", name)
	}
	if _, made := s.resources["AlarmTopic"]; made != told {
		s.problem("a topic of alarms is there: %t", made)
	}
}

// checkAnnouncements: what goes to others is encrypted where it lies.
func checkAnnouncements(s *stack) {
	s.want(s.resources["AnnouncementTopic"], "alias/aws/sns", "KmsMasterKeyId")
}
