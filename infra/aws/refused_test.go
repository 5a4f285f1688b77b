package aws

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestChecksCatch proves that every check can fail: a template with one thing wrong is refused, and told what.
func TestChecksCatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, says string }{
		{"Transform: AWS::Serverless-2016-10-31", "Transform: AWS::LanguageExtensions", "the transform is"},
		{"  ConsentLog:\n", "  ConsentQueue:\n", "ConsentQueue is there twice"},
		{"!If [HasServiceBus, announcements, '']", "!If [HasServiceBus, '', announcements]", "setting PINRESET_SERVICEBUS_TOPIC is announcements"},
		{"PINRESET_LOG_LEVEL: info", "PINRESET_LOG_LEVEL: &level info", "no anchors"},
		{"!Ref LogRetentionDays", "30", "parameter LogRetentionDays is not used"},
		{"  Reserve: !Equals", "  Spare: !Equals [1, 1]\n  Reserve: !Equals", "condition Spare is not used"},
		{"!Ref MemorySize", "!Ref Memory", "Memory is not in the template"},
		{"!If [Reserve, 10", "!If [Reserved, 10", "no condition Reserved"},
		{"!GetAtt ConsentQueue.Arn", "!GetAtt ConsentsQueue.Arn", "ConsentsQueue is not in the template"},
		{"!GetAtt WebUrl.FunctionUrl", "!GetAtt WebUrl.Address", "can't be read"},
		{"!If [HasAlarmEmail, [!Ref AlarmTopic], !Ref 'AWS::NoValue']", "[!Ref AlarmTopic]", "asked for where it is not made"},
		{"!Sub '${AWS::StackName}-web'", "!Join ['-', [!Ref 'AWS::StackName', web]]", "is not known here"},
		{"Default: '', Description: Who is told", "Default: nobody, Description: Who is told", `does not take "nobody"`},
		{"Default: 256,", "Default: 128,", "out of its range"},
		{", Description: Who is told of alarms; empty for nobody.", "", "AlarmEmail is not described"},
		{"Type: AWS::SQS::QueuePolicy", "Type: AWS::SQS::QueueInlinePolicy", "is not needed here"},
		{"QueueName: audit-bulk\n", "QueueName: audits\n", "queue audit-bulk is there: false"},
		{"QueueName: audit-bulk-dead", "QueueName: audit-bulk-lost", "nobody serves the queue audit-bulk-lost"},
		{"QueueName: consent-dead", "QueueName: policy-dead", "both named policy-dead"},
		{"VisibilityTimeout: 720", "VisibilityTimeout: 719", "invisible for 719 s"},
		{"      Timeout: 120\n", "      Timeout: 180\n", "its function has 180 s"},
		{"      Timeout: 120\n", "      Timeout: 60\n", "needs 2m0s"},
		{"      Timeout: 300\n", "      Timeout: 1200\n", "15m0s at most"},
		{"maxReceiveCount: 16", "maxReceiveCount: 5", "maxReceiveCount:5"},
		{"deadLetterTargetArn: !GetAtt ConsentDeadLetters.Arn", "deadLetterTargetArn: !GetAtt AnnouncementDeadLetters.Arn", "RedrivePolicy"},
		{"redrivePermission: byQueue", "redrivePermission: allowAll", "RedriveAllowPolicy"},
		{"${AWS::AccountId}:consent'", "${AWS::AccountId}:policy'", "RedriveAllowPolicy"},
		{"SqsManagedSseEnabled: true", "SqsManagedSseEnabled: false", "SqsManagedSseEnabled"},
		{"MessageRetentionPeriod: 604800", "MessageRetentionPeriod: 1209600", "where it is set aside for"},
		{"MessageRetentionPeriod: 604800", "MessageRetentionPeriod: 3600", "keeps a message for 3600 s"},
		{"        - !Ref ConsentDeadLetters\n", "", "consent-dead is reached without TLS"},
		{"{'aws:SecureTransport': false}", "{'aws:SecureTransport': true}", "PolicyDocument"},
		{"FunctionResponseTypes: [ReportBatchItemFailures]", "BisectBatchOnFunctionError: true", "one record that failed would bring all back"},
		{"ScalingConfig: {MaximumConcurrency: 4}", "Enabled: true", "runs 0 times at once"},
		{"ScalingConfig: {MaximumConcurrency: 4}", "ScalingConfig: {MaximumConcurrency: 400}", "runs 400 times at once"},
		{"!If [Reserve, 10", "!If [Reserve, 5", "keeps 5 for itself and may be started 10 times"},
		{"!If [Reserve, 1,", "!If [Reserve, 2,", "2 ticks at a time"},
		{"BatchSize: 10", "BatchSize: 100", "not ten at a time"},
		{"            Queue: !GetAtt PolicyRolloutQueue.Arn", "            Queue: !GetAtt ConsentQueue.Arn", "is started by"},
		{"PINRESET_FUNCTION: portalaction}", "PINRESET_FUNCTION: portal}", "no Lambda is the function portalaction"},
		{"PINRESET_FUNCTION: portalaction}", "PINRESET_FUNCTION: consent}", "which is there twice"},
		{"FunctionName: !Sub '${AWS::StackName}-portalaction'", "FunctionName: !Sub '${AWS::StackName}-portal'", "FunctionName"},
		{"provided.al2023", "provided.al2", "Runtime"},
		{"Handler: bootstrap", "Handler: main", "Handler"},
		{"CodeUri: ../../dist/lambda-arm64.zip", "CodeUri: ../../dist/lambda.zip", "CodeUri"},
		{"Architectures: [arm64]", "Architectures: [x86_64]", "runs on [x86_64]"},
		{`{"schedule":"tenantaudit-timer"}`, `{"schedule":"audit"}`, `is called with {"schedule":"audit"}`},
		{"rate(1 minute)", "rate(1 hour)", "is called by"},
		{"EventInvokeConfig: {MaximumRetryAttempts: 0", "EventInvokeConfig: {MaximumRetryAttempts: 2", "is repeated by"},
		{"AuthType: NONE, InvokeMode", "AuthType: AWS_IAM, InvokeMode", "AWS_IAM"},
		{"InvokeMode: BUFFERED", "InvokeMode: RESPONSE_STREAM", "RESPONSE_STREAM"},
		{", InvokedViaFunctionUrl: true", "", "lambda:InvokeFunction is missing"},
		{"Action: 'lambda:InvokeFunctionUrl'", "Action: 'lambda:InvokeAsync'", "lambda:InvokeFunctionUrl is missing"},
		{"LogGroupName: !Sub '/aws/lambda/${AWS::StackName}-web'", "LogGroupName: !Sub '/aws/lambda/${AWS::StackName}-pages'", "nobody logs to"},
		{", RetentionInDays: !Ref LogRetentionDays", "", "RetentionInDays"},
		{"LoggingConfig: {LogGroup: !Ref ConsentLog}", "LoggingConfig: {LogGroup: !Ref WebLog}", "LoggingConfig"},
		{"Service: lambda.amazonaws.com", "AWS: '*'", "AssumeRolePolicyDocument"},
		{"ManagedPolicyArns: [!Ref SignInPolicy]", "ManagedPolicyArns: [!Ref SignInPolicy, arn:aws:iam::aws:policy/AdministratorAccess]", "ManagedPolicyArns"},
		{"Role: !GetAtt WebRole.Arn", "Role: !GetAtt ConsentRole.Arn", "Role"},
		{"      Timeout: 30\n", "      Timeout: 30\n      Policies: [AmazonSQSFullAccess]\n", "Policies"},
		{"'sqs:GetQueueAttributes'], Resource: !GetAtt PolicyRolloutQueue.Arn", "'sqs:GetQueueAttributes'], Resource: '*'", "the role of policyrollout permits"},
		{"'sqs:ReceiveMessage', 'sqs:DeleteMessage'", "'sqs:ReceiveMessage', 'sqs:PurgeQueue', 'sqs:DeleteMessage'", "the role of consent permits"},
		{"                  - !GetAtt PortalActionDeadLetters.Arn\n", "                  - !GetAtt PortalActionDeadLetters.Arn\n                  - !GetAtt HousekeepingQueue.Arn\n", "the role of portalaction permits"},
		{"                  - !GetAtt PasscodeResetBulkQueue.Arn\n", "", "the role of passcodereset permits"},
		{"{Effect: Allow, Action: ['logs:CreateLogStream'", "{Effect: Deny, Action: ['logs:CreateLogStream'", "Effect:Deny"},
		{"['api://AzureADTokenExchange']", "['*']", "SignInPolicy"},
		{"RS256", "ES384", "SignInPolicy"},
		{"'Null': {'sts:IdentityTokenAudience': 'false'}", "'Null': {'sts:IdentityTokenAudience': 'true'}", "SignInPolicy"},
		{"Action: 'sns:Publish'", "Action: 'sns:*'", "SignInPolicy"},
		{", KmsMasterKeyId: alias/aws/sns", "", "KmsMasterKeyId"},
		{"PINRESET_CREDENTIAL: aws", "PINRESET_CREDENTIAL: secret", "PINRESET_CREDENTIAL"},
		{"!If [HasServiceBus, announcements, '']", "!If [HasServiceBus, '', announcements]", "setting PINRESET_SERVICEBUS_TOPIC is announcements"},
		{"PINRESET_LOG_LEVEL: info", "PINRESET_LOG_LEVEL: info\n        PINRESET_LISTEN: x", "setting PINRESET_LISTEN"},
		{"PINRESET_TABLES_URL: !Ref", "PINRESET_TABLE_URL: !Ref", "setting PINRESET_TABLE_URL"},
		{"!If [HasServiceBus, announcements, '']", "!If [HasServiceBus, '', announcements]", "setting PINRESET_SERVICEBUS_TOPIC is announcements"},
		{"PINRESET_LOG_LEVEL: info", "PINRESET_LOG_LEVEL: warn", "setting PINRESET_LOG_LEVEL is warn"},
		{"Description: Client id of the application that reads.", "NoEcho: true, Description: Client id of the application that reads.", "a place for a secret"},
		{"MetricName: ApproximateNumberOfMessagesVisible", "MetricName: NumberOfMessagesSent", "no alarm looks for AWS/SQS ApproximateNumberOfMessagesVisible QueueName audit-bulk-dead"},
		{"MetricName: Throttles", "MetricName: Duration", "no alarm looks for AWS/Lambda Throttles"},
		{"Threshold: 1800", "Threshold: 60", "want \"above 1800\""},
		{"TreatMissingData: breaching", "TreatMissingData: notBreaching", "below 1, or not measured"},
		{"EvaluationPeriods: 3, DatapointsToAlarm: 2", "EvaluationPeriods: 1, DatapointsToAlarm: 2", "2 of 1"},
		{"AlarmActions: !If [HasAlarmEmail, [!Ref AlarmTopic], !Ref 'AWS::NoValue']", "AlarmActions: []", "tells []"},
		{"Value: !Ref AnnouncementTopic", "Value: none", "output AnnouncementTopic"},
	} {
		t.Run(c.to, func(t *testing.T) {
			t.Parallel()
			changed := false
			problems := judge(environments(t, func(b []byte) []byte {
				out := bytes.ReplaceAll(b, []byte(c.from), []byte(c.to))
				changed = !bytes.Equal(out, b)
				return out
			}))
			if !changed {
				t.Fatalf("%q is not in the template", c.from)
			}
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, c.says) }) {
				t.Errorf("nobody says %q: %q", c.says, problems)
			}
		})
	}
}

// TestParametersCatch: parameters that the template does not have, or would not take, are told.
func TestParametersCatch(t *testing.T) {
	t.Parallel()
	template := read(t, "template.yaml")
	for name, given := range map[string]map[string]string{
		"the template has no parameter Client": {"Client": "x"},
		"parameter ClientId has no value":      {},
		`does not take "secret"`:               {"ClientId": "secret"},
		`LogRetentionDays does not take "31"`:  {"LogRetentionDays": "31"},
		"MemorySize is 64, out of its range":   {"MemorySize": "64"},
		`parameter WebConcurrency is "many"`:   {"WebConcurrency": "many"},
	} {
		if s := expand("changed", "pinreset", template, given); !slices.ContainsFunc(s.problems, func(p string) bool { return strings.Contains(p, name) }) {
			t.Errorf("nobody says %q: %q", name, s.problems)
		}
	}
}
