// Package aws holds what pinreset needs on AWS, as one SAM template, and the checks of it. README.md tells how it is deployed.
//
// The template is read here as CloudFormation would read it, with the parameters of each environment: what it refers to must be there, and
// what it makes must be what the program says of itself. Of what SAM does, only two things are repeated: what all functions have in
// common is put into each, and an event of a function is a trigger of it. That is no deployment. Nobody has deployed
// the template yet, and whether AWS accepts it these tests can't tell.
package aws
