// Package portal reads what Intune's audit log says of things that people did in Intune's own portal, and keeps it.
//
// A record comes in one of two forms. The first is Graph's resource auditEvent. The second is what Intune's diagnostic settings
// send to an event hub or a storage account ("Send Intune log data to Azure Storage, Event Hubs, or Log Analytics"): objects,
// alone or in a wrapper {"records": […]}, with "time", "tenantId", "operationName", "resultType", "identity" and "properties".
// No page of Microsoft publishes the members of those properties. It is assumed here that they are either auditEvent's own, or
// AuditEventId, ActivityDate, ActivityType, ActivityResultStatus, Category, Actor {UPN, ObjectId, Application, ApplicationName}
// and TargetObjectIds with TargetDisplayNames, in any case of their names, as an object or as its text. AuditEventId is assumed
// to be auditEvent's id: were it not, a record that comes both ways would count as two.
//
// Nothing here is an error: a record that can't be understood is kept as it came, within bounds, and counted. The package does
// not decide what follows from a record; that is the matter of the function portalaction.
package portal
