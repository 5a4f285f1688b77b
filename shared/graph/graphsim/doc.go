// Package graphsim is a model of the part of Microsoft's cloud that pinreset
// talks to: Entra ID, Microsoft Graph, Intune, and a fleet of devices.
//
// It is a real HTTPS server with a certificate authority of its own, so that
// unmodified azidentity credentials sign in to it and the same client code and
// configuration talk to it and to a real tenant: only the endpoint, the trusted
// authority and the credential differ. It runs on loopback addresses only.
//
// It is a model. It follows what Microsoft documents, the published schema
// (package graphschema) and, where neither says anything, a choice that the
// code marks as the model's. It says nothing about how a real tenant behaves
// where that is unknown, and it does not store mail or passwords.
//
// # What is modelled
//
// Tokens: OpenID discovery, keys and the client credentials grant with a secret
// or an assertion, per tenant. Roles in a token are the app role assignments of
// its moment. People sign in by the authorization code flow with PKCE, with a registration that only they use: a page lists the
// sample people, picking one stands for the password, and for whatever an authentication context that was asked for demands. Adele
// holds the app roles Administrator and HelpDesk, Carla Approver and Auditor, Hana HelpDesk, and Contoso has a guest from Fabrikam.
// Refusals have Entra's shape and AADSTS numbers.
//
// Graph v1.0: organization, domains, service principals (read, create, upsert,
// delta), delegated grants and their delta, app role assignments, groups with
// users, devices and groups in them and their delta, directory devices, Windows
// Hello methods, managed devices with resetPasscode, syncDevice and their
// configuration states, device configurations with assign and statuses, Intune's
// audit log, subscriptions to members of groups with their notifications to a
// webhook on a loopback host, and $batch. Beta: the single managed device, device configurations
// with what v1.0 leaves out (identity protection, assignment filters, scope
// tags), settings catalog policies, legacy intents. Answers obey $select,
// $expand=assignments, $filter with eq and, of times, every comparison, $top and
// paging; errors are OData errors.
//
// Policies: EnablePinRecovery in any of the stores reaches a device that is
// included and not excluded by the same kind, user or device, at its next
// check-in: its own (every Timing.CheckIn), one asked for by syncDevice, or one by
// the control plane. Then the device reports compliant, notApplicable (all but
// Windows from 1703 on), conflict (stores contradict each other) or error (a path
// or value that is not the documented one), and keeps the value when nothing sets
// it any more. A custom profile's ConfigureWebSignInAllowedUrls reaches devices the
// same way. DeviceReport and the page of the portal show the registry and
// dsregcmd /status; CanReset becomes DestructiveAndNonDestructive where both PIN
// reset service principals are enabled at that check-in and edition, version and
// join type allow it.
//
// Time: nothing but notifications runs in the background. Devices react, replicas catch up and
// windows slide by comparing recorded times with Options.Now whenever somebody
// asks, so an injected clock moves the whole model.
//
// Failure: throttling windows, injected 429 and 503, writes that happen although
// the answer says otherwise or never arrives, replicas that disagree, approval
// policies, slow answers, devices that are offline, fail or never answer.
//
// # Sample tenants
//
// Contoso has everything in place, Fabrikam nothing, and Northwind is half
// consented: our apps and the PIN reset service app, not the client app. Tailspin
// is federated, Woodgrove's region is like the US Government's; both have
// everything in place. Each has the same people (adele@contoso.example is the
// administrator, and holds the directory role Global Administrator), the same
// groups (All employees, PIN recovery pilot, Field staff, Windows devices, Shared devices, Everyone and everything) and a device
// for every row of the platform table and of the table of Windows editions and
// joins; names in Fabrikam start with "fab-", in Northwind with "nw-", in
// Tailspin with "ts-", in Woodgrove with "wg-". Worth knowing by name: sales-pixel-12 gives a passcode,
// ceo-iphone ends without one, hr-laptop-11 is refused, intern-galaxy-09 ends
// notSupported, flaky-tablet-03 fails, field-pixel-offline waits until it is
// brought online. Ids are the same at every start.
//
// # Consent pages
//
// They are plain forms; a script does what a person does by sending the form's
// one field, decision, to the page's own URL as
// application/x-www-form-urlencoded:
//
//	/{tenant}/v2.0/adminconsent?client_id&scope&redirect_uri&state     our apps
//	    decision=accept → 302 redirect_uri?admin_consent=True&tenant=…&scope=…&state=…
//	    decision=cancel → 302 redirect_uri?admin_consent=True&error=consent_required&…
//	/{tenant}/oauth2/authorize?client_id=b8456c59-…&prompt=admin_consent&…   Microsoft's service app
//	    decision=accept → 302 to a page with status 403; the consent is recorded
//	/{tenant}/oauth2/authorize?client_id=9115dd05-…&prompt=admin_consent&…   Microsoft's client app
//	    decision=next   → the second screen, for the service app
//	    decision=accept → 302 to a page with status 404; the consent is recorded
//
// Microsoft's two end on what looks like an error and never call back; proof is
// a read of the directory. In place of a tenant, organizations (and common, for
// Microsoft's two) first ask who signs in.
//
// # Control plane
//
// Below /sim/v1 on both listeners, JSON in and out; the Go method of the same
// effect is on the right. A change answers 204. An unknown tenant, device, app
// or user answers 404 and a senseless value 400, both with {"error": "…"}.
// Tenants are named by id, domain or name, devices by id or name, apps by client
// id or as general, privileged, service, client. Durations are written "10s".
//
//	GET    /tenants                                                      Tenants
//	GET    /tenants/{t}                                                  Tenant
//	PATCH  /tenants/{t}  {replicationLag, approvalRequired,
//	                      actionHistory, slow, slowAnswer}               AdjustTenant
//	POST   /tenants/{t}/faults  {kind: throttle|executedThrottle|lostAnswer|
//	                      refuse|deltaGone|lostNotification, family: identity|devices|
//	                      configuration|catalog|intents|auditing|subscriptions,
//	                      path, writesOnly, count, status, retryAfter}   Inject
//	DELETE /tenants/{t}/faults                                           ClearFaults
//	POST   /tenants/{t}/apps/{a}/consent                                 Consent
//	PATCH  /tenants/{t}/apps/{a}  {enabled}                              EnableServicePrincipal
//	DELETE /tenants/{t}/apps/{a}                                         DeleteServicePrincipal
//	POST   /tenants/{t}/apps/{a}/roles  {roles: […]}                     Grant
//	DELETE /tenants/{t}/apps/{a}/roles  {roles: […]}, none for all       Revoke
//	PATCH  /tenants/{t}/devices/{d}  {online, errorCode, outcome: ""|done|
//	                      doneWithoutPasscode|doneOnBetaOnly|failed|
//	                      notSupported|never}                            AdjustDevice
//	POST   /tenants/{t}/checkIn                                          CheckInAll
//	POST   /tenants/{t}/devices/{d}/checkIn                              CheckIn
//	POST   /tenants/{t}/devices/{d}/reenrol  {user}                      Reenrol
//	POST   /tenants/{t}/devices/{d}/changeUser  {user}                   ChangeUser
//	DELETE /tenants/{t}/devices/{d}                                      Retire
//	POST   /tenants/{t}/devices/{d}/resetPasscode                        ResetInPortal
//	GET    /tenants/{t}/devices/{d}/report                               DeviceReport
//	GET    /tenants/{t}/policies                                         Policies
//	POST   /tenants/{t}/policies  {store: deviceConfigurations|
//	                      configurationPolicies|intents, type, account, name,
//	                      value, uri, include: […], exclude: […]} → {id}  AddPolicy
//	PATCH  /tenants/{t}/policies/{p}  {value, uri}                       ChangePolicy
//	POST   /tenants/{t}/policies/{p}/unassign                            UnassignPolicy
//	DELETE /tenants/{t}/policies/{p}                                     DeletePolicy
//	POST   /tenants/{t}/groups/{g}/members  {join: […], leave: […]}      ChangeMembers
//	POST   /tenants/{t}/groups/{g}/lifecycle  {event: missed|
//	                      subscriptionRemoved|reauthorizationRequired}   TellLifecycle
//	GET    /counters                                                     Counters
//	DELETE /counters                                                     ResetCounters
//	POST   /redirects  {uri}                                             RegisterRedirect
//
// Policies and groups are named by id or name, the latter's members by id, user
// principal name or device name. The pages listener shows tenants, devices,
// counters and consent links at /, and at /sim/intune/{t} what an administrator
// does in Microsoft's own portals: its form sends action (resetPasscode, checkIn, checkInAll,
// policyOn, policyOff, unassign, deletePolicy, disableApp, enableApp, revoke) and
// target, an id; checkInAll needs none. Changes of policies and resets of that kind are in the audit log
// as an administrator's.
//
// # State
//
// With Options.Dir, keys, secrets, the directory, devices with their resets, and
// knobs are kept there, readable by the owner only. Injected faults, throttling
// windows and request counters live in memory.
package graphsim
