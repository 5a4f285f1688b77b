// Package passcode is the reset of a device's passcode: its life, who is eligible, and where its rows are.
//
// A reset goes one way:
//
//	accepted → calling → waiting → issued → expired       a temporary code waits to be revealed, then is destroyed
//	                             → removed                the device has no passcode any more (iOS); there is no code
//	        ↘ failed or cancelled, from any state before issued or removed
//
// "calling" is the intent: it is on stable storage before the call to Graph is made, because the call can't be repeated (a
// second one replaces a code that somebody may have read out). A reset found in "calling" is never called again; its outcome
// is read from the device.
//
// All rows of a tenant's resets are in the tenant's partition. One device has at most one reset that has not ended.
package passcode
