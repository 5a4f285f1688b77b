// Package problem answers requests that are refused, in one form (RFC 9457, application/problem+json) and with one mapping
// from a failure to a status.
//
// The words come from the catalogue of package fault; the detail is one sentence about this request. A problem never quotes
// a value of the request or the text of an error that comes from below: that goes to the log, by [Note].
//
// "Not found" is one fixed sequence of bytes. What belongs to another tenant must look exactly like what does not exist, so
// the answer carries nothing of the request; its correlation id is in a header that every answer has.
package problem
