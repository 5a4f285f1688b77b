// Package gpo makes a Group Policy object for PIN recovery: a backup folder that the Group Policy Management Console (GPMC) can
// import the settings of, and that the command-line tool LGPO can apply to one computer.
//
// Group Policy is the one place of the policy that Microsoft Graph does not reach, so pinreset hands over a file and a person
// imports it. A folder holds
//
//	manifest.xml                                   the backups of the folder
//	{ID}/bkupInfo.xml, {ID}/Backup.xml             one backup: of which object, and which client-side extensions it is for
//	{ID}/gpreport.xml                              the settings for people, as GPMC shows them
//	{ID}/DomainSysvol/GPO/Machine/registry.pol     the settings for computers
//
// The same [Backup] gives the same bytes, so that two exports can be compared.
//
// Facts: the registry policy file is [MS-GPREG] 2.2.1 "Registry Policy Message Syntax" and the page "Registry Policy File
// Format"; the extension ids are [MS-GPREG] 1.9; the setting is the policy "Use PIN Recovery" of Microsoft's page "PIN reset". The
// XML of a backup is published nowhere: its elements follow backups that GPMC made and people published. No file of
// this package has been given to a real GPMC or LGPO.
//
// An export carries neither links nor permissions of its own, and can only be imported into an object that is there: GPMC restores
// a backup only into the domain that it came from, and this one came from none.
package gpo
