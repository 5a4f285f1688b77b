// Package policy is what pinreset knows of the setting EnablePinRecovery and of the policies that carry it: how each of
// Intune's places spells it, what is wrong with a spelling, who a policy is assigned to, and which calls of Microsoft Graph
// bring a tenant from what was found to what is wanted.
//
// Why it is a package of its own: the setting can be made in four places of Intune and in Group Policy, Graph has a
// different JSON for each, and an assignment replaces the whole set. Whoever reads one place, or writes without what is
// there already, gets it wrong.
//
// The contract:
//
//   - It does no input or output. It is given Graph's JSON and gives back facts ([Detect]), judgements ([Lint]), a new set of
//     assignments ([Merge]) and calls to be made ([Desired.Plan], [Create], [SetValue], [Assign], [Delete]).
//   - What it does not know it keeps: a target of an unknown type goes back byte for byte as it came, and a value that can't
//     be read is [Unknown], never off.
//   - A finding has a stable code, a severity, a sentence, and what to do.
//   - The same wish, given to what it led to, leads to no call.
//
// What it is not: it does not read a tenant (package graph does), decides on no readiness, and runs no roll-out.
//
// Facts come from Microsoft's pages "PassportForWork CSP", "PIN reset", "Assign user and device profiles in Microsoft
// Intune", "Policy CSP - Authentication" and "Service-specific throttling limits", and from Graph's published schema.
package policy
