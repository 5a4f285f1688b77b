// Package azure holds what pinreset needs on Azure, as one template, and the checks of it. README.md tells how it is deployed.
//
// The template is Azure Resource Manager's JSON and not Bicep, because JSON can be read here: the tests expand it with each
// environment's parameters, as Resource Manager would, and hold the result against what the program says of itself. They are no
// deployment. Nobody has deployed the template yet, and what only Azure knows (whether a name is taken, a region has a
// service, a property is accepted) they can't tell.
package azure
