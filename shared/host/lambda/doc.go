// Package lambda works for AWS Lambda: a program that the platform starts, and that fetches one event after the other from the Runtime
// API (AWS's pages "Building Lambda functions with Go" and "Using the Lambda runtime API"). It speaks that API through
// aws-lambda-go; this package is what stands between an event and the handlers.
//
//	SQS records                  each a unit of work of its own; those that are not settled are named as failures of the batch
//	a schedule of EventBridge    {"schedule":"NAME"} as its input, or an event of a rule
//	a request of a function URL  payload 2.0, passed to the HTTP handler byte by byte, and its answer back
//
// What the platform asks for, and what this package therefore does:
//
//   - The mapping must have ReportBatchItemFailures. A record that was settled is deleted by the platform, one that is named comes back
//     when its visibility ends. An error for the whole batch is kept for what can't be read as a batch.
//   - A run that is to be repeated later is a success here: the backend sends it again for its time (package work). So a failure is only
//     what could not be settled, and its visibility is shortened, because a queue's own is six times the function's time.
//   - An invocation that outlives the function's time has its process killed, and every record of its batch comes back. So
//     runs are told to end a margin before that, and what is stuck is named as a failure.
//   - The process is frozen between invocations. Nothing runs in the background; what was traced is sent, and what others wait for is given
//     back, before the answer.
//   - A panic that reached aws-lambda-go would end the process. Each record, and each request, recovers from its own.
//   - The end comes without a warning, unless an extension is registered: then SIGTERM comes first, and SIGKILL half a second or so
//     later. aws-lambda-go registers one that does nothing else; other extensions change only how long it takes.
//   - Several invocations may run in one process at a time (AWS_LAMBDA_MAX_CONCURRENCY, on managed instances).
//   - Clients are made at the first event. What is made at the start alone delays everyone.
//
// Nobody has run this on AWS. Package lambdahost is a model of it, for tests.
package lambda
