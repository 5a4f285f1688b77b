// Package lambdahost is a model of AWS Lambda, written from AWS's pages "Using the Lambda runtime API", "Understanding the Lambda execution
// environment lifecycle" and "Using Lambda with Amazon SQS", and never compared with the live platform.
//
// It is for tests of programs for the runtime provided.al2023: it starts the real program, serves the Runtime API to it, and keeps to
// the platform's rules about it:
//
//	start      one process for each execution environment, with a Runtime API of its own; it must ask for an event within ten seconds
//	events     one at a time for each request of "next", with the time at which the invocation ends; an unknown id is a problem
//	freeze     the process is stopped (SIGSTOP) while it waits for an event, and goes on (SIGCONT) when there is one
//	time       a process whose invocation outlives the function's time is ended, and a new one is started for the next event
//	end        SIGKILL; where an extension is registered, SIGTERM half a second before
//	SQS        batches, partial failures by AWS's table, visibility, receive counts, a dead-letter queue (Poll and Broker)
//	URL        HTTP requests become payload 2.0, and its answers HTTP (ServeHTTP)
//	schedules  the input of a schedule, and the event of a rule (Tick)
//	exit       a process that ends is replaced; what it was at fails
//
// Not modelled: scaling over time, throttling, memory and processor limits, the ten minutes of an environment that idles, external extensions,
// the Telemetry API, response streaming, FIFO queues, batching windows, filters, authentication of the URL, and the sandbox. Passing it
// proves agreement with these rules, not with AWS.
package lambdahost
