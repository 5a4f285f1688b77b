package devicereport

import (
	"fmt"
	"strconv"
	"strings"

	"pinreset/shared/fault"
)

// Explanation is what a failure's signal means.
type Explanation struct {
	Signal string     // in its usual form: "0x801C044D", "CAA20004"
	Code   fault.Code // what to do is there; fault.PINResetFailed for a signal that is not known
	// Meanings are all that the signal may mean; more than one where Microsoft gives it more than one.
	Meanings []string
}

// Text is the explanation in one line.
func (e Explanation) Text() string {
	switch len(e.Meanings) {
	case 0:
		return e.Signal + ": no published meaning"
	case 1:
		return e.Signal + ": " + e.Meanings[0]
	default:
		return e.Signal + ", which has several meanings: " + strings.Join(e.Meanings, "; or ")
	}
}

// meanings by signal. Hexadecimal numbers: Microsoft's page "Windows Hello errors during PIN creation"; the others are reported by
// administrators in public threads.
var meanings = map[string]Explanation{
	"CAA20004":     {Code: fault.PINServiceMissing, Meanings: []string{"the sign-in broker was refused: the PIN reset service has no service principal in the tenant"}},
	"AADSTS650052": {Code: fault.PINServiceMissing, Meanings: []string{"the tenant lacks a service principal for the PIN reset service"}},
	"65001":        {Code: fault.PINServiceMissing, Meanings: []string{"the PIN reset service was not consented to"}},

	"We can't open that page right now":                             {Code: fault.PINPageNotAllowed, Meanings: []string{"the sign-in page's domain is not on the allow list of web sign-in"}},
	"For security reason you need to visit the page from a browser": {Code: fault.PINAllowListQuoted, Meanings: []string{"the allow list of web sign-in has quotation marks"}},

	"0x801C044D": {Code: fault.PINTokenIncomplete, Meanings: []string{"the authorization token has no device id", "there is no token of the user"}},
	"0x801C03ED": {Code: fault.PINKeyNotProvisioned, Meanings: []string{"multifactor authentication is required for ProvisionKey and was not done", "there is no token in the request", "the directory's objects could not be read", "the request was bad"}},
	"0x801C03EA": {Code: fault.PINNotAuthorized, Meanings: []string{"the server did not authorize the user or the device"}},
	"0x801C03E9": {Code: fault.PINServerReply, Meanings: []string{"the server's reply could not be read"}},
	"0x801C03EB": {Code: fault.PINServerReply, Meanings: []string{"the server's HTTP status is not valid"}},
	"0x801C03EC": {Code: fault.PINServerReply, Meanings: []string{"an unhandled exception of the server"}},
	"0x801C03EE": {Code: fault.PINServerReply, Meanings: []string{"the attestation failed"}},
	"0x801C03EF": {Code: fault.PINServerReply, Meanings: []string{"the certificate of the attestation key is no longer valid"}},
	"0x801C044E": {Code: fault.PINServerReply, Meanings: []string{"there was no input of the user's credentials"}},
	"0x801C0003": {Code: fault.PINEnrolmentNotAllowed, Meanings: []string{"the user is not authorized to enrol"}},
	"0x801C000E": {Code: fault.PINQuotaReached, Meanings: []string{"the registration quota is reached"}},
	"0x801C03F0": {Code: fault.PINSupportNeeded, Meanings: []string{"there is no key registered for the user"}},
	"0x801C03F1": {Code: fault.PINSupportNeeded, Meanings: []string{"the token has no user principal name"}},
	"0x801C0013": {Code: fault.PINSupportNeeded, Meanings: []string{"the token has no tenant id"}},
	"0x801C0014": {Code: fault.PINSupportNeeded, Meanings: []string{"the token has no security id of the user"}},
	"0x801C044C": {Code: fault.PINSupportNeeded, Meanings: []string{"there is no core window for the current thread"}},
	"0x80090011": {Code: fault.PINContainerDamaged, Meanings: []string{"the container or key was not found"}},
	"0x8009000F": {Code: fault.PINContainerDamaged, Meanings: []string{"the container or key exists already"}},
	"0x80090005": {Code: fault.PINContainerDamaged, Meanings: []string{"the container's data is bad"}},
	"0x80090029": {Code: fault.PINTPMNotReady, Meanings: []string{"the TPM is not set up"}},
	"0x80090031": {Code: fault.PINTPMIgnoresSignIn, Meanings: []string{"the authentication is ignored by the TPM"}},
	"0x80090035": {Code: fault.PINTPMRequired, Meanings: []string{"policy requires a TPM and the device has none"}},
	"0x80090036": {Code: fault.PINCancelled, Meanings: []string{"the user cancelled an interactive dialog"}},
	"0x801C044F": {Code: fault.PINCancelled, Meanings: []string{"the user skipped Windows Hello"}},
	"0x87D1FDE8": {Code: fault.PolicyRemediationFailed, Meanings: []string{"remediation failed"}},
}

// Explain says what a signal means. A number may be in hexadecimal, in decimal, or negative as Intune writes it; a text may be
// longer than the part that is known.
func Explain(signal string) Explanation {
	signal = strings.TrimSpace(signal)
	if e, ok := meanings[normal(signal)]; ok {
		e.Signal = normal(signal)
		return e
	}
	lower := strings.ToLower(strings.ReplaceAll(signal, "’", "'"))
	for _, known := range texts {
		if strings.Contains(lower, strings.ToLower(known)) {
			e := meanings[known]
			e.Signal = known
			return e
		}
	}
	if signal == "" {
		signal = "no code"
	}
	return Explanation{Signal: signal, Code: fault.PINResetFailed}
}

// texts are signals that stand in longer texts, the most telling first: what a user saw tells more than the code around it.
var texts = []string{"AADSTS650052", "CAA20004", "We can't open that page right now", "For security reason you need to visit the page from a browser"}

// Signals returns every signal that is explained.
func Signals() []string {
	out := make([]string, 0, len(meanings))
	for s := range meanings {
		out = append(out, s)
	}
	return out
}

// normal is the form in which numbers are looked up.
func normal(signal string) string {
	if rest, ok := strings.CutPrefix(strings.ToLower(signal), "0x"); ok {
		if n, err := strconv.ParseUint(rest, 16, 32); err == nil {
			return fmt.Sprintf("0x%08X", n)
		}
	}
	text := strings.Replace(signal, "−", "-", 1) // U+2212, as pages print it
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && (n < 0 && n >= -1<<31 || n >= 1<<31 && n < 1<<32) {
		return fmt.Sprintf("0x%08X", uint32(n))
	}
	return strings.ToUpper(signal)
}
