// Package devicereport is what a device says of itself: the form of a report, what it means, and where it is kept.
//
// A report is one JSON object ([Schema]) that an agent on the device collects and signs (packages webhook, devicekey). It
// carries what was seen, not what it means: the text of `dsregcmd /status` as it was printed, values of the registry by their
// place, events by log and number, and how PIN resets ended. Reading it is done here, so that an agent of somebody else needs
// to know nothing of PIN reset, and what was misread can be read again.
//
// [Read] makes facts of it. What a report does not mention was not looked at, which is neither "not set" nor "no"; an agent that
// looked and found nothing says so. A report states facts about its own device only and has no field that names a device or
// a tenant: both are told by the key that signed it.
//
// Sources: Microsoft's pages "Troubleshoot devices by using the dsregcmd command" (fields of dsregcmd), "Manage Windows Hello for
// Business in your organization" and "PassportForWork CSP" (places of the policy), "Windows Hello errors during PIN creation"
// (error numbers). That MDM values appear in the registry where [Places] looks, and what the numbers of Windows' events mean, is
// reported by administrators and not documented by Microsoft.
package devicereport
