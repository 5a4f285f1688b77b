// Package userreset is how people get a new Windows Hello PIN themselves, in words that a help desk can read aloud: the steps
// by place and Windows version, what must be so before, and what is different afterwards. It is about the destructive form, in
// which the PIN is made anew with new keys; it is the only one on premises, and the one that is left where PIN recovery is not set up.
//
// It holds data and texts. Whether a device can do it is decided elsewhere, from what the device says; this package only knows
// which Windows versions offer it.
//
// Facts: Microsoft's page "PIN reset" in the texts of 2020 (on-premises deployments, their versions and steps) and 2024 (Entra
// joined and hybrid joined devices), and "Windows 10 release information" for builds. Which limitations of the lock screen apply is on the
// page "Enable Microsoft Entra self-service password reset at the Windows sign-in screen".
package userreset
