package graphsim

// listTransitiveMembers runs under the tenant's lock. No group of the model holds another one, so that who is in a group
// directly is who is in it.
func (c *Cloud) listTransitiveMembers(k *call) answer { return c.listMembers(k) }
